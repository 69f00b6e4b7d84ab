"""Accounts at registries: who sets and uses them, and that their secrets go nowhere but down."""

from __future__ import annotations

import pytest
from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.accounts.errors import InvalidRequest, NotAllowed, NotFound
from slipway.accounts.models import Role
from slipway.audit.models import Entry
from slipway.catalog import credentials
from slipway.catalog.models import RegistryCredential
from slipway.catalog.pulls import pull_image
from slipway.jobs import services as jobs
from slipway.jobs.models import Job, JobState
from slipway.projects.models import Project
from slipway.sweep import resend_jobs
from tests.factories import make_actor, make_project
from tests.roads import RecordingRoad
from workers.messages import PullImage

pytestmark = pytest.mark.django_db
SECRET = "a secret of the registry"


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def actor(project: Project) -> Actor:
    return make_actor(project.team)


def test_a_secret_is_put_in_when_the_command_is_sent_and_kept_nowhere_else(
    project: Project, actor: Actor, road: RecordingRoad
) -> None:
    credentials.set_credential(actor, project, "https://index.docker.io/v1/", "ada", SECRET)
    job = pull_image(actor, project, "busybox")
    [command] = road.take()
    assert isinstance(command, PullImage)
    assert (command.access.username, command.access.password) == ("ada", SECRET)
    assert SECRET not in job.command
    assert SECRET not in RegistryCredential.objects.get().sealed_secret
    assert SECRET not in repr(list(Entry.objects.values()))
    Job.objects.update(resend_at=timezone.now())
    assert resend_jobs(timezone.now()) == 1
    [again] = road.take()
    assert again == command


def test_an_account_that_was_taken_away_is_used_no_more(
    project: Project, actor: Actor, road: RecordingRoad
) -> None:
    credentials.set_credential(actor, project, "docker.io", "ada", SECRET)
    job = pull_image(actor, project, "busybox")
    credentials.remove_credential(actor, project, "docker.io")
    command = jobs.command_of(Job.objects.get(pk=job.pk))
    assert isinstance(command, PullImage)
    assert (command.access.username, command.access.password) == (None, None)


def test_a_retry_carries_the_secret_too(project: Project, actor: Actor, road: RecordingRoad) -> None:
    credentials.set_credential(actor, project, "docker.io", "ada", SECRET)
    job = pull_image(actor, project, "busybox")
    Job.objects.update(state=JobState.FAILED)
    road.take()
    made = jobs.retry(actor, job)
    [command] = road.take()
    assert isinstance(command, PullImage)
    assert (command.job, command.access.password) == (made.hex, SECRET)


def test_maintainers_set_accounts_and_developers_use_them(project: Project) -> None:
    developer, viewer = (make_actor(project.team, role) for role in (Role.DEVELOPER, Role.VIEWER))
    maintainer = make_actor(project.team, Role.MAINTAINER)
    with pytest.raises(NotAllowed):
        credentials.set_credential(developer, project, "example.org", "ada", SECRET)
    _, created = credentials.set_credential(maintainer, project, "example.org", "ada", SECRET)
    assert created
    _, created = credentials.set_credential(maintainer, project, "example.org", "bob", SECRET)
    assert not created
    assert [each.username for each in credentials.list_credentials(developer, project)] == ["bob"]
    with pytest.raises(NotAllowed):
        credentials.list_credentials(viewer, project)
    with pytest.raises(NotAllowed):
        credentials.remove_credential(developer, project, "example.org")
    with pytest.raises(NotFound):
        credentials.get_credential(maintainer, project, "other.example.org")


@pytest.mark.parametrize(
    ("host", "username", "secret"),
    [
        ("web", "ada", "x"),
        ("", "ada", "x"),
        ("exa mple.org", "ada", "x"),
        ("https://[x", "ada", "x"),
        ("localhost:8000", "ada", "x"),
        ("example.org", "a:b", "x"),
        ("example.org", "", "x"),
        ("example.org", "ada", ""),
        ("example.org", "ada", "two\nlines"),
    ],
)
def test_what_is_no_account_is_refused(
    project: Project, actor: Actor, host: str, username: str, secret: str
) -> None:
    with pytest.raises(InvalidRequest):
        credentials.set_credential(actor, project, host, username, secret)


@pytest.mark.parametrize(
    ("typed", "host"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("example.org:5000/team/web", "example.org:5000"),
        ("http://localhost:9", "localhost:9"),
    ],
)
def test_hosts_are_read_as_people_type_them(typed: str, host: str) -> None:
    assert credentials.parse_host(typed) == host
