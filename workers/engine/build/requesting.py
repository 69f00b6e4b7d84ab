"""What the plan of a build must know of its command. Pure."""

from __future__ import annotations

from pathlib import Path

from workers.engine.build.graph import NamedContext, PlanRequest
from workers.messages import BuildImage

HOSTNAME_ARGUMENT = "BUILDKIT_SANDBOX_HOSTNAME"


def plan_request(command: BuildImage, host: str, named: dict[str, Path | str]) -> PlanRequest:
    """``host``: the node's platform. ``named``: directories that were loaded, or references of images."""
    options = command.options
    return PlanRequest(
        platform=host,
        target_platform=options.platform,
        target=options.target,
        build_args=options.args,
        contexts={
            name: NamedContext("files") if isinstance(each, Path) else NamedContext("image", each)
            for name, each in named.items()
        },
        labels=options.labels,
        no_cache=options.no_cache,
        no_cache_filter=options.no_cache_filter,
        network=options.network,
        extra_hosts=options.extra_hosts,
        shm_bytes=options.shm_bytes,
        ulimits=options.ulimits,
        hostname=options.args.get(HOSTNAME_ARGUMENT, ""),
        source_date_epoch=options.source_date_epoch,
        checks=options.checks,
    )
