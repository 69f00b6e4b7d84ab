"""The main job, from a click to an isolated container with a live log, on a complete process set."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.console.conftest import DESK, sign_in
from tests.stacks import RunningStack

COMMAND = "sh -c 'for i in $(seq 1 100000); do echo line $i; done; exit 3'"
POLITE = """sh -c 'echo ready; trap "echo bye; exit 0" TERM; while :; do sleep 0.1; done'"""
PATIENCE = 60_000


@pytest.fixture
def member(chromium: Browser, stack: RunningStack) -> Iterator[Page]:
    context = chromium.new_context(viewport=DESK, base_url=stack.url)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    sign_in(page, stack.url, stack.admin, stack.password)
    yield page
    context.close()


def test_an_image_is_run_watched_and_removed_and_its_log_stays(member: Page, stack: RunningStack) -> None:
    page = member
    name = f"counter-{secrets.token_hex(3)}"
    page.goto(f"/projects/{stack.project}/")
    page.get_by_role("link", name="Run an image").first.click()
    page.get_by_role("radio", name="busybox").first.check()
    page.get_by_label("Command").fill(COMMAND)
    page.get_by_label("Container name").fill(name)
    page.get_by_role("button", name="Run").click()

    expect(page.locator("h1")).to_contain_text("exited (3)", timeout=PATIENCE)
    last = page.locator(".log-row .log-text").last
    expect(last).to_have_text("line 100000", timeout=PATIENCE)
    expect(page.get_by_text("ended with exit code 3")).to_be_visible()

    page.reload()
    expect(page.locator("h1")).to_contain_text("exited (3)")
    expect(last).to_have_text("line 100000", timeout=PATIENCE)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator('[data-part="count"]')).to_have_text("100,000 lines", timeout=PATIENCE)
    expect(page.locator(".log-row .log-text").first).to_have_text("line 1")

    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("Its files are gone")).to_be_visible(timeout=PATIENCE)
    page.reload()
    expect(last).to_have_text("line 100000", timeout=PATIENCE)


def test_a_running_container_is_watched_and_stopped(member: Page, stack: RunningStack) -> None:
    page = member
    page.goto(f"/projects/{stack.project}/run?image=busybox")
    page.get_by_label("Command").fill(POLITE)
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".log-row .log-text").last).to_have_text("ready", timeout=PATIENCE)
    expect(page.locator("h1")).to_contain_text("running")

    page.get_by_role("button", name="Stop", exact=True).click()

    expect(page.locator(".log-row .log-text").last).to_have_text("bye", timeout=PATIENCE)
    expect(page.locator("h1")).to_contain_text("exited (0)", timeout=PATIENCE)


def test_a_command_that_is_not_there_says_so_where_it_shows(member: Page, stack: RunningStack) -> None:
    page = member
    page.goto(f"/projects/{stack.project}/run?image=busybox")
    page.get_by_label("Command").fill("no-such-command --at-all")
    page.get_by_role("button", name="Run").click()

    expect(page.get_by_text("COMMAND_NOT_FOUND")).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("no-such-command").first).to_be_visible()
