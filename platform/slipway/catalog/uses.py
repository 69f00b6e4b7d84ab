"""What stands in the way of an image's removal; pure reads. Rooms above ours add what of theirs needs one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from slipway.catalog.models import Image
from slipway.jobs.models import ACTIVE, Job, JobKind

SHOWN_MAX = 20


@dataclass(frozen=True)
class Use:
    kind: str
    """``container``, ``push``, ``build``."""
    name: str
    """As people call it."""
    id: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


Finder = Callable[[Image], Iterable[Use]]
_finders: list[Finder] = []


def register(finder: Finder) -> None:
    """Safe to repeat."""
    if finder not in _finders:
        _finders.append(finder)


def uses_of(image: Image) -> list[Use]:
    """Unremoved containers first, then transfers under way, then what other rooms know."""
    found = [Use("container", row.name, row.id) for row in image.containers.filter(removed_at=None)]
    found += [Use("push", job.subject, job.hex) for job in _pushes(image)]
    for finder in _finders:
        found += finder(image)
    return found


def _pushes(image: Image) -> Iterable[Job]:
    under_way = Job.objects.filter(kind=JobKind.PUSH_IMAGE, state__in=ACTIVE)
    # The id is 71 characters that stand in no other place of a push's command.
    return under_way.filter(node=image.project.node_id, command__contains=image.image_id).only("subject")
