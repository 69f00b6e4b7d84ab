"""The end of a project: nothing of it stays on the node, and nothing of others goes with it."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from tests.system.rigs import SCOPE, Rig
from workers.engine import containers, images, projects, records
from workers.engine.networks import bridge_name
from workers.errors import ProjectInUse
from workers.messages import ProjectSlice, RemoveContainer

FOREVER = ("sleep", "100000")


def remove(rig: Rig, container: str) -> None:
    containers.remove(rig.engine, RemoveContainer(container, 99), rig.events.append)


def traces(rig: Rig, project: ProjectSlice, *logs: str) -> dict[str, bool]:
    """Of the project itself; its containers are gone."""
    places = rig.places
    return {
        "bridge": Path("/sys/class/net", bridge_name(project.id)).exists(),
        "user namespace": rig.engine.kernel.is_mounted(places.namespace(project.uid_base)),
        "leases": any(places.leases(project.id).glob("*")) if places.leases(project.id).exists() else False,
        "grants": places.grants(project.id).exists(),
        "logs": any(places.log_directory(each).exists() for each in logs),
        "tombstones": any(records.find(places, each) for each in logs),
    }


def grant_to(rig: Rig, project: ProjectSlice) -> None:
    [image] = images.granted(rig.engine.images, SCOPE)
    images.grant(rig.engine.images, project.id, image)


def test_a_dropped_project_leaves_nothing_and_its_neighbour_everything(rig: Rig) -> None:
    doomed, spared = rig.project(1), rig.project(2)
    for project in (doomed, spared):
        grant_to(rig, project)
    gone, stays = rig.run(*FOREVER, project=doomed), rig.run(*FOREVER, project=spared)
    remove(rig, gone)
    assert all(held for what, held in traces(rig, doomed, gone).items() if what != "leases")
    for _ in range(2):  # the command may come twice
        projects.drop(rig.engine, doomed)
        assert not any(traces(rig, doomed, gone).values()), traces(rig, doomed, gone)
    assert all(traces(rig, spared, stays).values())
    assert rig.record(stays).phase is records.Phase.RUNNING
    assert rig.end(rig.run("true", project=spared)).exit_code == 0


def test_a_project_with_a_container_is_not_dropped(rig: Rig) -> None:
    project = replace(rig.project(1), id=secrets.token_hex(16))
    grant_to(rig, project)
    container = rig.run(*FOREVER, project=project)
    with pytest.raises(ProjectInUse, match="1 container"):
        projects.drop(rig.engine, project)
    assert all(traces(rig, project, container).values())
    assert not projects.is_dropped(rig.places, project.id)
    remove(rig, container)
    projects.drop(rig.engine, project)
    assert not any(traces(rig, project, container).values())


def test_a_project_of_the_same_range_later_finds_a_clean_place(rig: Rig) -> None:
    first = replace(rig.project(1), id=secrets.token_hex(16))
    remove(rig, rig.run("true", project=first))
    projects.drop(rig.engine, first)
    second = replace(first, id=secrets.token_hex(16))
    container = rig.run("true", project=second)
    assert rig.end(container).exit_code == 0
    remove(rig, container)
    projects.drop(rig.engine, second)
