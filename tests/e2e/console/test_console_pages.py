"""Pages in a real browser: weight, origins, accessibility, keyboard, theme, dialogs."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.e2e.console.conftest import Stage
from tests.environment import ROOT

FIRST_PAGE_BYTES = 150_000
DASHBOARD_BYTES = 170_000
"""All it shows, as text, and looked at once more when its topics are subscribed."""
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PAGES = [
    "/",
    "/projects/",
    "/projects/new",
    "/teams/new",
    "{project}",
    "{project}run",
    "{project}images/",
    "{project}images/import",
    "{project}images/pull?q=web",
    "{project}settings/registries/",
    "{project}builds/",
    "{project}builds/new",
    "{project}builds/2/",
    "/jobs/{pull}/",
    "{project}images/{image}/",
    "/containers/{running}/",
    "/containers/{failed}/",
    "/jobs/",
    "/jobs/{job}/",
    "/catalog/?tab=mine",
    "{project}repositories/storefront/",
    "{project}repositories/storefront/settings",
    "/catalog/?tab=templates",
    "/catalog/templates/postgres/",
    "/catalog/templates/postgres/edit",
    "/recipes/",
    "/tokens/",
    "/nodes/",
    "/usage/",
    "/audit/",
    "/teams/acme/",
    "{project}settings",
    "{project}quota",
]


def address(pattern: str, stage: Stage) -> str:
    return pattern.format(
        project=stage.project, image=stage.image, job=stage.job, pull=stage.pull, **stage.containers
    )


@pytest.mark.parametrize(
    ("url", "signed_in", "most"),
    [
        ("/accounts/login/", False, FIRST_PAGE_BYTES),
        ("/", False, FIRST_PAGE_BYTES),
        ("/", True, DASHBOARD_BYTES),
    ],
)
def test_a_first_page_is_light_and_comes_from_one_origin(
    chromium: Browser, stage: Stage, cookies: object, url: str, signed_in: bool, most: int
) -> None:
    context = chromium.new_context(
        base_url=stage.url,
        storage_state=cookies if signed_in else None,  # type: ignore[arg-type]
    )
    page = context.new_page()
    requests = []
    page.on("requestfinished", lambda request: requests.append(request))
    page.goto(url, wait_until="networkidle")
    weight = sum(request.sizes()["responseBodySize"] for request in requests)
    hosts = {urlsplit(request.url).netloc for request in requests}
    context.close()

    assert hosts == {urlsplit(stage.url).netloc}
    assert 10_000 < weight < most, weight


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_have_no_accessibility_faults(
    chromium: Browser, stage: Stage, cookies: object, scheme: str
) -> None:
    axe = (ROOT / "static/vendor/axe.js").read_text()
    context = chromium.new_context(
        base_url=stage.url,
        storage_state=cookies,  # type: ignore[arg-type]
        color_scheme=scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )
    page = context.new_page()
    faults = []
    for pattern in PAGES:
        page.goto(address(pattern, stage), wait_until="networkidle")
        page.evaluate(axe)
        found = page.evaluate("rules => axe.run({runOnly: rules})", RULES)
        for violation in found["violations"]:
            nodes = [node["html"][:160] for node in violation["nodes"][:3]]
            faults.append(f"{pattern}: {violation['id']}: {json.dumps(nodes)}")
    context.close()

    assert faults == []


@pytest.mark.parametrize("url", ["/", "/accounts/login/", "/accounts/signup/"])
def test_pages_for_everybody_have_no_accessibility_faults(chromium: Browser, stage: Stage, url: str) -> None:
    context = chromium.new_context(base_url=stage.url)
    page = context.new_page()
    page.goto(url, wait_until="networkidle")
    page.evaluate((ROOT / "static/vendor/axe.js").read_text())
    found = page.evaluate("rules => axe.run({runOnly: rules})", RULES)
    context.close()

    assert [violation["id"] for violation in found["violations"]] == []


def test_the_palette_jumps_to_a_container_by_part_of_its_name(page: Page, stage: Stage) -> None:
    page.goto("/tokens/")
    page.keyboard.press("Control+k")
    field = page.get_by_role("combobox", name="Jump to a page, project or container")
    expect(field).to_be_focused()
    field.fill("acme quay")
    expect(page.locator("#palette").get_by_role("option")).to_have_count(1)
    field.press("Enter")
    page.wait_for_url(f"**/containers/{stage.containers['failed']}/")


def test_keys_go_places_but_not_while_typing_and_can_be_switched_off(page: Page, stage: Stage) -> None:
    page.goto("/")
    page.keyboard.press("g")
    page.keyboard.press("p")
    page.wait_for_url("**/projects/")
    page.goto(stage.project)
    page.keyboard.press("/")
    search = page.get_by_label("Search by name, image or id")
    expect(search).to_be_focused()
    page.keyboard.type("gpc")
    expect(search).to_have_value("gpc")
    search.blur()
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("tr[data-selected]")).to_contain_text("resize_images")
    with page.expect_response("**/shop/**"):
        page.evaluate(
            "document.querySelector('#main [hx-trigger=refresh]').dispatchEvent(new Event('refresh'))"
        )
    expect(page.locator("tr[data-selected]")).to_contain_text("resize_images")
    page.keyboard.press("c")
    page.wait_for_url("**/run")

    page.goto("/")
    page.keyboard.press("?")
    page.get_by_label("Single keys do this").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("combobox", name="Jump to a page, project or container")).to_be_focused()
    assert page.url == f"{stage.url}/"


def test_the_theme_is_chosen_once_and_set_before_the_first_paint(
    context: BrowserContext, stage: Stage
) -> None:
    page = context.new_page()
    page.goto("/")
    assert page.evaluate("document.documentElement.dataset.bsTheme") == "light"
    page.get_by_label("Account and theme").click()
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("document.documentElement.dataset.bsTheme") == "dark"

    # Looked at when the head has been read and nothing of the body is there to be painted yet.
    page.add_init_script(
        """new MutationObserver((_, watcher) => {
          if (!document.body) return;
          window.themeAtFirst = document.documentElement.dataset.bsTheme;
          watcher.disconnect();
        }).observe(document, { childList: true, subtree: true });"""
    )
    page.reload()
    assert page.evaluate("window.themeAtFirst") == "dark"


def test_removing_lists_what_is_lost_and_escape_gives_the_focus_back(page: Page, stage: Stage) -> None:
    page.goto(f"/containers/{stage.containers['failed']}/")
    opener = page.get_by_role("button", name="Remove", exact=True)
    opener.click()
    dialog = page.get_by_role("dialog", name="Remove brisk_quay?")
    expect(dialog).to_contain_text("everything it wrote to its own file system")
    expect(dialog.get_by_role("button", name="Only stop it")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()


def test_the_focus_comes_back_although_the_button_was_replaced_meanwhile(page: Page, stage: Stage) -> None:
    page.goto(f"/containers/{stage.containers['failed']}/")
    opener = page.get_by_role("button", name="Remove", exact=True)
    opener.click()
    page.locator("#live .head").evaluate(
        "head => { head.dataset.old = 'yes'; window.htmx.trigger('#live', 'refresh'); }"
    )
    expect(page.locator("[data-old]")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(opener).to_be_focused()


def test_an_action_goes_through_without_leaving_the_page(page: Page, stage: Stage) -> None:
    page.goto(f"/containers/{stage.containers['failed']}/")
    page.get_by_role("button", name="Start again").click()

    expect(page.locator("#toasts")).to_contain_text("brisk_quay is being started")
    expect(page.locator("h1")).to_contain_text("starting")
    expect(page.get_by_text("Waiting for node local to start it")).to_be_visible()


def test_an_action_is_confirmed_although_its_button_was_replaced_meanwhile(page: Page, stage: Stage) -> None:
    def late(route: Route) -> None:
        response = route.fetch()
        page.locator("#live .head").evaluate(
            "head => { head.dataset.old = 'yes'; window.htmx.trigger('#live', 'refresh'); }"
        )
        expect(page.locator("[data-old]")).to_have_count(0)
        route.fulfill(response=response)

    page.route("**/stop", late)
    page.goto(f"/containers/{stage.containers['failed']}/")
    page.get_by_role("button", name="Stop", exact=True).click()

    expect(page.locator("#toasts")).to_contain_text("brisk_quay is being stopped")


def test_the_drawer_shows_the_call_behind_the_page(page: Page, stage: Stage) -> None:
    page.goto(stage.project)
    page.get_by_role("button", name="Show API call").first.click()
    drawer = page.get_by_role("dialog", name="The same by REST")

    expect(drawer).to_contain_text(f"{stage.url}/api/v1/projects/acme/shop/containers")


def test_a_run_form_with_a_fault_keeps_what_was_typed(page: Page, stage: Stage) -> None:
    page.goto(f"{stage.project}run")
    page.get_by_label("busybox:1.35").check()
    expect(page.get_by_label("Image", exact=True)).to_have_value("busybox:1.35")
    page.get_by_label("Command").fill("sh -c 'never closed")
    page.get_by_role("button", name="Run").click()

    expect(page.locator("#id_command_error")).to_contain_text("not closed")
    expect(page.get_by_label("Command")).to_have_value("sh -c 'never closed")
    expect(page.get_by_label("busybox:1.35")).to_be_checked()


@pytest.mark.parametrize("pattern", PAGES)
def test_no_page_is_wider_than_a_phone(
    chromium: Browser, stage: Stage, cookies: object, pattern: str
) -> None:
    context = chromium.new_context(
        base_url=stage.url,
        storage_state=cookies,  # type: ignore[arg-type]
        viewport={"width": 360, "height": 740},
    )
    page = context.new_page()
    page.goto(address(pattern, stage))
    width = page.evaluate("document.documentElement.scrollWidth")
    context.close()

    assert width <= 360
