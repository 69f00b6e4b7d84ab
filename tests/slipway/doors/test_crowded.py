"""Ten thousand rows cost every list and every page as many queries as a handful."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from slipway.accounts.actors import OPERATOR
from slipway.accounts.models import Invitation, Membership, ProjectMembership, Role, Token, User
from slipway.audit.services import record
from slipway.builds.models import Build
from slipway.catalog.models import Image, Reference
from slipway.containers.models import Container
from slipway.jobs.models import Job
from slipway.projects.models import Project, QuotaRequest
from slipway.repositories.models import Manifest, Repository, Tag
from slipway.repositories.names import sort_key
from tests.factories import digest
from tests.slipway.doors.table import Door, read_doors
from tests.slipway.doors.world import World

MANY = 10_000
FEW = 300
"""More than one page of anything, so that what differs is only how much more there is."""
OTHERS = ("account_", "mfa_", "social", "openid", "healthz", "readyz", "metrics")
LISTS = [
    door
    for door in read_doors()
    if door.method == "GET" and door.answers["owner"] == "200" and not door.name.startswith(OTHERS)
]


def crowd(world: World, count: int) -> None:
    """``count`` rows of every kind more, all of them the owner's to see; fewer of the audit log's chain."""
    project = Project.objects.select_related("team", "node").get(pk=world.known["project_id"])
    names = [uuid.uuid4().hex for _ in range(count)]
    crowd_people(project, world.users["owner"], names)
    crowd_things(project, names)
    crowd_repositories(project, names)
    QuotaRequest.objects.bulk_create(
        QuotaRequest(project=project, resource="cpu_millis", amount=1, state="declined") for _ in names
    )
    for _ in range(min(count, FEW)):
        record(OPERATOR, "project.look", project)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # What autovacuum does; of rows in an open transaction it learns nothing, and plans for a handful.
            cursor.execute("ANALYZE")


def crowd_people(project: Project, owner: User, names: list[str]) -> None:
    team, tomorrow = project.team, timezone.now() + timedelta(days=1)
    users = User.objects.bulk_create(User(username=name) for name in names)
    Membership.objects.bulk_create(Membership(team=team, user=user, role=Role.VIEWER) for user in users)
    ProjectMembership.objects.bulk_create(
        ProjectMembership(project=project, user=user, role=Role.VIEWER) for user in users
    )
    Token.objects.bulk_create(
        Token(user=owner, name=name, prefix=name[:12], digest=name, project=project, scopes=["read"])
        for name in names
    )
    Invitation.objects.bulk_create(
        Invitation(team=team, role=Role.VIEWER, digest=name, expires_at=tomorrow) for name in names
    )


def crowd_things(project: Project, names: list[str]) -> None:
    container = Container.objects.select_related("node", "image").filter(project=project)[0]
    node, image, spec = container.node, container.image, container.spec
    job = Job.objects.filter(project=project)[0]
    Container.objects.bulk_create(
        Container(project=project, node=node, image=image, image_name="busybox", spec=spec, name=name)
        for name in names
    )
    images = Image.objects.bulk_create(
        Image(project=project, image_id=digest(name), manifest_digest=digest(name), config="{}", size=1)
        for name in names
    )
    Reference.objects.bulk_create(
        Reference(project=project, image=each, name="many", tag=name)
        for each, name in zip(images, names, strict=True)
    )
    jobs = Job.objects.bulk_create(
        Job(project=project, node=node, kind=job.kind, subject=name, command=job.command) for name in names
    )
    first, options = Build.objects.count() + 1, {"dockerfile": "Dockerfile", "tags": []}
    Build.objects.bulk_create(
        Build(project=project, job=each, number=first + number, source_kind="none", options=options)
        for number, each in enumerate(jobs)
    )


def crowd_repositories(project: Project, names: list[str]) -> None:
    """As many repositories, and as many tags of one image in the repository of the world."""
    manifest = Manifest.objects.filter(repository__project=project)[0]
    Repository.objects.bulk_create(
        Repository(project=project, name=name, path=f"{project.path}/{name}") for name in names
    )
    Tag.objects.bulk_create(
        Tag(repository=manifest.repository, manifest=manifest, name=name, sort_key=sort_key(name))
        for name in names
    )


@pytest.mark.timeout(240)
def test_pages_and_lists_cost_the_same_however_many_rows(world: World) -> None:
    crowd(world, FEW)
    few = {str(door): cost(world, door) for door in LISTS}
    crowd(world, MANY - FEW)
    many = {str(door): cost(world, door) for door in LISTS}
    assert {door: (few[door], many[door]) for door in few if few[door] < many[door]} == {}
    assert max(many.values()) <= 30, many


def cost(world: World, door: Door) -> int:
    client = world.caller("owner", by_token=door.is_rest)
    client.get(door.address(world.known))  # notes the token's last use
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(door.address(world.known))
    assert answer.status_code == 200
    return len(queries)
