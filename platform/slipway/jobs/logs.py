"""What a job wrote on its node, as nodes' readers take it."""

from __future__ import annotations

from slipway.jobs.models import ACTIVE, Job
from slipway.nodes.log_reading import Log


def job_log(job: Job) -> Log:
    """``job`` with its node loaded."""
    return Log(
        topic=f"job-log:{job.hex}",
        node=job.node,
        path=f"/v1/jobs/{job.hex}/logs",
        goes_on=Job.objects.filter(pk=job.pk, state__in=ACTIVE).exists,
        gone="The log of this job is no longer kept." if job.started_at is not None else "",
    )
