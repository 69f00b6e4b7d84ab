"""The engine: its collaborators on this node, found and proven once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workers.engine.cgroups import Cgroups
from workers.engine.identity import drop_userns
from workers.engine.images import ImageStore
from workers.engine.kernel import Kernel, LinuxKernel
from workers.engine.networks import PRIVATE, Networks
from workers.engine.places import Places
from workers.engine.runtime import conmon, oci
from workers.engine.runtime.oci import Runtime
from workers.engine.runtime.seccomp import Filters
from workers.messages import Event

Emit = Callable[[Event], None]
"""Takes an event for good (the node's journal) before it returns."""


@dataclass(frozen=True)
class Engine:
    """Safe to share between threads; several processes may have one each on the same places."""

    places: Places
    instance: str
    kernel: Kernel
    images: ImageStore
    networks: Networks
    cgroups: Cgroups
    runtime: Runtime
    conmon: str
    filters: Filters


def open_engine(
    places: Places,
    *,
    instance: str,
    egress_deny: Sequence[str] = PRIVATE,
    egress_allow: Sequence[str] = (),
    runtime: str | None = None,
) -> Engine:
    """Prepare the node's directories and prove a runtime by a real start (once per boot).

    ``runtime`` allows no other than the named one. Raise ``RuntimeFailed`` when none works.
    """
    places.prepare()
    kernel = LinuxKernel()
    cgroups = Cgroups.of_this_node(instance)
    return Engine(
        places=places,
        instance=instance,
        kernel=kernel,
        images=ImageStore(places, kernel),
        networks=Networks(places, instance, egress_deny=egress_deny, egress_allow=egress_allow),
        cgroups=cgroups,
        runtime=oci.choose(places, f"/{instance}", only=runtime),
        conmon=conmon.program(),
        filters=Filters(places.node / "seccomp"),
    )


def teardown(engine: Engine) -> None:
    """Take from the node's kernel what the instance put there: bridges, rules, user namespaces, empty
    cgroups. What lies on disk stays. Its containers must be gone. Repeatable."""
    engine.networks.teardown()
    for namespace in engine.places.namespaces.iterdir():
        drop_userns(engine.kernel, engine.places, int(namespace.name))
    engine.cgroups.prune()
