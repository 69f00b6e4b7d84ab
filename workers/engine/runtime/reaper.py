"""The reaper: a small process that is the parent of the containers of one build.

``python -I -S -c … `` reads requests on stdin and answers on stdout, a line each. As the subreaper of what
the runtime leaves behind it learns every exit status. When its stdin ends, because the worker died or is
done, it kills whatever still runs: a build never outlives its worker, also when the whole cgroup of that
was killed, for the reaper is in another one.

    <id> <pidfile> <stdout> <stderr> <argv…>   separated by NUL, ended by a newline
    → created <id> <code>      the runtime's ``create`` ended
    → exited <id> <status>     the container's first process ended, as ``waitpid`` says it

Imports little, to start in milliseconds: keep it so.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys

_SUBREAPER = 36


class Reaper:
    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = requests, answers
        self._creating: dict[int, tuple[str, str]] = {}
        self._running: dict[int, str] = {}
        self._early: dict[int, int] = {}
        self._buffer = b""

    def serve(self) -> None:
        wake, alarm = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        for descriptor in (self._requests, wake):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if wake in ready:
                os.read(wake, 4096)
                self._reap()
            if self._requests in ready and not self._read():
                return

    def _read(self) -> bool:
        chunk = os.read(self._requests, 1 << 20)
        if not chunk:
            return False
        self._buffer += chunk
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            self._create(*line.decode("utf-8", "surrogateescape").split("\0"))
        return True

    def _create(self, name: str, pidfile: str, stdout: str, stderr: str, *argv: str) -> None:
        # Of the FIFOs the worker has the other ends open already: neither call waits.
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, stdout, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, stderr, os.O_WRONLY, 0),
        ]
        try:
            pid = os.posix_spawn(
                argv[0], argv, dict(os.environ), file_actions=actions, setsid=True, setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD),
            )  # fmt: skip
        except OSError as error:
            self._answer(f"created {name} {1000 + (error.errno or 0)}")
            return
        self._creating[pid] = (name, pidfile)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._creating:
                self._created(*self._creating.pop(pid), os.waitstatus_to_exitcode(status))
            elif pid in self._running:
                self._answer(f"exited {self._running.pop(pid)} {status}")
            else:
                self._early[pid] = status

    def _created(self, name: str, pidfile: str, code: int) -> None:
        self._answer(f"created {name} {code}")
        if code != 0:
            return
        with open(pidfile) as file:
            pid = int(file.read())
        if pid in self._early:
            self._answer(f"exited {name} {self._early.pop(pid)}")
        else:
            self._running[pid] = name

    def _answer(self, text: str) -> None:
        os.write(self._answers, text.encode() + b"\n")

    def end(self) -> None:
        """The first process of a pid namespace takes all the others along; what a killed runtime leaves
        behind becomes a child of ours."""
        while True:
            for pid in _children():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return


def _children() -> list[int]:
    with open("/proc/self/task/%d/children" % os.getpid()) as file:  # noqa: UP031 - see above
        return [int(pid) for pid in file.read().split()]


def main() -> None:
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    reaper = Reaper(0, 1)
    try:
        reaper.serve()
    finally:
        reaper.end()
        sys.stdout.flush()
