"""Proposals for projects without a Dockerfile, by examples that a person has read."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.environment import ROOT
from workers.engine.build import suggesting
from workers.engine.build.detect import WANTED, Project, Proposal, detect
from workers.engine.build.planning import check
from workers.engine.build.stacks import Stack
from workers.engine.dockerfile.ignore import Ignore
from workers.engine.dockerfile.reading import parse

GOLDEN = ROOT / "tests" / "golden" / "proposals"
PROJECTS: dict[str, dict[str, str]] = {
    "django": {
        "manage.py": "",
        "shop/wsgi.py": "",
        "shop/settings.py": "",
        "requirements.txt": "Django==5.2\npsycopg\n",
        ".python-version": "3.11.9\n",
        "package.json": "{}",
    },
    "flask": {
        "app.py": "from flask import Flask\napp = Flask(__name__)\n",
        "requirements.txt": "flask\ngunicorn\n",
    },
    "fastapi-uv": {
        "src/main.py": "import fastapi\nservice: fastapi.FastAPI = fastapi.FastAPI()\n",
        "pyproject.toml": '[project]\nname = "x"\nrequires-python = ">=3.10"\n',
        "uv.lock": "",
    },
    "poetry": {
        "pyproject.toml": '[tool.poetry]\nname = "x"\n[project]\nrequires-python = ">=3.13"\n',
        "poetry.lock": "",
        "tool/__main__.py": "",
    },
    "pipenv": {"Pipfile": '[requires]\npython_version = "3.11"\n', "main.py": "print(1)\n"},
    "python-package": {
        "pyproject.toml": '[build-system]\n[project]\nname = "x"\n[project.scripts]\nserve = "x:y"\n',
        "src/x/__init__.py": "",
    },
    "node-npm": {
        "package.json": json.dumps({"scripts": {"start": "node server.js"}, "engines": {"node": ">=20"}}),
        "package-lock.json": "{}",
        "server.js": "",
    },
    "node-next-pnpm": {
        "package.json": json.dumps({"scripts": {"build": "next build", "start": "next start"}}),
        "pnpm-lock.yaml": "",
        ".nvmrc": "v20.11.1\n",
    },
    "node-vite-yarn": {
        "package.json": json.dumps(
            {"scripts": {"build": "vite build", "dev": "vite"}, "devDependencies": {"vite": "^5"}}
        ),
        "yarn.lock": "",
        "index.html": "",
    },
    "node-no-lock": {"package.json": json.dumps({"main": "lib/run.js"}), "lib/run.js": ""},
    "go": {
        "go.mod": "module example.test/web\n\ngo 1.22.3\n",
        "go.sum": "",
        "main.go": 'package main\nimport "net/http"\n',
    },
    "go-cmd": {"go.mod": "module example.test/tool\n", "cmd/tool/main.go": "", "cmd/another/main.go": ""},
    "rails": {
        "Gemfile": 'source "x"\nruby "3.2.2"\ngem "rails"\n',
        "Gemfile.lock": "",
        "config.ru": "",
        "bin/rails": "",
        "package.json": "{}",
    },
    "sinatra": {"Gemfile": 'gem "sinatra"\n', "config.ru": "run App\n"},
    "laravel": {
        "composer.json": json.dumps({"require": {"php": "^8.2"}}),
        "composer.lock": "{}",
        "artisan": "",
        "public/index.php": "",
        "package.json": "{}",
    },
    "php": {"index.php": "<?php\n"},
    "static": {"public/index.html": "", "README.md": ""},
}


def proposed(files: Mapping[str, str]) -> Proposal | None:
    texts = {name: text for name, text in files.items() if name in WANTED}
    return detect(Project(frozenset(files), texts))


@pytest.mark.parametrize("name", PROJECTS)
def test_the_proposal(name: str) -> None:
    proposal = proposed(PROJECTS[name])
    assert proposal is not None
    shown = (
        f"# {proposal.title}, from {', '.join(proposal.reasons)}; port {proposal.port}\n{proposal.dockerfile}"
    )
    assert shown == (GOLDEN / f"{name}.Dockerfile").read_text()


@pytest.mark.parametrize("name", PROJECTS)
def test_a_proposal_parses_and_the_checks_find_nothing(name: str) -> None:
    proposal = proposed(PROJECTS[name])
    assert proposal is not None
    dockerfile = parse(proposal.dockerfile)
    assert check(dockerfile, ignore=Ignore.parse(proposal.ignore)) == ()
    assert proposal.reasons


def test_what_is_not_known_is_not_guessed() -> None:
    assert proposed({}) is None
    assert proposed({"README.md": "", "src/lib.rs": ""}) is None


@given(
    st.dictionaries(
        st.sampled_from(
            sorted({*WANTED, "manage.py", "uv.lock", "artisan", "index.php", "a.py", "x/__main__.py"})
        ),
        st.one_of(
            st.text(max_size=30),
            st.sampled_from(
                [
                    '{"scripts": [], "engines": {"node": 3}, "main": 7}',
                    "[project]\nscripts = 3",
                    "[tool]",
                    "{]",
                ]
            ),
        ),
    )
)
def test_whatever_the_files_hold_a_proposal_parses(files: dict[str, str]) -> None:
    proposal = proposed(files)
    if proposal is not None:
        parse(proposal.dockerfile)


def test_a_context_on_disk_is_looked_at_and_not_followed_out_of(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("flask==3.0\n")
    context = tmp_path / "context"
    context.mkdir()
    (context / "app.py").write_text("from flask import Flask\n")
    (context / "requirements.txt").write_text("flask==3.0\n")
    found = suggesting.propose(Stack([context]))
    assert found is not None
    assert found.kind == "python"
    (context / "requirements.txt").unlink()
    (context / "app.py").unlink()
    (context / "package.json").symlink_to(tmp_path / "outside")
    assert suggesting.propose(Stack([context])) is None
