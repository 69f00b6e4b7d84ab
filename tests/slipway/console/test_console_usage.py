"""Usage, requests for more, and what can be done to jobs, on pages; long lists at constant cost."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from slipway.containers.models import Container
from slipway.jobs.models import Job, JobState
from slipway.projects.limits import limits_of
from slipway.projects.models import QuotaRequest, Reservation, Resource
from tests.factories import make_container, make_job
from tests.slipway.console.conftest import World, browser_of

MANY = 10_000


def test_pages_say_what_a_project_uses(world: World) -> None:
    Reservation.objects.create(
        project=world.project,
        resource=Resource.MEMORY,
        amount=60 << 30,
        holder_kind="container",
        holder_id="1",
    )
    client = browser_of(world.member)
    for address in (
        "/usage/",
        "/projects/acme/shop/",
        "/projects/acme/shop/quota",
        "/projects/acme/shop/run",
    ):
        page = client.get(address)
        assert page.status_code == 200, address
        assert "60 GiB" in page.content.decode(), address
    assert "nearly used up" in client.get("/projects/acme/shop/").content.decode()
    assert browser_of(world.stranger).get("/projects/acme/shop/quota").status_code == 404
    assert "acme/shop" not in browser_of(world.stranger).get("/usage/").content.decode()


def test_more_is_asked_for_and_decided_on_pages(world: World) -> None:
    member, administrator = browser_of(world.member), browser_of(world.administrator)
    form = {"resource": "memory_bytes", "amount": "128 GiB", "reason": "a fair"}
    assert member.post("/projects/acme/shop/quota", form).status_code == 302
    assert member.post("/projects/acme/shop/quota", form).status_code == 422
    asked = QuotaRequest.objects.get()
    assert asked.amount == 128 << 30
    approve = f"/usage/requests/{asked.hex}/approve"
    assert "Approve" not in member.get("/usage/").content.decode()
    assert member.post(approve).status_code == 403
    assert "Approve" in administrator.get("/usage/").content.decode()
    assert administrator.post(approve).status_code == 302
    assert limits_of(world.project)[Resource.MEMORY] == 128 << 30
    assert administrator.post(f"/usage/requests/{asked.hex}/sell").status_code == 404


@pytest.mark.parametrize(
    ("resource", "amount"), [("containers", "many"), ("memory_bytes", "x"), ("containers", "1")]
)
def test_an_amount_that_is_none_is_told_at_its_field(world: World, resource: str, amount: str) -> None:
    form = {"resource": resource, "amount": amount}
    answer = browser_of(world.member).post("/projects/acme/shop/quota", form)
    assert answer.status_code == 422
    assert "field-error" in answer.content.decode()


def test_a_viewer_sees_usage_but_asks_for_nothing(world: World) -> None:
    client = browser_of(world.viewer)
    assert "Ask the administrators" not in client.get("/projects/acme/shop/quota").content.decode()
    form = {"resource": "containers", "amount": "500"}
    assert client.post("/projects/acme/shop/quota", form).status_code == 403


def test_a_job_is_cancelled_and_done_again_on_its_page(world: World) -> None:
    client, address = browser_of(world.member), f"/jobs/{world.job.hex}/"
    assert "number 1 in its queue" in client.get(address).content.decode()
    assert (
        "Cancel"
        not in browser_of(world.viewer).get(address).content.decode().split("</nav>")[-1].split("<dl")[0]
    )
    assert client.post(f"{address}cancel").status_code == 302
    assert "Being cancelled" in client.get(address).content.decode()
    assert client.post(f"{address}retry").status_code == 409
    Job.objects.update(state=JobState.CANCELLED, ended_at=timezone.now())
    assert "Do it again" in client.get(address).content.decode()
    assert client.post(f"{address}retry").status_code == 302
    assert Job.objects.filter(retry_of=world.job).count() == 1
    assert client.post(f"{address}dance").status_code == 404


def test_ten_thousand_rows_cost_what_ten_do(world: World) -> None:
    client = browser_of(world.administrator)
    path = f"/api/v1/projects/{world.project.path}"
    addresses = [
        "/",
        "/jobs/",
        "/usage/",
        "/projects/acme/shop/",
        "/nodes/",
        "/api/v1/jobs",
        f"{path}/jobs",
        f"{path}/containers?all=true",
        f"{path}/usage",
        f"{path}/quota-requests",
        "/api/v1/quota-requests",
    ]
    for number in range(9):
        make_container(world.project, name=f"few{number}")
        make_job(world.project)
    before = [_cost(client, address) for address in addresses]
    _fill(world)
    assert [_cost(client, address) for address in addresses] == before


def _cost(client: Any, address: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert client.get(address).status_code == 200, address
    return len(queries)


def _fill_work(world: World) -> None:
    job, container = world.job, world.container
    Job.objects.bulk_create(
        [
            Job(
                project=world.project,
                node=job.node,
                kind=job.kind,
                command=job.command,
                admitted_at=job.admitted_at,
            )
            for _ in range(MANY)
        ],
        batch_size=500,
    )
    Container.objects.bulk_create(
        [
            Container(
                project=world.project,
                node=container.node,
                image=world.image,
                name=f"c{number}",
                spec=container.spec,
            )
            for number in range(MANY)
        ],
        batch_size=500,
    )


def _fill(world: World) -> None:
    _fill_work(world)
    Reservation.objects.bulk_create(
        [
            Reservation(
                project=world.project,
                resource="containers",
                amount=1,
                holder_kind="container",
                holder_id=str(number),
            )
            for number in range(MANY)
        ],
        batch_size=500,
    )
    QuotaRequest.objects.bulk_create(
        QuotaRequest(
            project=world.project, resource="ports", amount=30, state="declined", requested_by_name="mia"
        )
        for _ in range(MANY)
    )
