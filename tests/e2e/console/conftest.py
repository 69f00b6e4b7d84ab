"""A browser, and the console on a stage (tests/stage) for what needs no node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.environment import ROOT

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# A machine that runs other tests meanwhile may take its time.
expect.set_options(timeout=20_000)
DESK = {"width": 1280, "height": 860}


class Stage:
    """The played console: where it is, who signs in, which containers it shows; and a way to direct it."""

    def __init__(self) -> None:
        # Of its own: data, run directory and database are in the child's own scratch directory.
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.stage"],
            cwd=ROOT,
            env=clean,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self._read()
        facts: dict[str, Any] = json.loads(line)
        self.url: str = facts["url"]
        self.user: str = facts["user"]
        self.password: str = facts["password"]
        self.project: str = facts["project"]
        self.image: str = facts["image"]
        self.pull: str = facts["pull"]
        self.containers: dict[str, str] = facts["containers"]
        self.job: str = facts["job"]

    def do(self, what: str, **more: Any) -> int:
        """Have it done; answers how many lines the container's log then has."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self.process.stdin.flush()
        return int(json.loads(self._read())["lines"])

    def _read(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"The stage ended with {self.process.wait()}; its errors are above.")
        return line

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        assert self.process.stdout
        self.process.stdout.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=Path(path), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    running = Stage()
    yield running
    running.close()


def sign_in(page: Page, url: str, user: str, password: str) -> None:
    url = url.rstrip("/")
    page.goto(f"{url}/accounts/login/")
    page.get_by_label("User name or e-mail").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(f"{url}/")


@pytest.fixture(scope="module")
def cookies(chromium: Browser, stage: Stage) -> Any:
    """Of one session, made once: every test after that begins signed in."""
    context = chromium.new_context()
    sign_in(context.new_page(), stage.url, stage.user, stage.password)
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def context(chromium: Browser, stage: Stage, cookies: Any) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport=DESK, storage_state=cookies, base_url=stage.url)  # type: ignore[arg-type]
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """Signed in; anything the browser complains about fails the test."""
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("requestfailed", lambda request: complaints.append(f"ERR_ {request.url} {request.failure}"))
    yield page
    print("the browser said:", complaints)
    # A broken connection and a refused form are what some tests are about.
    expected = ("WebSocket", "ERR_", "status of 409", "status of 422")
    assert [each for each in complaints if not any(word in each for word in expected)] == []
