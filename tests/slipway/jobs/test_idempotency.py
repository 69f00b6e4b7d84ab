"""``Idempotency-Key``: one request, one effect, one answer."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from slipway.accounts.actors import Actor
from slipway.accounts.services import issue_token
from slipway.containers.models import Container
from slipway.jobs.idempotency import forget_old
from slipway.jobs.models import IdempotentAnswer, Job
from slipway.projects.models import Project
from tests.factories import make_actor, make_image, make_job, make_project

pytestmark = pytest.mark.django_db


def world() -> tuple[Client, Project, Actor]:
    project = make_project()
    make_image(project)
    actor = make_actor(project.team)
    token = issue_token(actor, "test", scopes=["admin"])[1]
    return Client(headers={"authorization": f"Bearer {token}"}), project, actor


def create(client: Client, project: Project, key: str, **body: Any) -> Any:
    path = f"/api/v1/projects/{project.path}/containers"
    body = {"image": "busybox", "start": False, **body}
    return client.post(path, body, content_type="application/json", headers={"Idempotency-Key": key})


def test_the_same_request_is_done_once_and_answered_the_same() -> None:
    client, project, _ = world()
    first, second = create(client, project, "k1"), create(client, project, "k1")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert second["Location"] == first["Location"]
    assert (first.get("Idempotency-Replayed"), second["Idempotency-Replayed"]) == (None, "true")
    assert Container.objects.count() == 1
    assert create(client, project, "k2").json()["id"] != first.json()["id"]


def test_a_robot_may_repeat_itself_and_meets_nobody_elses_keys() -> None:
    client, project, actor = world()
    token = issue_token(actor, "ci", scopes=["write"], project=project, robot=True)[1]
    robot = Client(headers={"authorization": f"Bearer {token}"})
    first, second = create(robot, project, "k"), create(robot, project, "k")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert create(client, project, "k").json()["id"] != first.json()["id"]


def test_the_same_key_with_another_body_is_a_mistake() -> None:
    client, project, _ = world()
    create(client, project, "k")
    answer = create(client, project, "k", command=["true"])
    assert (answer.status_code, answer.json()["code"]) == (409, "IDEMPOTENCY_MISMATCH")


def test_a_request_that_failed_leaves_the_key_free() -> None:
    client, project, _ = world()
    assert create(client, project, "k", image="nothing").status_code == 404
    assert create(client, project, "k").status_code == 201


def test_keys_of_different_people_do_not_meet() -> None:
    client, project, _ = world()
    create(client, project, "k")
    other, elsewhere, _ = world()
    assert create(other, elsewhere, "k").status_code == 201
    assert Container.objects.count() == 2


def test_a_key_is_forgotten_after_a_day() -> None:
    client, project, _ = world()
    create(client, project, "k")
    IdempotentAnswer.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert create(client, project, "k").status_code == 201
    assert Container.objects.count() == 2
    IdempotentAnswer.objects.update(created_at=timezone.now() - timedelta(hours=25))
    assert forget_old(timezone.now()) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "ä"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    client, project, _ = world()
    assert create(client, project, key).json()["code"] == "VALUE_INVALID"


def test_an_answer_with_a_secret_is_never_kept() -> None:
    client, _, _ = world()
    headers = {"Idempotency-Key": "k"}
    client.post("/api/v1/tokens", {"name": "t"}, content_type="application/json", headers=headers)
    assert not IdempotentAnswer.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_duplicates_at_the_same_time_make_one_container() -> None:
    client, project, actor = world()
    token = client.defaults.get("HTTP_AUTHORIZATION") or client.headers["authorization"]
    answers: list[Any] = []
    barrier = threading.Barrier(5)

    def send() -> None:
        mine = Client(headers={"authorization": token})
        barrier.wait(10)
        try:
            answers.append(create(mine, project, "k"))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=send) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer.status_code for answer in answers] == [201] * 5
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Container.objects.filter(project=project).count() == 1
    assert actor.user is not None


def test_a_job_is_cancelled_and_retried_by_rest() -> None:
    client, project, actor = world()
    job = make_job(project)
    path = f"/api/v1/projects/{project.path}/jobs/{job.hex}"
    answer = client.post(f"{path}/cancel", content_type="application/json")
    assert (answer.status_code, answer.json()["cancelling"]) == (202, True)
    assert answer["Location"] == path
    assert client.post(f"{path}/retry", content_type="application/json").json()["code"] == "JOB_ACTIVE"
    Job.objects.update(state="cancelled", ended_at=timezone.now())
    again = client.post(f"{path}/retry", content_type="application/json")
    assert (again.status_code, again.json()["retry_of"]) == (202, job.hex)
    assert client.get("/api/v1/jobs?active=true").json()["items"][0]["id"] == again.json()["id"]
    assert actor.user is not None
