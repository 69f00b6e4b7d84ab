"""What a build's steps wrote on its node, as nodes' readers take it."""

from __future__ import annotations

from slipway.builds.models import Build
from slipway.jobs.models import ACTIVE, Job
from slipway.nodes.log_reading import Log


def build_log(build: Build) -> Log:
    """``build`` with its job and the job's node loaded. Streams are ``<step>:stdout``, ``<step>:stderr``."""
    return Log(
        topic=f"build-log:{build.hex}",
        node=build.job.node,
        path=f"/v1/builds/{build.hex}/logs",
        goes_on=Job.objects.filter(pk=build.job_id, state__in=ACTIVE).exists,
        gone="The log of this build is no longer kept." if build.job.started_at is not None else "",
    )
