"""The end of a project on this node: of its network, its user namespace, its images and its logs."""

from __future__ import annotations

import time

from workers.engine import containers, images, records
from workers.engine.host import Engine
from workers.engine.identity import drop_userns
from workers.engine.places import Places
from workers.engine.records import Phase
from workers.errors import ProjectInUse
from workers.messages import DropLogs, ProjectSlice

REMEMBERED = 30 * 24 * 3600.0
"""Seconds a dropped project is: far longer than a command for it could still come."""


def drop(engine: Engine, project: ProjectSlice) -> None:
    """Remove everything the node keeps for ``project`` and let nothing of it come back. Repeatable.

    Its containers must have been removed: raise ``ProjectInUse`` otherwise, having changed nothing. What its
    images alone used goes with the next sweep of the layers.
    """
    places = engine.places
    known = {each: records.find(places, each) for each in records.containers(places)}
    own = {each: record for each, record in known.items() if record and record.project == project.id}
    if alive := [each for each, record in own.items() if record.phase is not Phase.REMOVED]:
        raise ProjectInUse(
            f"{len(alive)} container(s) of the project are still on this node; remove them first",
            project=project.id,
        )
    _remember(engine, project.id)
    for container in own:
        containers.drop_logs(engine, DropLogs(container))
    images.withdraw_all(engine.images, project.id)
    engine.networks.remove_project(project.id)
    drop_userns(engine.kernel, places, project.uid_base)


def is_dropped(places: Places, project: str) -> bool:
    return places.dropped_project(project).exists()


def _remember(engine: Engine, project: str) -> None:
    limit = time.time() - REMEMBERED
    for path in engine.places.dropped_projects.iterdir():
        if path.stat().st_mtime < limit:
            path.unlink(missing_ok=True)
    engine.places.dropped_project(project).touch(mode=0o600)
