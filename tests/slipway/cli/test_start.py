"""What the command loads, and how soon it is there."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import ROOT

CLI = ROOT / "platform" / "slipway" / "cli"
SOURCES = sorted(CLI.rglob("*.py"))
LAUNCHER = [sys.executable, "-P", "-m", "slipway.cli"]
ENVIRONMENT = {"PYTHONPATH": str(ROOT / "platform"), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}


def roots(path: Path) -> set[str]:
    """Everything ``path`` imports, by its first name; of our own, the first two."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module or ""]
            if node.module == "slipway":
                names = [f"slipway.{each.name}" for each in node.names]
        found |= {".".join(name.split(".")[: 2 if name.startswith("slipway") else 1]) for name in names}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CLI)))
def test_the_command_needs_nothing_but_typer_rich_and_the_standard_library(path: Path):
    allowed = sys.stdlib_module_names | {"typer", "rich", "slipway.cli"}
    assert roots(path) - allowed == set()


def loaded(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *LAUNCHER[1:], *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["ps"], ["run", "--help"], ["stop", "a"]])
def test_a_start_loads_neither_rich_nor_django_nor_pydantic(arguments: list[str]):
    modules = loaded(*arguments)
    assert "slipway.cli.main" in modules
    heavy = {"rich", "django", "pydantic", "pydantic_core", "rest_framework", "asyncio", "aiohttp"}
    assert modules & heavy == set()


def test_http_is_loaded_only_to_speak_it():
    assert "http.client" not in loaded("--help")


def test_a_start_costs_little_more_than_what_every_program_costs():
    """A busy machine makes any start take long, so a few modules of the standard library are the measure.

    118 ms of processor time beside 37 ms of those, where nothing else ran.
    """

    def spent(*arguments: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], env=ENVIRONMENT, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    ours = min(spent(*LAUNCHER[1:], "--version") for _ in range(5))
    measure = min(spent("-c", "import ast, inspect, json, re, subprocess, typing") for _ in range(5))
    assert ours < 5 * measure


def test_the_launcher_works_through_a_link_and_imports_nothing_from_where_it_is_called(tmp_path: Path):
    link = tmp_path / "slipway-link"
    link.symlink_to(ROOT / "bin" / "slipway")
    (tmp_path / "typer.py").write_text("raise SystemExit('a stranger was imported')")
    done = subprocess.run(
        [str(link), "--version"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("slipway ")


def test_completion_is_offered_for_the_shell():
    done = subprocess.run(
        [*LAUNCHER],
        env=ENVIRONMENT
        | {"_SLIPWAY_COMPLETE": "complete_bash", "COMP_WORDS": "slipway con", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["contexts"]
