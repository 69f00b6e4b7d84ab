"""What a deleted project left on its node: asked for to go until the node says that it is gone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from slipway import events, sweep
from slipway.accounts.actors import OPERATOR
from slipway.deletion import delete_project
from slipway.nodes.models import Node
from slipway.projects.models import ProjectRemoval
from tests.factories import make_project
from tests.roads import RecordingRoad
from workers.messages import DropProject, ProjectDropped

pytestmark = pytest.mark.django_db


def test_a_deleted_project_is_dropped_on_its_node_until_the_node_says_so(road: RecordingRoad) -> None:
    project = make_project()
    wanted = DropProject(project.slice)
    delete_project(OPERATOR, project, project.path)
    assert road.take() == [wanted]
    now = timezone.now()
    assert sweep.drop_projects(now) == 0
    later = now + timedelta(seconds=11)
    assert [sweep.drop_projects(later) for _ in range(2)] == [1, 0]
    assert road.take() == [wanted]
    removal = ProjectRemoval.objects.get()
    away = later + timedelta(hours=1)
    assert sweep.drop_projects(away) == 0  # its node is not there
    stranger = Node.objects.create(name="another", public_key=removal.node.public_key)
    events.apply(ProjectDropped(wanted.project.id), stranger, now)
    removal.refresh_from_db()
    assert removal.done_at is None
    events.apply(ProjectDropped(wanted.project.id), removal.node, now)
    Node.objects.update(heartbeat_at=away)
    assert sweep.drop_projects(away) == 0
    removal.refresh_from_db()
    assert removal.done_at == now


def test_a_project_that_never_had_a_home_is_deleted_without_a_command(road: RecordingRoad) -> None:
    project = make_project(node=None)
    delete_project(OPERATOR, project, project.path)
    assert road.take() == []
    assert not ProjectRemoval.objects.exists()
