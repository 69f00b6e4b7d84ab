"""Builds in the console: the form, the record of one, and what can be done with it."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.builds.models import Build, BuildStep
from slipway.jobs.models import JobState
from slipway.projects.models import Project
from tests.factories import make_actor, make_build, make_image, make_project
from tests.roads import RecordingRoad
from workers.messages import BuildImage, CancelJob

pytestmark = pytest.mark.django_db


@pytest.fixture
def actor() -> Actor:
    return make_actor(make_project(slug="shop").team)


@pytest.fixture
def project(actor: Actor) -> Project:
    return Project.objects.select_related("team").get()


@pytest.fixture
def page(actor: Actor) -> Client:
    client = Client()
    assert actor.user is not None
    client.force_login(actor.user)
    return client


def address(project: Project, rest: str = "") -> str:
    return f"/projects/{project.path}/builds/{rest}"


def test_a_dockerfile_is_written_and_built(page: Client, project: Project, road: RecordingRoad) -> None:
    answer = page.post(
        address(project, "new"),
        {
            "source": "none",
            "dockerfile_text": "FROM busybox\r\nRUN true\r\n",
            "tags": "web, web:2",
            "args": "A=1\nB=x=y",
            "secrets": "key=s3cret ",
            "memory": "64",
            "no_cache": "on",
        },
    )
    assert (answer.status_code, answer["Location"]) == (302, address(project, "1/"))
    (command,) = (each for each in road.take() if isinstance(each, BuildImage))
    assert command.options.dockerfile_text == "FROM busybox\nRUN true\n"
    assert (command.options.tags, command.options.args) == (("web:latest", "web:2"), {"A": "1", "B": "x=y"})
    assert (command.options.secrets, command.options.no_cache) == ({"key": "s3cret "}, True)
    assert command.limits.memory_bytes == 64 << 20


def test_a_repository_is_built(page: Client, project: Project, road: RecordingRoad) -> None:
    form = {
        "source": "git",
        "remote": "https://example.org/a.git",
        "ref": "v1",
        "password": "s3cret",
        "username": "me",
    }
    assert page.post(address(project, "new"), form).status_code == 302
    (command,) = (each for each in road.take() if isinstance(each, BuildImage))
    assert (command.source.url, command.source.ref) == ("https://example.org/a.git", "v1")
    assert (command.source.password, command.options.dockerfile_text) == ("s3cret", None)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"source": "none", "dockerfile_text": " "}, "needs the text of its Dockerfile"),
        ({"source": "git", "remote": "git@example.org:a.git"}, "ssh has no key here"),
        ({"source": "none", "dockerfile_text": "FROM a", "args": "novalue"}, "a line like"),
        ({"source": "none", "dockerfile_text": "FROM a", "tags": "No!"}, "is no image reference"),
    ],
)
def test_what_is_wrong_is_said_in_the_form(
    page: Client, project: Project, form: dict[str, str], said: str
) -> None:
    answer = page.post(address(project, "new"), form)
    assert answer.status_code == 400
    assert said in answer.content.decode()
    assert not Build.objects.exists()


def test_the_record_shows_steps_cause_and_position(page: Client, project: Project) -> None:
    cause = {"code": "BUILD_STEP_FAILED", "message": "RUN false: exit code 1", "facts": {"line": 2}}
    job = {"state": JobState.FAILED, "cause": cause, "started_at": timezone.now(), "ended_at": timezone.now()}
    build = make_build(project, job=job)
    for number, state in enumerate(("cached", "failed", "skipped"), 1):
        BuildStep.objects.create(
            build=build, number=number, position=number, name=f"[{number}/3] RUN", state=state
        )
    text = page.get(address(project, "1/")).content.decode()
    assert "RUN false: exit code 1" in text
    assert "Dockerfile line 2" in text
    assert text.count("data-step=") == 3
    assert "Retry without cache" in text
    make_build(project, job={"admitted_at": None})
    waiting = page.get(address(project, "2/"), headers={"HX-Request": "true"}).content.decode()
    assert "Number 1 in the queue of node local" in waiting
    assert "<html" not in waiting


def test_a_record_of_very_many_steps_says_what_it_leaves_out(page: Client, project: Project) -> None:
    build = make_build(project, job={"state": JobState.RUNNING}, steps_total=3000)
    BuildStep.objects.bulk_create(
        BuildStep(build=build, number=number, position=number, name=f"[{number}]", state="waiting")
        for number in range(1, 600)
    )
    BuildStep.objects.filter(number=590).update(state="failed")
    text = page.get(address(project, "1/")).content.decode()
    assert text.count("data-step=") == 501
    assert 'data-step="590"' in text
    assert "2499 of them are not shown" in text
    Build.objects.update(steps_total=0)
    assert "not shown" not in page.get(address(project, "1/")).content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_running_build_is_cancelled_and_an_ended_one_repeated(
    page: Client, project: Project, road: RecordingRoad
) -> None:
    build = make_build(project, job={"state": JobState.RUNNING})
    assert page.post(address(project, "1/cancel")).status_code == 302
    assert road.take() == [CancelJob(build.job.hex)]
    assert page.post(address(project, "1/retry")).status_code == 409
    type(build.job).objects.update(state=JobState.CANCELLED)
    answer = page.post(address(project, "1/retry-anew"))
    assert answer["Location"] == address(project, "2/")
    (command,) = (each for each in road.take() if isinstance(each, BuildImage))
    assert command.options.no_cache


@pytest.mark.django_db(transaction=True)
def test_secrets_are_asked_for_again(page: Client, project: Project, road: RecordingRoad) -> None:
    make_build(
        project,
        job={"state": JobState.FAILED},
        secret_ids=["key"],
        credentials=["password", "contexts.lib"],
        source_kind="git",
        source={"url": "https://example.org/x.git", "username": "me"},
        options={"contexts": {"lib": "https://example.org/lib.git"}},
    )
    text = page.get(address(project, "1/")).content.decode()
    for asked in ('name="secret-key"', 'name="password"', 'name="context-lib"', "Retry without cache"):
        assert asked in text
    refused = page.post(address(project, "1/retry"), {"secret-key": "again"})
    assert refused.status_code == 409
    assert "passwords (password, contexts.lib)" in refused.content.decode()
    lib = "https://me:word@example.org/lib.git"
    given = {"secret-key": "again", "password": "word", "context-lib": lib}
    assert page.post(address(project, "1/retry-anew"), given).status_code == 302
    (command,) = (each for each in road.take() if isinstance(each, BuildImage))
    assert (command.options.secrets, command.options.no_cache) == ({"key": "again"}, True)
    assert (command.source.password, command.options.contexts) == ("word", {"lib": lib})


@pytest.mark.django_db(transaction=True)
def test_a_missing_dockerfile_is_proposed_changed_and_built(
    page: Client, project: Project, road: RecordingRoad
) -> None:
    facts = {"file": "Dockerfile", "title": "Flask with pip", "proposal": "FROM python"}
    cause = {"code": "DOCKERFILE_MISSING", "message": "no such file", "facts": facts}
    git = {
        "source_kind": "git",
        "source": {"url": "https://example.org/a.git"},
        "options": {"tags": ["web:1"]},
    }
    make_build(project, job={"state": JobState.FAILED, "cause": cause}, **git)
    text = page.get(address(project, "1/")).content.decode()
    assert "Flask with pip" in text
    answer = page.post(address(project, "1/retry"), {"dockerfile_text": "FROM python\r\nRUN true\r\n"})
    assert answer.status_code == 302
    (command,) = (each for each in road.take() if isinstance(each, BuildImage))
    assert command.options.dockerfile_text == "FROM python\nRUN true\n"
    assert command.source.url == "https://example.org/a.git"


def test_administrators_see_the_queue_by_team(page: Client, project: Project, actor: Actor) -> None:
    make_build(project, job={"state": JobState.RUNNING})
    make_build(project, job={"admitted_at": None})
    assert page.get("/nodes/").status_code == 404
    assert actor.user is not None
    type(actor.user).objects.update(is_staff=True)
    text = " ".join(page.get("/nodes/").content.decode().split())
    assert f'<td class="strong">{project.team.slug}</td>' + '<td class="num">1</td>' * 3 in text


def test_the_job_of_a_build_leads_to_its_record(page: Client, project: Project) -> None:
    build = make_build(project)
    answer = page.get(f"/jobs/{build.job.hex}/")
    assert (answer.status_code, answer["Location"]) == (302, address(project, "1/"))


def test_what_it_made_can_be_run(page: Client, project: Project) -> None:
    image = make_image(project, "web:latest")
    make_build(project, job={"state": JobState.SUCCEEDED}, image_id=image.image_id)
    text = page.get(address(project, "1/")).content.decode()
    assert f"/projects/{project.path}/run?image=web%3Alatest" in text
    assert "#1" in page.get(address(project)).content.decode()


def test_a_mistake_is_shown_with_its_marker_and_what_was_meant(page: Client, project: Project) -> None:
    facts = {
        "file": "Dockerfile",
        "line": 12,
        "column": 6,
        "text": "COPY --form=<a> /x /y",
        "marker": "     ^^^^^^",
        "suggestion": "--from",
    }
    cause = {"code": "DOCKERFILE_INVALID", "message": "Dockerfile:12: no such flag", "facts": facts}
    make_build(project, job={"state": JobState.FAILED, "cause": cause, "ended_at": timezone.now()})
    text = page.get(address(project, "1/")).content.decode()
    assert "12 | COPY --form=&lt;a&gt; /x /y\n   |      ^^^^^^</pre>" in text
    assert "Did you mean <code>--from</code>?" in text
    told = page.get(f"/api/v1/projects/{project.path}/builds/1").json()
    assert told["cause"]["facts"] == facts
