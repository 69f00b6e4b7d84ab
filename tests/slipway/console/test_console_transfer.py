"""Pages about images in and out: what they say and offer."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.catalog.models import Reference, RegistryCredential
from slipway.console.looks import layer_look
from slipway.jobs.models import Job, JobKind, JobLayers, JobState, LayerState
from tests import factories
from tests.slipway.console.conftest import World, browser_of

IMAGES = "/projects/acme/shop/images/"
RUN = {"memory": "64 MiB", "cpu": "1", "pids": "9"}


def page_of(answer: Any) -> str:
    return str(answer.content.decode())


def test_running_what_is_not_here_offers_to_pull_it(world: World) -> None:
    answer = browser_of(world.member).post("/projects/acme/shop/run", {"image": "nginx", **RUN})
    assert answer.status_code == 422
    assert "Pull nginx:latest" in page_of(answer)
    answer = browser_of(world.member).post("/projects/acme/shop/run", {"image": "abcdef012345", **RUN})
    assert "pull-first" not in page_of(answer)


def test_a_pull_leads_to_its_job_and_a_refusal_stays_on_the_form(world: World) -> None:
    browser = browser_of(world.member)
    assert browser.post(f"{IMAGES}pull", {"reference": " busybox:1 "}).status_code == 302
    assert Job.objects.get(kind=JobKind.PULL_IMAGE).subject == "busybox:1"
    refused = browser.post(f"{IMAGES}pull", {"reference": "10.0.0.1:5000/web"})
    assert refused.status_code == 422
    assert "SLIPWAY_REGISTRIES_PRIVATE" in page_of(refused)
    assert "no image reference" in page_of(browser.post(f"{IMAGES}pull", {"reference": "No No"}))


def test_layers_are_on_the_page_and_in_its_live_region(world: World) -> None:
    job = factories.make_job(world.project, kind=JobKind.PULL_IMAGE, state=JobState.RUNNING)
    layers = [
        [factories.digest("a"), "downloading", 1 << 20, 4 << 20],
        [factories.digest("b"), "exists", 0, 9],
    ]
    JobLayers.objects.create(job=job, layers=layers)
    browser = browser_of(world.viewer)
    for headers in ({}, {"HX-Request": "true"}):
        page = page_of(browser.get(f"/jobs/{job.hex}/", headers=headers))
        assert '<progress class="meter" max="4194304" value="1048576"' in page
        assert "there already" in page
    assert "Layers" not in page_of(browser.get(f"/jobs/{world.job.hex}/"))


def test_a_pulled_image_can_be_run_from_its_job(world: World, settings: Any) -> None:
    browser = browser_of(world.member)
    browser.post(f"{IMAGES}pull", {"reference": "python:3.12"})
    Job.objects.filter(kind=JobKind.PULL_IMAGE).update(state=JobState.SUCCEEDED)
    page = page_of(browser.get(f"/jobs/{Job.objects.get(kind=JobKind.PULL_IMAGE).hex}/"))
    assert 'href="/projects/acme/shop/run?image=python%3A3.12"' in page


def test_names_are_changed_on_the_images_page(world: World) -> None:
    browser, image = browser_of(world.member), world.image
    browser.post(f"{IMAGES}{image.image_id}/tag", {"reference": "web:stable"})
    assert "web:stable" in page_of(browser.get(f"{IMAGES}{image.image_id}/"))
    browser.post(f"{IMAGES}{image.image_id}/untag", {"reference": "web:stable"})
    assert not Reference.objects.filter(name="web").exists()
    answer = browser.post(f"{IMAGES}{image.image_id}/untag", {"reference": "web:stable"}, follow=True)
    assert "has no name web:stable" in page_of(answer)


def test_a_push_proposes_the_projects_own_repository(world: World) -> None:
    page = page_of(browser_of(world.member).get(f"{IMAGES}{world.image.image_id}/"))
    assert 'value="localhost:8000/acme/shop/busybox:latest"' in page
    assert "image-push" not in page_of(browser_of(world.viewer).get(f"{IMAGES}{world.image.image_id}/"))


def test_a_list_tells_what_its_images_take(world: World) -> None:
    factories.make_image(world.project, "other:1", layers=("base",))
    page = page_of(browser_of(world.viewer).get(IMAGES))
    assert "2 images of 300 B take" in page
    assert "200 B" in page


def test_an_accounts_secret_is_on_no_page(world: World) -> None:
    browser, address = browser_of(world.member), "/projects/acme/shop/settings/registries/"
    asked = {"host": "https://index.docker.io/v1/", "username": "ada", "secret": "s3cret"}
    answer = browser.post(address, asked, follow=True)
    assert "docker.io" in page_of(answer)
    assert "s3cret" not in page_of(answer)
    bad = browser.post(address, {**asked, "host": "nonsense"})
    assert bad.status_code == 422
    assert "s3cret" not in page_of(bad)
    assert RegistryCredential.objects.count() == 1
    assert browser_of(world.viewer).get(address).status_code == 403


@pytest.mark.parametrize(
    ("state", "tone"), [("waiting", "idle"), ("uploading", "busy"), ("mounted", "ok"), ("exists", "idle")]
)
def test_a_layers_look_tells_what_it_does(state: str, tone: str) -> None:
    assert layer_look(LayerState("sha256:a", state, 0, 1)).tone == tone
