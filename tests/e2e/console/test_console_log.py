"""The log pane before a hundred thousand lines, breaks of the line, and readers who scroll."""

from __future__ import annotations

import re

from playwright.sync_api import Page, WebSocketRoute, expect

from tests.e2e.console.conftest import Stage

TAIL = 5_000
"""Lines a page begins with; logpane.js says the same."""
COLOURS = "\x1b[1;31mred\x1b[0m plain \x1b[38;5;208morange\x1b[0m <b>&"
ROWS_MOST = 150
"""In the document at once, however long the log is."""


def open_log(page: Page, stage: Stage, name: str) -> int:
    """Wait until the tail is read; answers how many lines are shown."""
    container = stage.containers[name]
    page.goto(f"/containers/{container}/")
    shown = min(TAIL, stage.do("look", container=container))
    expect_count(page, shown)
    return shown


def count(page: Page) -> int:
    text = page.locator('[data-part="count"]').inner_text()
    return int(re.sub(r"\D", "", text) or 0)


def expect_count(page: Page, lines: int) -> None:
    expect(page.locator('[data-part="count"]')).to_have_text(f"{lines:,} lines")


def last_row(page: Page) -> str:
    return page.locator(".log-row .log-text").last.inner_text()


def test_a_hundred_thousand_lines_come_in_live_and_only_a_window_of_them_is_drawn(
    page: Page, stage: Stage
) -> None:
    running = stage.containers["running"]
    before = open_log(page, stage, "running")

    stage.do("count", container=running, **{"from": 1, "to": 100_001})

    expect_count(page, before + 100_000)
    expect(page.locator(".log-row .log-text").last).to_have_text("line 100000")
    assert page.locator(".log-row").count() < ROWS_MOST
    # Still quick at hand: a jump over the whole length is drawn at once.
    page.locator(".log-view").evaluate("view => { view.scrollTop = 0 }")
    expect(page.locator(".log-row .log-text").first).to_contain_text("listening on")


def test_following_stops_when_the_reader_scrolls_up_and_goes_on_at_the_end(page: Page, stage: Stage) -> None:
    running = stage.containers["running"]
    open_log(page, stage, "running")
    view = page.locator(".log-view")
    view.evaluate("view => { view.scrollTop -= 2000 }")
    more = page.locator('[data-part="more"]')
    expect(more).to_be_hidden()
    place = view.evaluate("view => view.scrollTop")

    stage.do("write", container=running, lines=[f"while reading {number}" for number in range(342)])

    expect(more).to_have_text("342 new lines")
    assert view.evaluate("view => view.scrollTop") == place
    more.click()
    expect(page.locator(".log-row .log-text").last).to_have_text("while reading 341")
    expect(more).to_be_hidden()
    stage.do("write", container=running, lines=["one more"])
    expect(page.locator(".log-row .log-text").last).to_have_text("one more")


def test_after_a_drop_reading_goes_on_where_it_was(page: Page, stage: Stage) -> None:
    running = stage.containers["running"]
    before = open_log(page, stage, "running")

    stage.do("hang up")
    stage.do("write", container=running, lines=[f"unseen {number}" for number in range(50)])

    expect_count(page, before + 50)
    expect(page.locator(".log-row .log-text").last).to_have_text("unseen 49")


def test_while_the_socket_is_away_the_page_says_so_and_polls(page: Page, stage: Stage) -> None:
    def refuse(socket: WebSocketRoute) -> None:
        socket.close()

    page.route_web_socket("**/ws", refuse)
    running = stage.containers["running"]
    before = open_log(page, stage, "running")
    expect(page.locator("#offline")).to_be_visible()

    stage.do("write", container=running, lines=["by plain request"])

    expect_count(page, before + 1)
    expect(page.locator(".log-row .log-text").last).to_have_text("by plain request")


def test_earlier_lines_are_fetched_when_the_reader_goes_up(page: Page, stage: Stage) -> None:
    open_log(page, stage, "large")
    assert last_row(page) == "line 100000"

    page.get_by_role("button", name="Start", exact=True).click()

    expect_count(page, 100_000)
    expect(page.locator(".log-row .log-text").first).to_have_text("line 1")
    assert page.locator(".log-row").count() < ROWS_MOST
    page.get_by_role("button", name="End", exact=True).click()
    expect(page.locator(".log-row .log-text").last).to_have_text("line 100000")


def test_a_link_to_a_line_leads_back_to_it(page: Page, stage: Stage) -> None:
    open_log(page, stage, "failed")
    page.locator(".log-view").evaluate("view => { view.scrollTop = 700 * 20 }")
    row = page.locator(".log-row", has=page.get_by_text("line 711", exact=True))
    row.hover()
    row.locator(".log-at").click()
    assert re.search(r"#p\d+$", page.url)

    page.reload()

    marked = page.locator(".log-row.marked")
    expect(marked).to_contain_text("line 711")
    expect(marked).to_be_in_viewport()
    expect_count(page, 2_000)


def test_finding_walks_through_what_matches(page: Page, stage: Stage) -> None:
    open_log(page, stage, "failed")
    page.keyboard.press("/")
    find = page.get_by_label("Find in the log")
    expect(find).to_be_focused()
    find.fill("line 199")
    expect(page.locator('[data-part="found"]')).to_have_text("1 of 11")
    expect(page.locator(".log-row mark").first).to_be_in_viewport()
    find.press("Enter")
    expect(page.locator('[data-part="found"]')).to_have_text("2 of 11")


def test_colours_and_times_are_shown_as_a_terminal_would(page: Page, stage: Stage) -> None:
    container = stage.containers["running"]
    open_log(page, stage, "running")
    stage.do(
        "write", container=container, lines=["\x1b[1;31mred\x1b[0m plain \x1b[38;5;208morange\x1b[0m <b>&"]
    )
    row = page.locator(".log-row").last
    expect(row.locator(".log-text")).to_have_text("red plain orange <b>&")
    expect(row.locator(".f1.a-b")).to_have_text("red")
    assert row.get_by_text("orange").evaluate("run => getComputedStyle(run).color") == "rgb(255, 135, 0)"

    times = page.get_by_role("button", name="Times")
    expect(row.locator(".log-time")).to_be_hidden()
    times.click()
    expect(row.locator(".log-time")).to_be_visible()
    page.reload()
    expect(page.locator(".log-row .log-time").last).to_be_visible()


def test_an_exit_is_seen_without_a_reload_and_the_same_after_one(page: Page, stage: Stage) -> None:
    container = stage.containers["running"]
    open_log(page, stage, "running")
    expect(page.locator("h1")).to_contain_text("running")

    stage.do("write", container=container, lines=["last words"])
    stage.do("exit", container=container, code=3)

    expect(page.locator("h1")).to_contain_text("exited (3)")
    expect(page.get_by_text("ended with exit code 3")).to_be_visible()
    lines = count(page)
    page.reload()
    expect(page.locator("h1")).to_contain_text("exited (3)")
    expect(page.locator(".log-row .log-text").last).to_have_text("last words")
    assert count(page) <= lines
