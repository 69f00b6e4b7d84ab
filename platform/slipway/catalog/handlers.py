"""The catalog's kinds of jobs."""

from __future__ import annotations

from django.db.models import QuerySet

from slipway.catalog.access import complete
from slipway.catalog.models import Image
from slipway.jobs.handlers import Handler, JobCommand, never_again, register, same_again
from slipway.jobs.models import Job, JobKind
from workers.messages import RemoveImage, decode_command


def register_all() -> None:
    """Safe to repeat."""
    register(IMPORT)
    register(BAKE)
    register(REMOVE)
    register(PULL)
    register(PUSH)


def _restore(job: Job) -> None:
    """A removal that failed leaves the image usable by its id."""
    _images_of(job).update(withdrawn=False)


def _remove_again(job: Job, new_id: str) -> JobCommand | None:
    _images_of(job).update(withdrawn=True)
    return same_again(job, new_id)


def _images_of(job: Job) -> QuerySet[Image]:
    command = decode_command(job.command)
    if not isinstance(command, RemoveImage):
        return Image.objects.none()
    return Image.objects.filter(project=job.project_id, image_id=command.image_id)


# The upload is dropped however an import ends: it must come again.
IMPORT = Handler(JobKind.IMPORT_IMAGE, is_build=True, again=never_again)
BAKE = Handler(JobKind.BAKE_IMAGE, is_build=True)
REMOVE = Handler(JobKind.REMOVE_IMAGE, undo=_restore, again=_remove_again)
# They take the node's processors and disk as an import does, and are counted as such.
PULL = Handler(JobKind.PULL_IMAGE, is_build=True, complete=complete)
PUSH = Handler(JobKind.PUSH_IMAGE, is_build=True, complete=complete)
