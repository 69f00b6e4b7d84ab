"""Writes: jobs."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from slipway import dispatch
from slipway.accounts.actors import Actor
from slipway.hints import publish_project
from slipway.jobs.models import Job, JobKind
from slipway.nodes.services import ensure_home
from slipway.projects.models import Project
from workers.messages import BakeImage, ImportImage, RemoveImage, encode

RESEND_AFTER = timedelta(seconds=10)
RESEND_RUNNING_AFTER = timedelta(minutes=5)
"""A running job that has been silent for so long is sent again: its worker may be gone."""

JobCommand = BakeImage | ImportImage | RemoveImage


def queue_job(actor: Actor, project: Project, job: Job, command: JobCommand) -> Job:
    """Save ``job`` with its ``command`` and send that on commit. Raise ``NoNode``."""
    with transaction.atomic():
        job.project = project
        job.node = ensure_home(project)
        job.command = encode(command)
        job.created_by = actor.user
        job.sends = 1
        job.resend_at = timezone.now() + RESEND_AFTER
        job.save(force_insert=True)
        dispatch.send(command, job.node)
        publish_project(project.hex, "jobs")
    return job


def new_job(kind: JobKind, subject: str) -> Job:
    """An unsaved job: its id is known, so the command can carry it."""
    return Job(kind=kind, subject=subject[:300])
