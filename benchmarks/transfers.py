#!/usr/bin/env python
"""How much memory images cost on their way in and out: a small one and a large one, step by step.

A process set of its own; the image is imported, saved in both forms, pushed to the registry, removed and
pulled back, by the command line as people do it. Needs root. Writes its table into performance.md and prints
it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import memory, tables
from benchmarks.images import docker_save
from tests import stacks
from tests.e2e.test_cli import Slipway

ROOT = Path(__file__).resolve().parent.parent
SIZES = (128, 1024)
"""MiB of the images."""
FILE = 16 << 20
LOOK_SECONDS = 0.05
WATCHED = ("web", "observer", "worker", "agent")
AIM = 50
"""MiB that a process may grow by at most, whatever the size."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="where the figures go")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="slipway-bench-", dir="/var/tmp"))
    running = stacks.start()
    try:
        measured = {size: Journey(running, work, size).run() for size in SIZES}
    finally:
        running.stop()
        shutil.rmtree(work)
    text = _text(measured)
    print(text)
    tables.replace(options.output / "performance.md", text, "transfers")
    return 0


Grown = dict[str, float]
"""By process, and ``seconds``."""


class Journey:
    """One image in and out again."""

    def __init__(self, running: stacks.RunningStack, work: Path, size: int) -> None:
        self._running, self._work, self._size = running, work, size
        self._home = work / f"home-{size}"
        self._home.mkdir()
        self._slipway = Slipway(running, self._home)

    def run(self) -> dict[str, Grown]:
        image, archive = f"bench-{self._size}:1", self._archive()
        saved = self._work / "saved.tar"
        steps = {
            "import": ("import", str(archive), image),
            "save": ("save", image, "-o", str(saved)),
            "save as OCI archive": ("save", image, "-o", str(saved), "--format", "oci"),
            "push to the registry": ("push", image),
            "remove": ("rmi", image),
            "pull from the registry": ("pull", self._name(image)),
        }
        found = {}
        for step, arguments in steps.items():
            with self._watch() as grown:
                self._call(*arguments)
            found[step] = grown
            saved.unlink(missing_ok=True)
            if step == "import":
                archive.unlink()
        del found["remove"]
        return found

    def _name(self, image: str) -> str:
        return f"localhost:{self._running.url.rstrip('/').rpartition(':')[2]}/{self._running.project}/{image}"

    def _call(self, *arguments: str) -> None:
        done = subprocess.run(
            [ROOT / "bin" / "slipway", *arguments],
            env=self._slipway.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"slipway {' '.join(arguments)}: {done.stderr}")

    def _archive(self) -> Path:
        """One layer of files that do not compress."""
        layer = self._work / "layer.tar"
        with tarfile.open(layer, "w") as tar:
            for number in range((self._size << 20) // FILE):
                file = self._work / "file"
                file.write_bytes(os.urandom(FILE))
                tar.add(file, f"file-{number}")
        return docker_save(self._work / f"image-{self._size}.tar", [layer])

    @contextmanager
    def _watch(self) -> Iterator[Grown]:
        """By how many MiB each process grew at most meanwhile."""
        grown: Grown = {}
        pids = {name: self._running.pid(name) or 0 for name in WATCHED}
        before = {name: memory.pss(pid) for name, pid in pids.items()}
        peaks = dict(before)
        over = threading.Event()

        def look() -> None:
            while not over.wait(LOOK_SECONDS):
                for name, pid in pids.items():
                    peaks[name] = max(peaks[name], memory.pss(pid))

        thread = threading.Thread(target=look)
        thread.start()
        began = perf_counter()
        try:
            yield grown
        finally:
            grown["seconds"] = perf_counter() - began
            over.set()
            thread.join()
        grown.update({name: (peaks[name] - before[name]) / (1 << 20) for name in WATCHED})


def _text(measured: dict[int, dict[str, Grown]]) -> str:
    rows = [
        [step, f"{size} MiB", f"{grown['seconds']:.1f} s", *(f"{grown[name]:.0f} MiB" for name in WATCHED)]
        for step in measured[SIZES[0]]
        for size in SIZES
        for grown in [measured[size][step]]
    ]
    most = max(grown[name] for steps in measured.values() for grown in steps.values() for name in WATCHED)
    met = "kept" if most < AIM else "missed"
    head = ("by how much each process grew", "image", "took", *WATCHED)
    return f"{tables.table(head, rows)}\n\nNo process grew by more than {most:.0f} MiB (aim: {AIM}, {met})."


if __name__ == "__main__":
    sys.exit(main())
