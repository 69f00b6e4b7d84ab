#!/usr/bin/env python
"""Builds of Slipway beside `docker build` (classic) and `buildah bud`, on one base image.

Contestants take turns in the same minutes on the same machine. Needs root and Debian's packages docker.io and
buildah; starts a dockerd of its own. Writes build.json and the figures of performance.md, and prints them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import building, competitors, tables

ROOT = Path(__file__).resolve().parent.parent
FILES = 20_000
BIG = 1 << 30

Build = Callable[[Path, bool], None]
"""Of a directory, without the cache if so."""


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[Path], None]
    """Fills the directory."""
    cached: bool
    rounds: int


def main() -> int:
    options = _parse(sys.argv[1:])
    work = Path(tempfile.mkdtemp(prefix="slipway-bench-", dir="/var/tmp"))
    work.chmod(0o711)
    try:
        results = measure(work, options)
    finally:
        shutil.rmtree(work)
    (options.output / "build.json").write_text(json.dumps(results, indent=2) + "\n")
    text = building.render(results)
    tables.replace(options.output / "performance.md", text, name="builds")
    print(text)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant; the median counts")
    parser.add_argument("--only", action="append", help="only these cases")
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="where the figures go")
    return parser.parse_args(arguments)


# --------------------------------------------------------------------------- what is built


def _ten_steps(directory: Path) -> None:
    lines = ["FROM bench/busybox"]
    lines += [f"RUN echo {number} > /step{number} && mkdir -p /d{number}/x" for number in range(7)]
    lines += ["COPY file /file", "ENV A=b", "WORKDIR /w", 'CMD ["true"]']
    (directory / "Dockerfile").write_text("\n".join(lines) + "\n")
    (directory / "file").write_text("content")


def _many_files(directory: Path) -> None:
    (directory / "Dockerfile").write_text("FROM bench/busybox\nCOPY . /src/\n")
    for number in range(FILES):
        place = directory / f"d{number // 200}"
        if number % 200 == 0:
            place.mkdir()
        (place / f"f{number}.txt").write_bytes(os.urandom(600))


def _one_gigabyte(directory: Path) -> None:
    (directory / "Dockerfile").write_text(
        f"FROM bench/busybox\nRUN dd if=/dev/urandom of=/block bs=1M count=16 2>/dev/null && "
        f"for i in $(seq {BIG >> 24}); do cat /block; done > /big\n"
    )


def _two_stages(directory: Path) -> None:
    (directory / "Dockerfile").write_text(
        "FROM bench/busybox AS a\nRUN sleep 2 && echo a > /a\n"
        "FROM bench/busybox AS b\nRUN sleep 2 && echo b > /b\n"
        "FROM scratch\nCOPY --from=a /a /a\nCOPY --from=b /b /b\n"
    )


CASES = (
    Case("ten steps, nothing cached", _ten_steps, cached=False, rounds=5),
    Case("ten steps, all cached", _ten_steps, cached=True, rounds=10),
    Case(f"a context of {FILES:,} small files", _many_files, cached=False, rounds=3),
    Case("a layer of 1 GiB", _one_gigabyte, cached=False, rounds=3),
    Case("two independent stages of 2 s", _two_stages, cached=False, rounds=2),
)


# --------------------------------------------------------------------------- measuring


def measure(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    archive, rootfs = building.bake(work)
    with contextlib.ExitStack() as stack:
        docker = stack.enter_context(competitors.docker(work / "docker", rootfs))
        buildah = stack.enter_context(competitors.buildah(work / "buildah", rootfs))
        slipway = stack.enter_context(building.engine(work / "slipway", archive))
        contestants: dict[str, Build] = {
            "Slipway": slipway.build,
            "docker build": docker.build,
            "buildah bud": buildah.build,
        }
        found = {}
        for case in CASES:
            if options.only and not any(word in case.name for word in options.only):
                continue
            directory = work / f"context-{secrets.token_hex(4)}"
            directory.mkdir()
            case.make(directory)
            with _memory() as grown:
                found[case.name] = _turns(contestants, case, directory)
            found[case.name]["memory_mib"] = round(grown(), 1)
            shutil.rmtree(directory)
        return {"machine": building.machine(docker, buildah), "cases": found}


def _turns(contestants: dict[str, Build], case: Case, directory: Path) -> dict[str, Any]:
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(case.rounds + case.cached):
        for name, build in contestants.items():
            began = perf_counter()
            build(directory, not case.cached)
            if turn >= case.cached:  # the first one fills the cache
                times[name].append(perf_counter() - began)
    return {"seconds": {name: round(statistics.median(values), 3) for name, values in times.items()}}


@contextlib.contextmanager
def _memory() -> Iterator[Callable[[], float]]:
    """By how many MiB this process, in which the engine works, grew at most."""
    before, most = _resident(), 0.0
    ended = threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.02):
            most = max(most, _resident())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: max(0.0, most - before)
    finally:
        ended.set()
        thread.join()


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


if __name__ == "__main__":
    sys.exit(main())
