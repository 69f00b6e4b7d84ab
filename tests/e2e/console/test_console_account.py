"""Passkeys in a real browser with a virtual authenticator; pages of the account under axe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.e2e.console.conftest import DESK, Stage, sign_in
from tests.environment import ROOT

AXE = ROOT / "static" / "vendor" / "axe.js"
PAGES = [
    "/account/",
    "/account/sessions/",
    "/accounts/2fa/",
    "/accounts/password/change/",
    "/teams/",
    "/teams/acme/",
]


@pytest.fixture
def home(stage: Stage) -> str:
    """A passkey belongs to a name; 127.0.0.1 is none."""
    return stage.url.replace("127.0.0.1", "localhost")


@pytest.fixture
def own(chromium: Browser, home: str) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport=DESK, base_url=home)  # type: ignore[arg-type]
    context.set_default_timeout(20_000)
    yield context
    context.close()


def plug_in_authenticator(page: Page) -> None:
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    session.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": True,
                "automaticPresenceSimulation": True,
            }
        },
    )


def prove(page: Page, password: str) -> None:
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Confirm").click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_serious(context: BrowserContext, path: str, scheme: str) -> None:
    page = context.new_page()
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(path)
    page.evaluate(AXE.read_text())
    found = page.evaluate("() => axe.run()")["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert not serious, [(each["id"], [node["html"] for node in each["nodes"]]) for each in serious]


def test_a_passkey_is_added_signs_in_and_goes(own: BrowserContext, stage: Stage, home: str) -> None:
    page = own.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    plug_in_authenticator(page)
    sign_in(page, home, stage.user, stage.password)
    page.goto("/accounts/2fa/webauthn/add/")
    prove(page, stage.password)
    page.wait_for_url("**/webauthn/add/")
    page.get_by_label("Passwordless").check()
    page.get_by_role("button", name="Add").click()
    page.wait_for_url("**/recovery-codes/")

    page.goto("/")
    page.get_by_label("Account and theme").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{home}/")
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url(f"{home}/")
    expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()

    page.goto("/accounts/2fa/webauthn/")
    page.get_by_role("link", name="Remove").click()
    prove(page, stage.password)
    page.wait_for_url("**/remove/")
    page.get_by_role("button", name="Remove").click()
    page.wait_for_url("**/2fa/**")
    assert not problems


def test_without_a_passkey_the_page_says_why_it_did_not_work(own: BrowserContext) -> None:
    page = own.new_page()
    plug_in_authenticator(page)
    page.goto("/accounts/login/")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.locator("[data-passkey-error]")).to_contain_text("no passkey")
