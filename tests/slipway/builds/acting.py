"""What tests of builds do again and again: ask for one, and tell what its node tells."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from slipway import events
from slipway.accounts.actors import Actor
from slipway.builds import services
from slipway.builds.models import Build
from slipway.builds.requests import BuildRequest
from slipway.projects.models import Project, Resource
from slipway.projects.quotas import set_limit
from tests.factories import (
    digest,
    make_actor,
    make_project,
    make_user,
)
from tests.roads import RecordingRoad
from workers.messages import (
    BuildFinished,
    BuildImage,
    BuildOptions,
    BuildProgressed,
    BuildSource,
    JobStarted,
    JobSucceeded,
    StepFacts,
)

CANARY = "canary-5ecret-0f-a-build"


def text(**options: Any) -> BuildRequest:
    return BuildRequest(options=BuildOptions(dockerfile_text="FROM busybox\n", **options))


def create(road: RecordingRoad, who: tuple[Actor, Project], request: BuildRequest | None = None) -> Build:
    """Committed, so that it was let go if there is a slot."""
    build = services.create_build(*who, request or text())
    road.commit()
    return build


def git(url: str, **more: Any) -> BuildRequest:
    return BuildRequest(source=BuildSource(kind="git", url=url, **more))


def loaded(command: BuildImage) -> Build:
    return Build.objects.select_related("job__node").get(pk=command.build)


def upload(size: int = 10, **options: Any) -> BuildRequest:
    source = BuildSource(kind="upload", upload=digest("context"))
    return BuildRequest(source=source, options=BuildOptions(**options), size=size)


def tell(build: Build, event: Any) -> Build:
    events.apply(event, build.job.node, timezone.now())
    return Build.objects.select_related("job__node", "project__team").get(pk=build.pk)


def world(builds: int = 50, **fields: Any) -> tuple[Actor, Project]:
    project = make_project(**fields)
    set_limit(Actor(user=make_user(is_staff=True)), project, Resource.BUILDS, builds)
    return make_actor(project.team), project


def sent(road: RecordingRoad) -> list[BuildImage]:
    return [each for each in road.take() if isinstance(each, BuildImage)]


def begin(build: Build) -> Build:
    return tell(build, JobStarted(build.job.hex))


def succeed(build: Build) -> Build:
    return tell(build, JobSucceeded(build.job.hex))


def steps(*states: str) -> tuple[StepFacts, ...]:
    return tuple(
        StepFacts(id=number, stage="web", name=f"[{number}]", state=state, started_at=1.0)
        for number, state in enumerate(states)
    )


def progress(build: Build, attempt: int, *states: str) -> Build:
    return tell(build, BuildProgressed(build.job.hex, build.hex, attempt, steps(*states)))


def finished(build: Build, attempt: int, word: str) -> BuildFinished:
    result = digest(word), digest("manifest")
    return BuildFinished(build.job.hex, build.hex, attempt, *result, warnings=("W",))


def states(build: Build) -> list[str]:
    return [step.state for step in build.steps.all()]
