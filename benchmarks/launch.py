#!/usr/bin/env python
"""Launch speed and memory of Slipway beside `docker run --rm` and `podman run --rm`, on one root file system.

Every figure of one run comes from the same machine in the same minutes; contestants take turns, so that
a slow spell hits all of them. Needs root and Debian's packages docker.io and podman; starts a dockerd of
its own. Writes performance.json and the figures of performance.md, and prints them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import competitors, process_set, tables
from benchmarks.engine import Launcher, launcher
from benchmarks.turns import Contestant, take_turns
from workers.engine import recipes

ROOT = Path(__file__).resolve().parent.parent
COMMAND = ("true",)
LAUNCHERS = 4


def main() -> int:
    options = _parse(sys.argv[1:])
    work = Path(tempfile.mkdtemp(prefix="slipway-bench-", dir="/var/tmp"))
    work.chmod(0o711)
    try:
        results = measure(work, options)
    finally:
        shutil.rmtree(work)
    (options.output / "performance.json").write_text(json.dumps(results, indent=2) + "\n")
    text = tables.render(results)
    tables.replace(options.output / "performance.md", text)
    print(text)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="turns of each contestant")
    parser.add_argument("--burst", type=int, default=200, help="containers started by four launchers")
    parser.add_argument(
        "--running", type=int, default=40, help="containers that run while memory is measured"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="where the figures go")
    return parser.parse_args(arguments)


def measure(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    archive, rootfs = bake(work)
    with contextlib.ExitStack() as stack:
        docker = stack.enter_context(competitors.docker(work / "docker", rootfs))
        podman = stack.enter_context(competitors.podman(work / "podman", rootfs))
        engines = {
            runtime: stack.enter_context(launcher(work / runtime, archive, runtime))
            for runtime in ("crun", "runc")
        }
        processes = stack.enter_context(process_set.running())
        contestants = [
            *(Contestant(f"engine, {name}", _run(engine)) for name, engine in engines.items()),
            Contestant("REST create → exit seen, crun", lambda: processes.run(*COMMAND)),
            *(_contestant("docker run --rm", runtime, docker) for runtime in ("runc", "crun")),
            *(_contestant("podman run --rm", runtime, podman) for runtime in ("crun", "runc")),
        ]
        return {
            "machine": _machine(docker, podman),
            "idle": processes.idle(),
            "turns": take_turns(contestants, rounds=options.rounds),
            "burst": {name: burst(engine, options.burst) for name, engine in engines.items()},
            "running": processes.per_container(options.running),
        }


def bake(work: Path) -> tuple[Path, Path]:
    """Our image archive of busybox, and the root file system in it as a plain tar for the others."""
    archive, rootfs = work / "busybox.tar", work / "rootfs.tar"
    with archive.open("w+b") as target:
        recipes.bake("busybox", target, lambda *_: None)
    competitors.extract_rootfs(archive, rootfs)
    return archive, rootfs


def _run(engine: Launcher) -> Any:
    return lambda: engine.run(*COMMAND)


def _contestant(name: str, runtime: str, program: competitors.Docker | competitors.Podman) -> Contestant:
    return Contestant(f"{name}, {runtime}", lambda: program.run(runtime, *COMMAND))


def burst(engine: Launcher, count: int) -> float:
    """Containers a second, run to their end by four threads as in a worker."""
    began = perf_counter()
    with ThreadPoolExecutor(LAUNCHERS) as pool:
        for done in [pool.submit(engine.run, *COMMAND) for _ in range(count)]:
            done.result()
    return round(count / (perf_counter() - began), 1)


def _machine(docker: competitors.Docker, podman: competitors.Podman) -> dict[str, str]:
    return {
        "measured": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "crun": competitors.output("crun", "--version").split()[2],
        "runc": competitors.output("runc", "--version").split()[2],
        "docker": docker.version(),
        "podman": podman.version(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = list(_values(lines, "model name"))
    return f"{len(models)} × {models[0]}" if models else platform.machine()


def _values(lines: list[str], key: str) -> Iterator[str]:
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == key:
            yield value.strip()


if __name__ == "__main__":
    sys.exit(main())
