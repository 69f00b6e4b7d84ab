"""The record of a build in a real browser: steps, their lines, links to them, and the form of a new one."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.console.conftest import Stage

pytestmark = pytest.mark.e2e


def test_lines_lie_below_the_steps_that_wrote_them(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.project}builds/2/")
    failed = page.locator("#step-7")
    expect(failed.locator("details")).to_have_attribute("open", "")
    expect(failed.locator(".log-row").last).to_contain_text("SyntaxError: invalid syntax")
    expect(failed.locator(".log-err")).to_have_count(4)
    expect(failed.locator(".log-row .f1").first).to_contain_text("Error compiling")
    expect(page.get_by_text("ended with exit code 1")).to_be_visible()
    expect(page.locator("#step-1 details")).not_to_have_attribute("open", "")


def test_what_was_opened_stays_open_when_the_steps_are_told_anew(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.project}builds/3/")
    second = page.locator("#step-2")
    expect(second.locator(".log-row")).to_have_count(39)
    second.locator("summary").click()
    expect(second.locator("details")).to_have_attribute("open", "")
    page.locator("#step-5 summary").click()
    with page.expect_response(re.compile("/builds/3/$")):
        page.evaluate("window.htmx.trigger(document.getElementById('build'), 'refresh')")
    expect(page.locator("#step-5 details")).not_to_have_attribute("open", "")
    expect(second.locator("details")).to_have_attribute("open", "")
    expect(second.locator(".log-row")).to_have_count(39)
    expect(page.locator("[aria-current=step]").first).to_be_visible()


def test_a_line_has_a_link_that_leads_back_to_it(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.project}builds/2/")
    line = page.locator("#step-7 .log-row", has_text="page_20.py")
    line.hover()
    line.locator(".log-at").click()
    expect(page).to_have_url(re.compile(r"#p\d+$"))
    page.reload()
    marked = page.locator(".log-row.marked")
    expect(marked).to_contain_text("page_20.py")
    expect(marked).to_be_in_viewport()


def test_the_form_shows_what_belongs_to_the_source(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.project}builds/new")
    editor = page.get_by_label("Dockerfile", exact=True)
    expect(editor).to_be_visible()
    editor.fill("FROM busybox\nRUN true\nCMD true")
    expect(page.locator(".editor-lines")).to_have_text("1\n2\n3")
    page.get_by_label("A git repository").check()
    expect(editor).to_be_hidden()
    expect(page.get_by_label("Repository", exact=False).last).to_be_visible()
    page.get_by_label("Upload a folder's archive").check()
    expect(page.get_by_label("Archive", exact=True)).to_be_visible()
    page.get_by_role("button", name="Build", exact=True).click()
    expect(page.get_by_role("alert").first).to_contain_text("Choose an archive first.")
    files = [{"name": "shop.tar", "mimeType": "application/x-tar", "buffer": b"not really a tar" * 100}]
    page.set_input_files("#context", files)  # type: ignore[arg-type]  # as playwright's docs have it
    page.get_by_role("button", name="Build", exact=True).click()
    expect(page).to_have_url(re.compile(r"/builds/\d+/$"))
    expect(page.get_by_text("shop.tar").first).to_be_visible()
