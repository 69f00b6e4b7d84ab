"""Getting in: sign-up modes, codes by mail, throttling, second factors, sessions."""

from __future__ import annotations

import re
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    TOTP,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from allauth.usersessions.models import UserSession
from django.core import mail
from django.core.management import call_command
from django.test import Client
from redis import RedisError

from slipway import counting
from slipway import settings as platform_settings
from slipway.accounts import services
from slipway.accounts.actors import OPERATOR
from slipway.accounts.models import User
from slipway.audit.models import Entry
from tests.factories import make_user

pytestmark = pytest.mark.django_db
CODE = re.compile(r"^([A-Z0-9]{4}-[A-Z0-9]{4})$", re.MULTILINE)
PASSWORD = "correct horse battery"
NEWCOMER = {"username": "nora", "email": "nora@example.org", "password1": PASSWORD, "password2": PASSWORD}


@pytest.fixture(autouse=True)
def plain_static_files(settings: Any) -> None:
    storage = "django.contrib.staticfiles.storage.StaticFilesStorage"
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": storage}}


@pytest.fixture
def ada() -> User:
    return services.create_user(OPERATOR, "ada", PASSWORD, email="ada@example.org")


def sign_in(browser: Client, login: str = "ada", password: str = PASSWORD, **more: Any) -> Any:
    return browser.post("/accounts/login/", {"login": login, "password": password}, **more)


def prove(browser: Client) -> None:
    """Changes to the ways of signing in ask for the password again."""
    answer = browser.post("/accounts/reauthenticate/", {"password": PASSWORD, "next": "/accounts/2fa/"})
    assert answer.status_code == 302


def is_in(browser: Client) -> bool:
    return browser.get("/account/").status_code == 200


def code_of(secret: str) -> str:
    return hotp_value_text(hotp_value(secret, next(iter(yield_hotp_counters_from_time()))))


def hotp_value_text(value: int) -> str:
    return f"{value:06d}"


@pytest.mark.parametrize(("mode", "status"), [("closed", 200), ("invite", 200), ("open", 302)])
def test_only_an_open_door_lets_anybody_make_an_account(settings: Any, mode: str, status: int) -> None:
    settings.SLIPWAY_SIGNUP = mode
    answer = Client().post("/accounts/signup/", NEWCOMER)
    assert answer.status_code == status
    assert User.objects.filter(username="nora").exists() is (mode == "open")


def test_who_signs_up_is_in_only_with_the_code_from_the_mail(settings: Any) -> None:
    settings.SLIPWAY_SIGNUP = "open"
    browser = Client()
    browser.post("/accounts/signup/", NEWCOMER)
    assert not is_in(browser)
    [letter] = mail.outbox
    found = CODE.search(letter.body)
    assert found, letter.body
    browser.post("/accounts/confirm-email/", {"code": "WRONG1"})
    assert not is_in(browser)
    browser.post("/accounts/confirm-email/", {"code": found[1]})
    assert is_in(browser)
    assert Entry.objects.filter(action="user.sign_up", user__username="nora").exists()


def test_an_address_that_is_taken_is_not_given_away(settings: Any, ada: User) -> None:
    settings.SLIPWAY_SIGNUP = "open"
    browser = Client()
    taken = browser.post("/accounts/signup/", {**NEWCOMER, "email": ada.email})
    free = Client().post("/accounts/signup/", NEWCOMER)
    assert taken.status_code == free.status_code == 302
    assert taken.headers["Location"] == free.headers["Location"]
    assert not is_in(browser)


def test_an_account_made_by_an_administrator_needs_no_mail(settings: Any, ada: User) -> None:
    settings.SLIPWAY_SIGNUP = "open"
    browser = Client()
    sign_in(browser)
    assert is_in(browser)
    assert not mail.outbox


def test_guessing_is_slowed_down_wherever_it_comes_from(ada: User) -> None:
    for number in range(6):
        answer = sign_in(Client(), password="guess", REMOTE_ADDR=f"192.0.2.{number}")
    assert b"Too many failed" in answer.content
    browser = Client()
    sign_in(browser)
    assert not is_in(browser)


def test_failed_attempts_are_counted_for_all_processes_in_redis(
    settings: Any, redis_socket: Path, broker: Any, ada: User
) -> None:
    """As a process of its own would: with nothing in memory but what Redis says."""
    configured = platform_settings.CACHES["default"]
    for number in range(6):
        settings.CACHES = {"default": {**configured, "LOCATION": f"unix://{redis_socket}"}}
        answer = sign_in(Client(), password="guess", REMOTE_ADDR=f"192.0.2.{number}")
    assert b"Too many failed" in answer.content
    assert broker.keys("*rl*")
    broker.flushall()
    browser = Client()
    sign_in(browser)
    assert is_in(browser)


def test_without_redis_people_sign_in_and_guessing_is_slowed_down_all_the_same(
    settings: Any, tmp_path: Path, redis_socket: Path, broker: Any, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "AGAIN", 0.0)
    configured = platform_settings.CACHES["default"]
    away, back = f"unix://{tmp_path}/nobody.sock", f"unix://{redis_socket}"
    settings.CACHES = {"default": {**configured, "LOCATION": away}}
    browser = Client()
    sign_in(browser)
    assert is_in(browser)
    for number in range(6):
        answer = sign_in(Client(), password="guess", REMOTE_ADDR=f"192.0.2.{number}")
    assert b"Too many failed" in answer.content
    assert not broker.keys("*rl*")
    settings.CACHES = {"default": {**configured, "LOCATION": back}}
    sign_in(Client(), password="guess")
    assert broker.keys("*rl*")


def test_a_redis_that_does_not_answer_is_not_asked_every_time(tmp_path: Path) -> None:
    cache = counting.CountingCache(f"unix://{tmp_path}/nobody.sock", {"KEY_PREFIX": "test"})
    asked = []
    cache._cache.add = lambda *args: asked.append(args) or fail()  # type: ignore[method-assign,func-returns-value]

    def fail() -> bool:
        raise RedisError("away")

    assert [cache.add("guesses", 1) for _ in range(3)] == [True, False, False]
    assert cache.incr("guesses") == 2
    assert len(asked) == 1


def test_lost_factors_are_reset_at_the_terminal(ada: User) -> None:
    TOTP.activate(ada, generate_totp_secret())
    call_command("reset_factors", "ada", stdout=StringIO())
    browser = Client()
    sign_in(browser)
    assert is_in(browser)
    assert Entry.objects.get(action="factor.reset").actor == "operator"


def test_one_address_cannot_try_all_accounts() -> None:
    statuses = [sign_in(Client(), login=f"user{number}").status_code for number in range(32)]
    assert 429 in statuses


def test_a_header_does_not_lift_the_limit(ada: User) -> None:
    for number in range(12):
        sign_in(Client(), login=f"u{number}", headers={"X-Forwarded-For": f"198.51.100.{number}"})
    answer = sign_in(Client(), headers={"X-Forwarded-For": "198.51.100.99"})
    assert b"Too many failed" in answer.content


def test_an_authenticator_app_is_asked_for_at_the_next_sign_in(ada: User) -> None:
    browser = Client()
    sign_in(browser)
    prove(browser)
    page = browser.get("/accounts/2fa/totp/activate/")
    assert page.status_code == 200
    secret = page.context["form"].secret
    browser.post("/accounts/2fa/totp/activate/", {"code": code_of(secret)})
    stored = Authenticator.objects.get(user=ada, type=Authenticator.Type.TOTP)
    assert secret not in str(stored.data)

    fresh = Client()
    assert sign_in(fresh).headers["Location"].startswith("/accounts/2fa/authenticate/")
    assert not is_in(fresh)
    assert fresh.get("/accounts/2fa/authenticate/").status_code == 200
    fresh.post("/accounts/2fa/authenticate/", {"code": "000000"})
    assert not is_in(fresh)
    code = next(code for code in codes_around(secret) if code != code_of(secret))
    fresh.post("/accounts/2fa/authenticate/", {"code": code})
    assert is_in(fresh)


def codes_around(secret: str) -> list[str]:
    """Codes are good once; the neighbouring one is still good."""
    period = int(time.time()) // 30
    return [hotp_value_text(hotp_value(secret, period + step)) for step in (1, -1, 0)]


def test_a_recovery_code_opens_once(ada: User) -> None:
    TOTP.activate(ada, generate_totp_secret())
    code = RecoveryCodes.activate(ada).get_unused_codes()[0]
    for expected in (True, False):
        browser = Client()
        sign_in(browser)
        browser.post("/accounts/2fa/authenticate/", {"code": code})
        assert is_in(browser) is expected


@pytest.mark.django_db(transaction=True)
def test_a_new_factor_signs_other_browsers_out(ada: User) -> None:
    old, browser = Client(), Client()
    sign_in(old)
    sign_in(browser)
    prove(browser)
    secret = browser.get("/accounts/2fa/totp/activate/").context["form"].secret
    browser.post("/accounts/2fa/totp/activate/", {"code": code_of(secret)})
    assert is_in(browser)
    assert not is_in(old)
    assert Entry.objects.filter(action="factor.add").exists()


def test_a_session_is_listed_and_ended_from_another(ada: User) -> None:
    phone, desk = Client(headers={"user-agent": "Phone/1"}), Client(headers={"user-agent": "Desk/1"})
    sign_in(phone)
    sign_in(desk)
    page = desk.get("/account/sessions/").content.decode()
    assert "Phone/1" in page
    session = UserSession.objects.get(user_agent="Phone/1")
    assert desk.post(f"/account/sessions/{session.pk}/end").status_code == 302
    assert not is_in(phone)
    assert is_in(desk)
    assert Entry.objects.filter(action="session.end").exists()


def test_nobody_ends_the_sessions_of_others(ada: User) -> None:
    browser, other = Client(), Client()
    sign_in(browser)
    other.force_login(make_user())
    session = UserSession.objects.get(user=ada)
    assert other.post(f"/account/sessions/{session.pk}/end").status_code == 404
    assert is_in(browser)


def test_sessions_by_rest_are_the_same(ada: User) -> None:
    browser, phone = Client(), Client(headers={"user-agent": "Phone/1"})
    sign_in(browser)
    sign_in(phone)
    items = browser.get("/api/v1/sessions").json()["items"]
    assert len(items) == 2
    gone = next(each["id"] for each in items if each["browser"] == "Phone/1")
    assert browser.delete(f"/api/v1/sessions/{gone}").status_code == 204
    assert not is_in(phone)
    assert browser.delete("/api/v1/sessions/not-a-number").status_code == 404


def test_a_forgotten_password_is_set_anew_with_a_code(settings: Any, ada: User) -> None:
    browser = Client()
    browser.post("/accounts/password/reset/", {"email": "ada@example.org"})
    [letter] = mail.outbox
    found = CODE.search(letter.body)
    assert found, letter.body
    browser.post("/accounts/password/reset/confirm/", {"code": found[1]})
    new = {"password1": "another good password", "password2": "another good password"}
    browser.post("/accounts/password/reset/complete/", new)
    fresh = Client()
    sign_in(fresh, password="another good password")
    assert is_in(fresh)


@pytest.mark.parametrize(
    "url",
    [
        "/account/",
        "/account/sessions/",
        "/accounts/2fa/",
        "/accounts/2fa/totp/activate/",
        "/accounts/2fa/webauthn/",
        "/accounts/2fa/webauthn/add/",
        "/accounts/password/change/",
        "/accounts/email/",
    ],
)
def test_pages_of_the_account_work_under_the_content_security_policy(ada: User, url: str) -> None:
    browser = Client()
    sign_in(browser)
    prove(browser)
    answer = browser.get(url)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "Slipway" in page
    assert "'unsafe" not in answer.headers["Content-Security-Policy"]
    assert not re.search(r"<[^>]+\sstyle=|<[^>]+\son[a-z]+=|<style", page)
    # Data of type application/json is no script.
    assert not re.search(r"<script(?![^>]*(?:\bsrc=|application/json))", page)
