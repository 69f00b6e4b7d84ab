"""A pull in the browser: from the form to its layers, through a reload, to a container of the image."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.archives import E, tar
from tests.e2e.console.conftest import DESK, sign_in
from tests.registries import debian_registry
from tests.rest import Rest, until
from tests.stacks import RunningStack

PATIENCE = 60_000


@pytest.fixture
def member(chromium: Browser, stack: RunningStack) -> Iterator[Page]:
    context = chromium.new_context(viewport=DESK, base_url=stack.url)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    sign_in(page, stack.url, stack.admin, stack.password)
    yield page
    context.close()


@pytest.fixture
def reference(stack: RunningStack) -> Iterator[str]:
    """Of an image that is in a registry on the loopback and nowhere else."""
    rest = Rest(stack.url, stack.token, stack.project)
    name = f"box-{secrets.token_hex(3)}"
    busybox = E("bin/echo", data=Path("/bin/busybox").read_bytes(), mode=0o755)
    archive = tar([busybox, E("own", data=name.encode())])
    images = f"/projects/{stack.project}/images"
    taken = rest.send("POST", f"{images}?name={name}", archive, **{"Content-Type": "application/x-tar"})
    ended(rest, json.loads(taken))
    with debian_registry() as upstream:
        reference = f"{upstream.host}/tools/{name}:1"
        ended(rest, rest.call("POST", f"{images}/{name}/push", {"reference": reference}))
        ended(rest, rest.call("DELETE", f"{images}/{name}"))
        yield reference


def ended(rest: Rest, job: dict[str, Any]) -> None:
    path = f"/projects/{rest.project}/jobs/{job['id']}"
    until(
        lambda: rest.call("GET", path)["state"] == "succeeded" or None, 60, f"{job['kind']} did not succeed"
    )


def test_an_image_is_pulled_named_pushed_saved_and_run(
    member: Page, stack: RunningStack, reference: str, tmp_path: Path
) -> None:
    page = member
    job = pulled_from_the_run_form(page, stack, reference)
    ran_from_its_job(job, reference)
    name = named_and_saved(page, stack, reference, tmp_path)
    pushed(page, name)
    page.go_back()
    taken = page.get_by_role("button", name=f"Take the name {name} away")
    taken.click()
    expect(taken).to_have_count(0)


def pulled_from_the_run_form(page: Page, stack: RunningStack, reference: str) -> Page:
    """The page of the pull's job, opened from the form that lacked the image."""
    page.goto(f"/projects/{stack.project}/run")
    page.get_by_label("Image", exact=True).fill(reference)
    page.get_by_label("Command").fill("echo here")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("neither here nor in the library")).to_be_visible()
    with page.context.expect_page() as opened:
        page.get_by_role("button", name=f"Pull {reference}").click()
    return opened.value


def ran_from_its_job(job: Page, reference: str) -> None:
    expect(job.locator("h1")).to_contain_text("succeeded", timeout=PATIENCE)
    layers = job.locator(".transfer-layer")
    expect(layers).not_to_have_count(0)
    shown = layers.count()
    job.reload()
    expect(layers).to_have_count(shown)
    job.get_by_role("link", name=f"Run {reference}").click()
    job.get_by_label("Command").fill("echo from the registry")
    job.get_by_role("button", name="Run", exact=True).click()
    expect(job.locator(".log-row .log-text").first).to_have_text("from the registry", timeout=PATIENCE)


def named_and_saved(page: Page, stack: RunningStack, reference: str, directory: Path) -> str:
    page.goto(f"/projects/{stack.project}/images/")
    page.locator("main").get_by_role("link", name=reference, exact=True).first.click()
    expect(page.get_by_text("Pulled from")).to_be_visible()
    name = f"mine-{secrets.token_hex(3)}:1"
    page.get_by_label("Another name").fill(name)
    page.get_by_role("button", name="Add name").click()
    expect(page.locator(".names")).to_contain_text(name)
    page.get_by_role("button", name="Save", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Docker", exact=True).click()
    download.value.save_as(directory / "image.tar")
    assert (directory / "image.tar").stat().st_size > 1_000_000
    return name


def pushed(page: Page, name: str) -> None:
    page.reload()
    page.get_by_role("button", name="Push", exact=True).click()
    page.get_by_label("To", exact=True).fill(name)
    page.get_by_role("dialog").get_by_role("button", name="Push", exact=True).click()
    expect(page.locator("h1")).to_contain_text("succeeded", timeout=PATIENCE)
    expect(page.get_by_text(re.compile("Pushed sha256"))).to_be_visible()


def test_an_account_is_kept_tested_and_forgotten(member: Page, stack: RunningStack) -> None:
    page = member
    with debian_registry(with_password=True) as closed:
        page.goto(f"/projects/{stack.project}/settings")
        page.get_by_role("link", name="Registries").click()
        page.get_by_label("Registry", exact=True).fill(closed.host)
        page.get_by_label("Name", exact=True).fill("ada")
        page.get_by_label("Password or token").fill("not it")
        page.get_by_role("button", name="Keep it").click()
        row = page.locator(".timeline li", has_text=closed.host)
        row.get_by_role("button", name="Test").click()
        expect(row).to_contain_text("does not accept")
        page.get_by_label("Registry", exact=True).fill(closed.host)
        page.get_by_label("Name", exact=True).fill("ada")
        page.get_by_label("Password or token").fill("secret")
        page.get_by_role("button", name="Keep it").click()
        row.get_by_role("button", name="Test").click()
        expect(row).to_contain_text("let in")
        assert "secret" not in row.inner_text()
        row.get_by_role("button", name=f"Forget the account at {closed.host}").click()
        expect(row).to_have_count(0)
