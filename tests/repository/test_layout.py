"""Rules of the repository that no other tool checks."""

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.environment import ROOT

FILE_LINES = 400
FUNCTION_LINES = 40


def tracked(*patterns: str) -> list[Path]:
    """Files that git knows or would add, so that a new file counts before its first commit."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / line for line in sorted(set(listed.splitlines())) if (ROOT / line).is_file()]


SOURCES = [path for path in tracked("*.py") if "migrations" not in path.parts]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_platform_is_no_package_for_the_standard_library_owns_the_name():
    assert not (ROOT / "platform" / "__init__.py").exists()


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_files_and_functions_stay_readable(path: Path):
    text = path.read_text()
    assert text.count("\n") <= FILE_LINES
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES
    ]
    assert long == []


@pytest.mark.parametrize("name", ["requirements/run.txt", "requirements/dev.txt", ".npmrc"])
def test_python_locks_name_no_host(name: str):
    assert re.findall(r"\w+://\S+", (ROOT / name).read_text()) == []


@pytest.mark.parametrize("name", ["package.json", "package-lock.json"])
def test_front_end_locks_name_no_host_to_fetch_from(name: str):
    """Where a package asks for money is its own affair; where it comes from is the installation's."""

    def addresses(value: object) -> list[str]:
        match value:
            case dict():
                return [found for key, each in value.items() if key != "funding" for found in addresses(each)]
            case list():
                return [found for each in value for found in addresses(each)]
            case str():
                return [value] if "://" in value else []
        return []

    assert addresses(json.loads((ROOT / name).read_text())) == []


@pytest.mark.parametrize("name", ["requirements/run.txt", "requirements/dev.txt"])
def test_every_locked_package_is_pinned_and_hashed(name: str):
    requirements = re.sub(r"\\\n\s*", "", (ROOT / name).read_text()).splitlines()
    assert len(requirements) > 30
    unpinned = [
        line[:60]
        for line in requirements
        if not re.match(r"[\w.\[\]-]+==\S+.*--hash=sha256:[0-9a-f]{64}", line)
    ]
    assert unpinned == []


def test_both_locks_agree_on_what_runs():
    def pins(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([\w.-]+)(?:\[\w+\])?==(\S+)", (ROOT / name).read_text(), re.MULTILINE))

    run, dev = pins("requirements/run.txt"), pins("requirements/dev.txt")
    assert {name: (version, dev.get(name)) for name, version in run.items() if dev.get(name) != version} == {}


@pytest.mark.parametrize("path", tracked("*.md"), ids=named)
def test_links_between_documents_lead_somewhere(path: Path):
    targets = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_decisions_are_numbered_once():
    numbers = [path.name[:4] for path in tracked("docs/adr/*.md")]
    assert len(numbers) >= 8
    assert len(numbers) == len(set(numbers))
