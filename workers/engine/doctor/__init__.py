"""What a node needs, each thing proven by using it: ok, degraded or missing, why, and the fix."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from workers.checks import Check
from workers.engine.doctor import cgroup, machine, network, programs, storage
from workers.engine.places import Places

__all__ = ["Check", "examine"]


def examine(places: Places, instance: str) -> tuple[Check, ...]:
    """Every line of this node, in a fixed order. Needs root.

    Takes about a second and leaves nothing behind; containers that run are not touched.
    """
    with _scratch(places) as scratch:
        examinations: Sequence[tuple[str, Callable[[], list[Check]]]] = (
            ("kernel", machine.kernel),
            ("user namespaces", lambda: machine.user_namespaces(scratch)),
            ("overlay", lambda: storage.overlay(scratch)),
            ("pidfd", machine.pidfd),
            ("cgroups", cgroup.examine),
            ("runtime", lambda: programs.runtimes(scratch, instance)),
            ("programs", programs.helpers),
            ("seccomp", machine.seccomp),
            ("AppArmor", machine.apparmor),
            ("nftables", network.nftables),
            ("forwarding", lambda: network.forwarding(instance)),
            ("uplink", network.uplink),
            ("resolvers", network.resolvers),
            ("disk", lambda: storage.disk(places.data)),
            ("quota", lambda: storage.quota(places.data)),
            ("clock", machine.clock),
            ("limits", machine.limits),
        )
        return tuple(check for name, look in examinations for check in _look(name, look))


def _look(name: str, look: Callable[[], list[Check]]) -> list[Check]:
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - one broken thing must not hide the other lines
        return [Check(name, "missing", f"could not be examined: {error}", "see the message; is this root?")]


@contextlib.contextmanager
def _scratch(places: Places) -> Iterator[Places]:
    """Places of their own on the same filesystems, so that nothing of the node's is touched."""
    data, run = (
        Path(tempfile.mkdtemp(prefix=".doctor-", dir=_existing(each))) for each in (places.data, places.run)
    )
    try:
        scratch = Places(data, run)
        scratch.prepare()
        yield scratch
    finally:
        for each in (data, run):
            shutil.rmtree(each, ignore_errors=True)


def _existing(path: Path) -> Path:
    """The directory itself, or the nearest one above that is there."""
    return next(each for each in (path, *path.parents) if each.is_dir())
