"""What images have to do with builds: those under way that begin from one, and the one that made it."""

from __future__ import annotations

from collections.abc import Iterable

from slipway.builds.models import Build, BuildStep
from slipway.catalog.models import Image
from slipway.catalog.uses import Use
from slipway.ids import parse_id
from slipway.jobs.models import ACTIVE, JobState


def builds_using(image: Image) -> Iterable[Use]:
    """By what the node has told of their steps: a build that has not begun asks again when it does."""
    under_way = Build.objects.filter(job__state__in=ACTIVE, project__node=image.project.node_id)
    if not image.project.library:
        under_way = under_way.filter(project=image.project)
    names = {*image.names, *(name.removesuffix(":latest") for name in image.names), image.image_id}
    steps = BuildStep.objects.filter(build__in=under_way, name__contains="FROM ").select_related("build")
    found = {step.build for step in steps if names & set(step.name.partition("FROM ")[2].split())}
    return [
        Use("build", f"#{build.number}", build.hex) for build in sorted(found, key=lambda each: each.number)
    ]


def statement_of(scope: str, image_id: str) -> str:
    """Of the project's first build that gave the image: those after it found it in their cache."""
    made = Build.objects.filter(
        project=parse_id(scope), image_id=image_id, job__state=JobState.SUCCEEDED
    ).exclude(provenance="")
    return made.order_by("number").values_list("provenance", flat=True).first() or ""
