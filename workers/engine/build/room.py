"""Where one build works: its directory, cgroup and reaper, and what recovers all that after a kill.

The directory is locked by whoever works in it; what lies in an unlocked one is rubbish. A step's bundle
names project and cgroup, so that nothing else is needed to clean up after it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from workers.engine import bundles
from workers.engine.host import Engine
from workers.engine.places import BuildPlaces, Places
from workers.engine.runtime import oci, stragglers
from workers.engine.runtime.reaping import Reaping
from workers.engine.trees import remove_tree
from workers.messages import Limits, ProjectSlice

WEIGHT = 20
"""Of busy CPUs, where a container has 100: no build starves what people use."""
_TRACE = "build.json"


@dataclass(frozen=True)
class Room:
    engine: Engine
    project: ProjectSlice
    limits: Limits
    directory: Path
    cgroup: str
    reaping: Reaping

    @property
    def places(self) -> BuildPlaces:
        return build_places(self.engine.places)

    def new_directory(self, name: str) -> Path:
        """A fresh directory of the build's own."""
        path = self.directory / f"{name}-{secrets.token_hex(4)}"
        path.mkdir(mode=0o700)
        return path


def build_places(places: Places) -> BuildPlaces:
    return BuildPlaces(places.data, places.run)


@contextmanager
def opened(engine: Engine, build: str, project: ProjectSlice, limits: Limits) -> Iterator[Room]:
    """For one attempt of one build; nothing of it is left afterwards, however the build ends."""
    directory = engine.places.build_work / f"{build[:32]}-{secrets.token_hex(4)}"
    directory.mkdir(mode=0o700)
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    reaping = Reaping(engine.cgroups.adopt_shim)
    cgroup = f"/{engine.instance}/{project.id}/build-{directory.name}"
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield Room(engine, project, limits, directory, cgroup, reaping)
    finally:
        reaping.close()
        engine.cgroups.kill(cgroup)
        engine.cgroups.remove(cgroup)
        remove_tree(directory)
        os.close(lock)


# --------------------------------------------------------------------------- bundles of steps


def trace(places: BuildPlaces, container: str, project: ProjectSlice, cgroup: str) -> None:
    """Before anything else of the step is made."""
    bundle = places.bundle(container)
    bundle.mkdir(mode=0o710)
    (bundle / _TRACE).write_text(json.dumps({"project": project.id, "cgroup": cgroup}))


def clear(engine: Engine, container: str) -> None:
    """Nothing of a step's container is left. Repeatable, also when cut off: the bundle goes last."""
    places = build_places(engine.places)
    bundle = places.bundle(container)
    noted = _noted(bundle)
    if noted is not None:
        cgroup, project = noted["cgroup"], noted["project"]
        engine.cgroups.kill(cgroup)
        oci.forget(places, container)
        engine.cgroups.remove(cgroup)
        engine.networks.release(project, container)
    for mountpoint in _mountpoints(bundle):
        engine.kernel.unmount(mountpoint)
    bundles.remove(engine.kernel, places, container)


def _noted(bundle: Path) -> dict[str, str] | None:
    with suppress(FileNotFoundError, ValueError):
        return dict(json.loads((bundle / _TRACE).read_text()))
    return None


def _mountpoints(bundle: Path) -> Iterator[Path]:
    yield bundle / "rootfs"
    yield bundle / "secrets"
    with suppress(FileNotFoundError):
        yield from sorted((bundle / "mounts").iterdir())


def recover(engine: Engine) -> int:
    """Clean up after builds whose worker died; how many were found. Builds of living ones are let be."""
    places = build_places(engine.places)
    abandoned = [path for path in engine.places.build_work.iterdir() if _is_abandoned(path)]
    if any(path not in abandoned for path in engine.places.build_work.iterdir()):
        return 0  # somebody builds here at this moment: bundles cannot be told apart
    for container in bundles.containers(places):
        noted = _noted(places.bundle(container))
        if noted is not None:
            stragglers.end(container, lambda cgroup=noted["cgroup"]: engine.cgroups.kill(cgroup))  # type: ignore[misc]
        clear(engine, container)
    for path in (*abandoned, *engine.places.fetches.iterdir()):
        remove_tree(path)
    for tree in engine.cgroups.hierarchy.trees():
        for group in (tree / engine.instance).glob("*/build-*"):
            engine.cgroups.remove(str(group.relative_to(tree)))
    return len(abandoned)


def end_abandoned(engine: Engine) -> int:
    """Nothing of builds whose worker died runs on, whoever else died with it; how many did. Repeatable.

    Only processes are ended: the next worker clears what they leave (``recover``).
    """
    ended = 0
    for directory in engine.places.build_work.iterdir():
        for cgroup in _cgroups_of(engine, directory.name) if _is_abandoned(directory) else ():
            ended += bool(engine.cgroups.pids(cgroup))
            engine.cgroups.kill(cgroup)
    return ended


def _cgroups_of(engine: Engine, work: str) -> set[str]:
    return {
        f"/{group.relative_to(tree)}"
        for tree in engine.cgroups.hierarchy.trees()
        for group in (tree / engine.instance).glob(f"*/build-{work}")
    }


def _is_abandoned(directory: Path) -> bool:
    """Asked with a lock that several may have at once: two who ask do not take each other for a worker."""
    try:
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno != errno.EWOULDBLOCK:
            raise
        return False
    finally:
        os.close(lock)
    return True
