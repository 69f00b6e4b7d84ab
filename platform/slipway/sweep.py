"""What is done again and again (``schedule``): send what was not answered, clear what expired."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import F, Q

from slipway import dispatch
from slipway.blobs.opening import blob_store
from slipway.catalog.models import UpstreamTag
from slipway.containers.commands import command_for
from slipway.containers.models import RESEND_AFTER, Container, State
from slipway.jobs import progress
from slipway.jobs import services as jobs
from slipway.jobs.handlers import command_of, handler_of, slot_kinds
from slipway.jobs.models import ACTIVE, Job, JobState
from slipway.jobs.scheduling import RESEND_AFTER as RESEND_JOB_AFTER
from slipway.jobs.scheduling import schedule
from slipway.nodes.models import Node
from slipway.projects.models import PROJECT_AGAIN, Project, ProjectRemoval
from slipway.repositories import collection, platforms
from workers.errors import SlipwayError
from workers.messages import CancelJob, DropLogs, DropProject

log = structlog.get_logger(__name__)

GIVE_UP_AFTER = timedelta(minutes=10)
"""A lease that ended so long ago is lost: until then the job was sent again several times."""
DROP_AGAIN = timedelta(hours=1)
TAGS_FOR = timedelta(days=90)
ROWS = 200
"""At most so many of each kind at a time; the others are still due at the next sweep."""
RESEND_MAX = timedelta(minutes=5)


def resend_containers(now: datetime) -> int:
    """Send again the wishes that no event has answered in time. How many were sent."""
    due = (
        Container.objects.filter(
            resend_at__lte=now, removed_at=None, observed_generation__lt=F("desired_generation")
        )
        .select_related("project", "node")
        .order_by("resend_at")[:ROWS]
    )
    sent = 0
    for row in due:
        if not row.node.is_live(now):
            continue  # its queue only grows; it is asked when it is back
        wait = _patience(RESEND_AFTER, row.sends)
        if row.desired == State.EXITED:
            wait += timedelta(seconds=row.stop_timeout)
        # Only if nobody wished anew since the row was read.
        mine = Container.objects.filter(pk=row.pk, desired_generation=row.desired_generation)
        if mine.filter(resend_at=row.resend_at).update(resend_at=now + wait, sends=row.sends + 1):
            log.info("command_sent_again", container=row.id, desired=row.desired, sends=row.sends + 1)
            sent += dispatch.send_now(command_for(row), row.node)
    return sent


def resend_jobs(now: datetime) -> int:
    """Send again the jobs, or the wishes to cancel them, that no event has answered. How many were sent."""
    due = (
        Job.objects.filter(resend_at__lte=now, state__in=ACTIVE, admitted_at__isnull=False)
        .select_related("node")
        .order_by("resend_at")[:ROWS]
    )
    sent = 0
    for row in due:
        if not row.node.is_live(now):
            continue
        first = jobs.CANCEL_AGAIN if row.cancel_requested_at else RESEND_JOB_AFTER
        wait = _patience(first, row.sends)
        changed = Job.objects.filter(pk=row.pk, resend_at=row.resend_at, state=row.state).update(
            resend_at=now + wait, sends=row.sends + 1
        )
        if changed:
            log.info("job_sent_again", job=row.hex, kind=row.kind, sends=row.sends + 1)
            sent += _send_job(row, now)
    return sent


def give_up_jobs(now: datetime) -> int:
    """Fail the jobs whose lease ended long ago although their node lives and all it told is applied."""
    silent = Job.objects.filter(state=JobState.RUNNING, lease_until__lt=now - GIVE_UP_AFTER)
    lost = 0
    for row in silent.select_related("node")[:ROWS]:
        if row.node.is_live(now) and _is_caught_up(row.node):
            lost += progress.give_up(row.pk, now)
            # Should it be alive after all, it is not to end as if nobody had said so.
            dispatch.send_now(CancelJob(row.hex), row.node)
    return lost


def _is_caught_up(node: Node) -> bool:
    return int(node.facts.get("last_seq") or 0) <= node.applied_seq


def admit_jobs(now: datetime) -> int:
    """Let go what waits for quota and need not any more: a limit was raised, or nobody has told us."""
    queued = Job.objects.filter(state=JobState.QUEUED, admitted_at=None).order_by()
    waiting = queued.exclude(kind__in=slot_kinds()).values("project")
    projects = Project.objects.filter(pk__in=waiting).select_related("team", "node")
    admitted = sum(jobs.admit_waiting(project) for project in projects[:ROWS])
    nodes = queued.filter(kind__in=slot_kinds()).values_list("node", flat=True).distinct()
    return admitted + sum(schedule(node) for node in nodes)


def expire_jobs(now: datetime) -> int:
    """Fail the jobs that have waited for longer than they were to."""
    late = Job.objects.filter(state=JobState.QUEUED, admitted_at=None, expires_at__lte=now)
    return sum(progress.expire(key, now) for key in late.values_list("pk", flat=True)[:ROWS])


def drop_logs(now: datetime) -> int:
    """Tell nodes to drop what containers removed long ago have logged, until they say it is gone."""
    old = Container.objects.filter(
        removed_at__lt=now - timedelta(days=settings.SLIPWAY_LOG_RETENTION_DAYS), logs_dropped_at=None
    )
    due = old.filter(Q(logs_drop_at=None) | Q(logs_drop_at__lte=now)).select_related("node")
    sent = 0
    for row in due.order_by("removed_at")[:ROWS]:
        if row.node.is_live(now):
            Container.objects.filter(pk=row.pk).update(logs_drop_at=now + DROP_AGAIN)
            sent += dispatch.send_now(DropLogs(row.id), row.node)
    return sent


def drop_projects(now: datetime) -> int:
    """Tell nodes again to drop what deleted projects left there, until they say it is gone."""
    due = ProjectRemoval.objects.filter(send_at__lte=now, done_at=None).select_related("node")
    sent = 0
    for row in due.order_by("send_at")[:ROWS]:
        if row.node.is_live(now):
            wait = _patience(PROJECT_AGAIN, row.sends)
            ProjectRemoval.objects.filter(pk=row.pk).update(send_at=now + wait, sends=row.sends + 1)
            sent += dispatch.send_now(DropProject(row.slice), row.node)
    return sent


def forget_tags(now: datetime) -> int:
    """What tags of other registries meant that nobody has pulled for long: the next pull asks."""
    return UpstreamTag.objects.filter(used_at__lt=now - TAGS_FOR).delete()[0]


def _send_job(row: Job, now: datetime) -> bool:
    if row.cancel_requested_at is not None:
        return dispatch.send_now(CancelJob(row.hex), row.node)
    # It was heard of and then fell silent: whoever still works on the attempt of before is to stop.
    is_lost = handler_of(row.kind).is_fenced and row.lease_until is not None and row.lease_until <= now
    if is_lost and not (_is_caught_up(row.node) and progress.attempt_again(row)):
        return False
    try:
        command = command_of(row)
    except SlipwayError as error:  # written by another version of us, or sealed with a key that is gone
        log.error("job_not_sendable", job=row.hex, error=error.message)
        return False
    return dispatch.send_now(command, row.node)


def _patience(first: timedelta, sends: int) -> timedelta:
    """Doubled with every sending."""
    doubled: timedelta = first * (1 << min(sends, 10))
    return min(doubled, RESEND_MAX)


def shift_deadlines(jump: timedelta) -> int:
    """The clock was set by ``jump``: what was to happen in a minute still happens in a minute.

    Else a clock set back would hold up what must be sent again for as long. How many rows were shifted.
    """
    log.warning("clock_jumped", seconds=jump.total_seconds())
    wishes = Container.objects.filter(resend_at__isnull=False, removed_at=None)
    waiting = Job.objects.filter(resend_at__isnull=False, state__in=ACTIVE)
    leased = Job.objects.filter(lease_until__isnull=False, state__in=ACTIVE)
    leased.update(lease_until=F("lease_until") + jump)
    ProjectRemoval.objects.filter(done_at=None).update(send_at=F("send_at") + jump)
    return sum(rows.update(resend_at=F("resend_at") + jump) for rows in (wishes, waiting))


def sweep_registry(now: datetime) -> int:
    """Free what the registry holds for nobody. How many bytes of blobs."""
    store = blob_store()
    collection.expire_uploads(store, now)
    collection.release_links(now)
    platforms.fill(store)
    return collection.sweep_blobs(store)


def find_strays(now: datetime) -> int:
    return collection.find_strays(blob_store(), now)


def clear_sessions(now: datetime) -> int:
    return Session.objects.filter(expire_date__lt=now).delete()[0]
