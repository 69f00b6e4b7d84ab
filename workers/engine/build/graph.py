"""What a build has to do, as data: stages, steps, and the image that comes out. Pure.

``planning.plan`` makes a ``Graph`` of a Dockerfile and a ``PlanRequest``; the solver carries it out.
In a graph everything is expanded: variables are substituted, and environment, working directory,
user and shell are resolved into each step. What needs files is left to the solver: wildcards, names
of users, digests of content.

Two steps do the same if their ``key``s, their parents and the content of their sources are the same:
that is the cache key. No secret's value is in a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from workers.engine.build.defaults import RunDefaults
from workers.engine.build.steps import Root, Step, stages_of
from workers.engine.dockerfile.locations import Finding, Location
from workers.oci.config import HistoryEntry

HISTORY_COMMENT = "buildkit.dockerfile.v0"

# --------------------------------------------------------------------------- what is asked for


MAX_LAYERS = 500
"""Of an image: overlayfs takes no more directories, so that no node could mount one that has."""


@dataclass(frozen=True)
class NamedContext:
    """Files (or an image) that a build names with ``--build-context NAME=…``."""

    kind: str
    """``image``: ``reference`` is an image's. ``files``: the solver has a directory by the context's name."""
    reference: str = ""


@dataclass(frozen=True)
class ResolvedImage:
    image_id: str
    """Config digest: what names the image in cache keys."""
    config: str
    """The image config's JSON."""


Resolve = Callable[[str, str], ResolvedImage]
"""(reference as the Dockerfile has it, platform ``linux/amd64[/v8]``) -> the image.

Called once per base image of a needed stage and platform. What it raises comes out of ``plan``
with the place in the Dockerfile added to its facts (``file``, ``line``).
"""


@dataclass(frozen=True)
class PlanRequest:
    """What of a build's options concerns the graph."""

    platform: str = "linux/amd64"
    """The build's: BUILDPLATFORM."""
    target_platform: str | None = None
    """TARGETPLATFORM; None: the build's."""
    target: str | None = None
    """A stage's name (in any case) or number; None: the last stage."""
    build_args: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, NamedContext] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    """Set on the resulting image, over the Dockerfile's."""
    no_cache: bool = False
    no_cache_filter: tuple[str, ...] = ()
    """Names or numbers of stages whose steps ignore the cache."""
    network: str = "default"
    """For RUN without ``--network``: default, none or host."""
    extra_hosts: tuple[str, ...] = ()
    """``name:address``."""
    shm_bytes: int | None = None
    ulimits: tuple[str, ...] = ()
    """``nofile=1024:2048``."""
    hostname: str = ""
    source_date_epoch: int | None = None
    """Beside it, a build argument SOURCE_DATE_EPOCH counts."""
    checks: bool = True
    """False: no findings, and ``# check=error=true`` fails nothing."""


# --------------------------------------------------------------------------- the whole


@dataclass(frozen=True)
class StagePlan:
    index: int
    """Position of its FROM in the Dockerfile, from 0."""
    name: str
    """As in ``[web 3/7]``: its AS, or ``stage-<index>``; empty when it is the only stage."""
    location: Location
    base: Root
    """Never a ``ContextRoot``: a stage upon files stands on nothing and copies them first."""
    base_name: str
    """Display name of getting the base: ``[web 1/7] FROM docker.io/library/debian:12``; empty for
    scratch and for another stage."""
    platform: str
    steps: tuple[Step, ...]
    defaults: RunDefaults
    """After all steps."""
    history: tuple[HistoryEntry, ...]
    """The base's entries, then the steps'; ``created`` of the latter is the solver's to set."""
    author: str = ""
    no_cache: bool = False

    @property
    def needs(self) -> tuple[int, ...]:
        """Indices of the stages that must be there (entirely or by a step's need) to finish it."""
        return stages_of((self.base, *(root for step in self.steps for root in step.roots)))


@dataclass(frozen=True)
class Graph:
    """``stages`` are those the target needs, each after all that it needs; whatever does not need
    one another may be done at once, and a step only waits for its own ``needs``."""

    stages: tuple[StagePlan, ...]
    target: int
    """``StagePlan.index`` of the result."""
    skipped: tuple[str, ...]
    """Names of the stages that are not needed."""
    platform: str
    """The resulting image's."""
    source_date_epoch: int | None = None
    warnings: tuple[Finding, ...] = ()

    @property
    def result(self) -> StagePlan:
        return self.stage(self.target)

    def stage(self, index: int) -> StagePlan:
        return next(stage for stage in self.stages if stage.index == index)

    @property
    def roots(self) -> tuple[Root, ...]:
        """Every root that is read, each once: which images to fetch, which contexts to have."""
        every = (root for stage in self.stages for root in (stage.base, *_step_roots(stage)))
        return tuple(dict.fromkeys(every))


def _step_roots(stage: StagePlan) -> tuple[Root, ...]:
    return tuple(root for step in stage.steps for root in step.roots)
