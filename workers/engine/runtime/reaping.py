"""The worker's side of the ``reaper``: containers whose output is our pipes and whose exit we learn."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, cast

import workers
from workers.engine.runtime.spawn import ENVIRONMENT
from workers.errors import RuntimeFailed

_ROOT = str(Path(workers.__file__).parent.parent)
_START = "import sys; sys.path.insert(0, sys.argv[1]); from workers.engine.runtime.reaper import main; main()"


class Reaping:
    """One reaper, started when it is first needed. Safe to share between threads.

    ``adopt`` moves it out of the worker's cgroup: whoever kills that as a whole must not kill it as well,
    for it has the build's containers to end.
    """

    def __init__(self, adopt: Callable[[int], None]) -> None:
        self._adopt = adopt
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._process: subprocess.Popen[bytes] | None = None
        self._created: dict[str, int] = {}
        self._exited: dict[str, int] = {}
        self._wakers: dict[str, int] = {}
        self._lost = False

    def create(self, name: str, pidfile: Path, output: tuple[Path, Path], argv: Sequence[str]) -> int:
        """Run the runtime's ``create``, with FIFOs as stdout and stderr: its exit code."""
        words = (name, str(pidfile), str(output[0]), str(output[1]), *argv)
        if any("\n" in word or "\0" in word for word in words):
            raise RuntimeFailed(f"Not a command of ours: {shlex.join(argv)[:200]}")
        with self._lock:
            process = self._started()
            stdin = cast(IO[bytes], process.stdin)
            stdin.write("\0".join(words).encode("utf-8", "surrogateescape") + b"\n")
            stdin.flush()
            self._changed.wait_for(lambda: name in self._created or self._lost)
            if name not in self._created:
                raise RuntimeFailed("The reaper of this build was killed")
            return self._created.pop(name)

    def watch(self, name: str) -> int:
        """A descriptor that can be read once the container's first process has ended; ours to close."""
        read, write = os.pipe2(os.O_CLOEXEC)
        with self._lock:
            if name in self._exited or self._lost:
                os.close(write)
            else:
                self._wakers[name] = write
        return read

    def status(self, name: str) -> int | None:
        """As ``waitpid`` gave it; None when the reaper was killed first."""
        with self._lock:
            return self._exited.pop(name, None)

    def close(self) -> None:
        """Whatever still runs is killed. Repeatable."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            cast(IO[bytes], process.stdin).close()
            process.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", "-c", _START, _ROOT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd="/",
                env=dict(ENVIRONMENT),
                start_new_session=True,
            )
            self._process = process
            self._adopt(process.pid)  # it has not forked yet: it waits for its first request
            threading.Thread(target=self._listen, args=(process,), name="reaping", daemon=True).start()
        return self._process

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        with cast(IO[bytes], process.stdout) as answers:
            for line in answers:
                word, name, number = line.decode().split()
                with self._lock:
                    if word == "created":
                        self._created[name] = int(number)
                    else:
                        self._exited[name] = int(number)
                        self._ring(name)
                    self._changed.notify_all()
        with self._lock:
            self._lost = True
            for name in list(self._wakers):
                self._ring(name)
            self._changed.notify_all()

    def _ring(self, name: str) -> None:
        waker = self._wakers.pop(name, None)
        if waker is not None:
            os.close(waker)
