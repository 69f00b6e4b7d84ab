"""Fixtures for every test, and the check that a session leaves nothing behind on the node."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import leftovers, stacks

REPOSITORY = Path(__file__).resolve().parent.parent
_BEFORE = pytest.StashKey[dict[str, set[str]]]()
_LEFT = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by place: tests/system needs root, tests/e2e a process set and so root too."""
    without_root = pytest.mark.skip(reason="needs root: run it with sudo")
    for item in items:
        for room in ("system", "e2e"):
            if REPOSITORY / "tests" / room in item.path.parents:
                item.add_marker(getattr(pytest.mark, room))
                if os.geteuid() != 0:
                    item.add_marker(without_root)


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[_BEFORE] = leftovers.survey()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With SLIPWAY_TEST_LEFTOVERS=fail anything left on the node fails the session.

    Not otherwise: a neighbour's mounts and processes on a shared machine look just the same.
    """
    config = session.config
    left = leftovers.difference(config.stash[_BEFORE], leftovers.survey())
    config.stash[_LEFT] = left
    if (
        left
        and os.environ.get("SLIPWAY_TEST_LEFTOVERS") == "fail"
        and session.exitstatus == pytest.ExitCode.OK
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left = config.stash.get(_LEFT, [])
    if left and os.environ.get("SLIPWAY_TEST_LEFTOVERS") == "fail":
        terminalreporter.section("left behind on this node", red=True)
        for line in left:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def stack() -> Iterator[stacks.RunningStack]:
    """A complete process set with its own instance, data, run directory, port, subnets, administrator."""
    running = stacks.start()
    yield running
    running.stop()
