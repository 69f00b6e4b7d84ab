"""Starting programs from a process with many threads: vfork and exec, nothing of ours inherited.

``subprocess`` does the same in thrice the time; a start of a container runs three programs.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workers.errors import RuntimeFailed

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""All that a runtime or shim is told: whatever the worker holds in its own stays there."""

_OUTPUT_LIMIT = 64 << 10
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def spawn(
    argv: Sequence[str],
    descriptors: Mapping[int, int],
    *,
    environment: Mapping[str, str] = ENVIRONMENT,
    session: bool = False,
) -> int:
    """Start ``argv[0]`` (an absolute path) and return its pid; the caller must reap it.

    ``descriptors`` maps the program's descriptor numbers to ours: its 0, 1 and 2 (/dev/null unless
    named), and any of ours under their own number. With ``session`` it gets one of its own: no
    terminal's Ctrl-C reaches it.
    """
    actions: list[tuple[int, int, str, int, int] | tuple[int, int, int]] = [
        (os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0)
        for number in range(3)
        if number not in descriptors
    ]
    actions += [(os.POSIX_SPAWN_DUP2, ours, number) for number, ours in descriptors.items()]
    try:
        return os.posix_spawn(
            argv[0],
            list(argv),
            environment,
            file_actions=actions,
            setsid=session,
            setsigmask=(),
            setsigdef=_IGNORED_BY_PYTHON,
        )
    except OSError as error:
        raise RuntimeFailed(f"{argv[0]} cannot be started: {error.strerror}", program=argv[0]) from error


@dataclass(frozen=True)
class Finished:
    """``code`` is negative where a signal ended the program."""

    code: int
    output: str
    errors: str


def run(argv: Sequence[str], *, timeout: float = 60.0) -> Finished:
    """Run a program to its end, with nothing to read. Killed after ``timeout`` seconds: ``RuntimeFailed``."""
    # Not /dev/null: crun gives what a container has as stdin, stdout and stderr to the container's user.
    names = ("stdin", "stdout", "stderr")
    empty, output, errors = (os.memfd_create(name, os.MFD_CLOEXEC) for name in names)
    try:
        pid = spawn(argv, {0: empty, 1: output, 2: errors})
        _await(pid, argv, timeout)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return Finished(code, _text(output), _text(errors))
    finally:
        for descriptor in (empty, output, errors):
            os.close(descriptor)


def _text(fd: int) -> str:
    return os.pread(fd, _OUTPUT_LIMIT, 0).decode(errors="replace").strip()


def _await(pid: int, argv: Sequence[str], timeout: float) -> None:
    watch = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(watch, select.POLLIN)
        if poll.poll(timeout * 1000):
            return
        signal.pidfd_send_signal(watch, signal.SIGKILL)
    finally:
        os.close(watch)
    os.waitpid(pid, 0)
    raise RuntimeFailed(f"{os.path.basename(argv[0])} did not answer within {timeout:g} s", program=argv[0])
