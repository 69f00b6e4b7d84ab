"""Fixtures for every test, and the check that a session leaves nothing behind on the node."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import leftovers, stacks

pytest.register_assert_rewrite("tests.distribution")

REPOSITORY = Path(__file__).resolve().parent.parent
_LEFT = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by place: tests/system needs root, tests/e2e a process set and so root too."""
    without_root = pytest.mark.skip(reason="needs root: run it with sudo")
    for item in items:
        for room in ("system", "e2e"):
            inside = REPOSITORY / "tests" / room in item.path.parents
            if item.get_closest_marker(room) and not inside:
                raise pytest.UsageError(f"{item.nodeid} is marked {room}: it belongs below tests/{room}")
            if inside:
                item.add_marker(getattr(pytest.mark, room))
                if os.geteuid() != 0:
                    item.add_marker(without_root)


@pytest.hookimpl(trylast=True)  # after pytest-xdist has ended its processes
def pytest_sessionfinish(session: pytest.Session) -> None:
    """What the session's own instances left on the node fails it, whichever of its processes made them."""
    config = session.config
    left = leftovers.remaining(leftovers.marks(*_own_directory(config)))
    if (told := getattr(config, "workeroutput", None)) is not None:  # to the process that reports
        told["left"] = left
        return
    left += config.stash.setdefault(_LEFT, [])
    config.stash[_LEFT] = left
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process of pytest-xdist has ended; what it found is in its output."""
    node.config.stash.setdefault(_LEFT, []).extend(getattr(node, "workeroutput", {}).get("left", []))


def _own_directory(config: pytest.Config) -> list[Path]:
    """pytest's, below which ``tmp_path`` lies, if the session made one."""
    made = config._tmp_path_factory._basetemp  # type: ignore[attr-defined]  # asking aloud would make one
    return [made] if made is not None else []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if left := config.stash.get(_LEFT, []):
        terminalreporter.section("left behind on this node", red=True)
        for line in left:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def stack() -> Iterator[stacks.RunningStack]:
    """A complete process set with its own instance, data, run directory, port, subnets, administrator."""
    running = stacks.start()
    yield running
    running.stop()
