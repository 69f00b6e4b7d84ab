"""Go to the background, but only once there is something to leave running."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

READY = b"1"
OnReady = Callable[[], None]


def detach(serve: Callable[[OnReady], int], log: Path) -> int:
    """Run ``serve`` in a new session. Its output is the caller's until it calls its argument, then ``log``'s.

    Returns, in the parent, 0 once that call came, else the exit code of ``serve``, which is not 0 then.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os.setsid()
        code = 1
        try:
            code = serve(lambda: _leave(write, log))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(write)
    return _wait(child, read)


def _leave(write: int, log: Path) -> None:
    """Let the parent go and the terminal with it."""
    sys.stdout.flush()
    sys.stderr.flush()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.write(write, READY)
    os.close(write)


def _wait(child: int, read: int) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(child, number))
    with os.fdopen(read, "rb") as channel:
        if channel.read(1) == READY:
            return 0
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) or 1
