import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from stack import cgroups
from stack.settings import Stack, read_stack
from stack.supervisor import Program, Supervisor, keep_last, tail
from stack.terminal import Terminal

DEADLINE = 10.0


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    stack = read_stack(
        {
            "SLIPWAY_DATA": str(tmp_path / "data"),
            "SLIPWAY_RUN": str(tmp_path / "run"),
            "SLIPWAY_INSTANCE": f"swt{os.getpid()}s",
        }
    )
    stack.logs.mkdir(parents=True)
    stack.pids.mkdir(parents=True)
    return stack


@pytest.fixture
def supervisor(stack: Stack):
    supervisor = Supervisor(stack, Terminal())
    with contextlib.closing(contextlib.ExitStack()) as closing:
        closing.callback(supervisor.stop)
        yield supervisor


def program(code: str, name: str = "web") -> Program:
    return Program(name, (sys.executable, "-c", code), user=None, ready=lambda: True)


def eventually(condition) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_killed_process_is_started_again_with_a_line_for_people(supervisor, stack, capsys):
    supervisor.start(program("import time; print('hello', flush=True); time.sleep(60)"))
    first = supervisor.pid("web")
    eventually(lambda: tail(stack.logs / "web.log", 5) == ["hello"])
    os.kill(first, signal.SIGKILL)
    eventually(lambda: supervisor.pid("web") not in (None, first))
    second = supervisor.pid("web")
    assert (stack.pids / "web").read_text().startswith(f"{second} ")
    eventually(lambda: tail(stack.logs / "web.log", 5) == ["hello", "hello"])
    assert "ended (killed by SIGKILL)" in capsys.readouterr().out


def test_a_process_that_keeps_failing_is_started_ever_more_slowly(supervisor, stack):
    supervisor.start(program("print('x', flush=True); raise SystemExit(3)"))
    eventually(lambda: len(tail(stack.logs / "web.log", 9)) >= 3)
    eventually(lambda: supervisor._waiting and supervisor._waiting[0].failures >= 3)
    assert supervisor._waiting[0].due > time.monotonic()


def test_stop_ends_everything_and_leaves_no_pid_file_or_group(supervisor, stack):
    for name in ("web", "observer"):
        supervisor.start(program("import time; time.sleep(60)", name))
    pids = [supervisor.pid("web"), supervisor.pid("observer")]
    supervisor.stop()
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert list(stack.pids.iterdir()) == []
    above = cgroups.parent(stack.instance)
    assert above is None or not above.exists()


def test_an_overgrown_log_keeps_its_last_part_aside(tmp_path):
    log = tmp_path / "web.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n")
        keep_last(log)
        writer.write(b"new\n")
    assert log.read_text() == "new\n"
    assert (tmp_path / "web.log.1").read_text() == "old\n"
