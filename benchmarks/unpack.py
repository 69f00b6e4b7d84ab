#!/usr/bin/env python
"""How fast an image becomes layers that can be mounted: Slipway beside `docker load` and `docker pull`.

One root file system of Debian's (about 300 MB), the same archive and the same registry for both, in turns.
Needs root and Debian's docker.io, docker-registry and mmdebstrap; starts a dockerd and a registry of its own.
Writes its table into performance.md and prints it.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import competitors, tables
from benchmarks.competitors import Docker
from benchmarks.images import docker_save, tiny
from tests.registries import debian_registry
from workers.engine import images, importing
from workers.engine.images import ImageStore
from workers.engine.kernel import LinuxKernel
from workers.engine.places import Places
from workers.engine.transfer import pulls, pushes
from workers.engine.transfer.pulls import Wanted
from workers.engine.transfer.pushes import Target
from workers.messages import RegistryAccess
from workers.oci.descriptor import Platform
from workers.oci.reference import Reference

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = "python3,perl,git,curl,gpg,openssh-client"
SCOPE, OTHER = "b" * 32, "c" * 32
IMPORT, PULL = "slipway, import of the archive", "slipway, pull from a registry"
RIVALS = {IMPORT: "docker load", PULL: "docker pull"}
ACCESS = RegistryAccess(plain_http=True, allow_private=True)


def main() -> int:
    options = _parse(sys.argv[1:])
    work = Path(tempfile.mkdtemp(prefix="slipway-bench-", dir=options.storage))
    work.chmod(0o711)
    try:
        text = measure(work, options.rootfs or _debian(work / "rootfs.tar"), options.rounds)
    finally:
        shutil.rmtree(work)
    print(text)
    tables.replace(options.output / "performance.md", text, "unpacking")
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant")
    parser.add_argument("--rootfs", type=Path, help="a root file system as tar, in place of a new one")
    parser.add_argument(
        "--storage",
        type=Path,
        default=Path("/dev/shm"),
        help="where all unpack to; in memory by default",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "docs", help="where the figures go")
    return parser.parse_args(arguments)


def measure(work: Path, rootfs: Path, rounds: int) -> str:
    top = tiny(work / "tiny.tar")
    archive = docker_save(work / "archive.tar", [rootfs])
    places = Places(work / "node" / "data", work / "node" / "run")
    places.prepare()
    store = ImageStore(places, LinuxKernel())
    with contextlib.ExitStack() as stack:
        docker = stack.enter_context(competitors.docker(work / "docker", top))
        registry = stack.enter_context(debian_registry())
        name = f"{registry.host}/bench/debian:1"
        _import(store, archive, SCOPE)
        _push(store, name)
        _forget(store)
        contestants: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "slipway, import of the archive": (
                lambda: _import(store, archive, SCOPE),
                lambda: _forget(store),
            ),
            "docker load": (lambda: _load(docker, archive), lambda: _prune(docker)),
            PULL: (lambda: _pull(store, name), lambda: _forget(store)),
            "docker pull": (lambda: _docker_pull(docker, name), lambda: _prune(docker)),
        }
        seconds: dict[str, list[float]] = {contestant: [] for contestant in contestants}
        for _ in range(rounds):
            for contestant, (turn, undo) in contestants.items():
                subprocess.run(["sync"], check=True)  # nobody pays for whoever came before
                started = perf_counter()
                turn()
                seconds[contestant].append(perf_counter() - started)
                undo()
    _import(store, archive, SCOPE)
    one = _disk(places)
    _import(store, docker_save(work / "second.tar", [rootfs, top]), OTHER)
    return _text(seconds, rootfs.stat().st_size, one, _disk(places))


def _debian(target: Path) -> Path:
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={PACKAGES}", "bookworm"]
    subprocess.run([*command, str(target)], check=True, stderr=subprocess.DEVNULL)
    return target


# --------------------------------------------------------------------------- contestants


def _import(store: ImageStore, archive: Path, scope: str) -> None:
    importing.import_archive(store, archive, scope=scope)


def _push(store: ImageStore, name: str) -> None:
    (image_id,) = images.image_ids(store, SCOPE)
    pushes.push(store, SCOPE, image_id, Target(Reference.parse(name), ACCESS))


def _pull(store: ImageStore, name: str) -> None:
    pulls.pull(store, SCOPE, Wanted(Reference.parse(name), Platform("linux", "amd64"), ACCESS))


def _forget(store: ImageStore) -> None:
    for image_id in images.image_ids(store, SCOPE):
        images.withdraw(store, SCOPE, image_id)
    if not images.sweep(store).layers:
        raise RuntimeError("Nothing was unpacked")


def _load(docker: Docker, archive: Path) -> None:
    competitors.output(*docker.command("load", "--quiet", "--input", str(archive)))


def _docker_pull(docker: Docker, name: str) -> None:
    competitors.output(*docker.command("pull", "--quiet", name))


def _prune(docker: Docker) -> None:
    said = competitors.output(*docker.command("image", "prune", "--all", "--force"))
    if "bench/debian" not in said:
        raise RuntimeError("Nothing was unpacked")


# --------------------------------------------------------------------------- figures


def _disk(places: Places) -> int:
    return int(competitors.output("du", "-sB1", str(places.layers)).split()[0])


def _text(seconds: dict[str, list[float]], size: int, one: int, two: int) -> str:
    middle = {name: median(values) for name, values in seconds.items()}
    rows = [
        (
            name,
            f"{middle[name]:.2f}",
            f"{min(values):.2f}–{max(values):.2f}",
            f"{size / middle[name] / 1e6:.0f}",
            f"{middle[RIVALS.get(name, name)] / middle[name]:.1f}",
        )
        for name, values in seconds.items()
    ]
    head = (f"Debian root file system, {size / 1e6:.0f} MB", "median s", "min–max", "MB/s", "× Docker's")
    shared = (
        f"One image takes {one / 1e6:.1f} MB of the node's disk, notes included; with a second on the same"
        f" base, another project's, it is {two / 1e6:.1f} MB."
    )
    return f"{tables.table(head, rows)}\n\n{shared}"


if __name__ == "__main__":
    sys.exit(main())
