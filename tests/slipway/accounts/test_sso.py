"""Signing in at an OpenID Connect provider, against a real one on the loopback."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.socialaccount.models import SocialAccount
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from slipway import environment
from slipway.accounts import services
from slipway.accounts.actors import OPERATOR
from slipway.accounts.models import User
from slipway.audit.models import Entry
from tests import oidc_provider

pytestmark = pytest.mark.django_db
LOGIN = "/accounts/oidc/sso/login/"


class _Stay(urllib.request.HTTPRedirectHandler):
    """Where the provider sends the browser is for the browser to follow."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


@pytest.fixture(autouse=True)
def plain_static_files(settings: Any) -> None:
    storage = "django.contrib.staticfiles.storage.StaticFilesStorage"
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": storage}}


@pytest.fixture
def provider(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[oidc_provider.Provider]:
    with oidc_provider.running() as running:
        secret = tmp_path / "secret"
        secret.write_text(f"{running.secret}\n")
        monkeypatch.setenv("SLIPWAY_OIDC_ISSUER", f"{running.issuer}/")
        monkeypatch.setenv("SLIPWAY_OIDC_CLIENT_ID", running.client)
        monkeypatch.setenv("SLIPWAY_OIDC_CLIENT_SECRET_FILE", str(secret))
        monkeypatch.setenv("SLIPWAY_OIDC_NAME", "Example Login")
        settings.SLIPWAY_OIDC = environment.oidc("SLIPWAY_OIDC")
        settings.SOCIALACCOUNT_PROVIDERS = {
            "openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": settings.SLIPWAY_OIDC.apps}
        }
        yield running


def visit(url: str) -> str:
    """Where the provider sends the browser next."""
    try:
        urllib.request.build_opener(_Stay).open(url, timeout=10)
    except urllib.error.HTTPError as answer:
        return str(answer.headers["Location"])
    raise AssertionError(f"{url} led nowhere")


def come_back(browser: Client) -> Any:
    away = browser.post(LOGIN)
    assert away.status_code == 302
    back = urlsplit(visit(away.headers["Location"]))
    return browser.get(f"{back.path}?{back.query}")


def is_in(browser: Client) -> bool:
    return browser.get("/account/").status_code == 200


def test_whom_the_provider_knows_is_let_in_and_found_again(provider: oidc_provider.Provider) -> None:
    provider.person |= {"email": "sally@example.org", "email_verified": True, "name": "Sally S"}
    for _ in range(2):
        browser = Client()
        assert b"Example Login" in browser.get("/accounts/login/").content
        assert come_back(browser).headers["Location"] == "/"
        assert is_in(browser)
    user = User.objects.get()
    assert (user.username, user.email) == ("sally", "sally@example.org")
    assert not user.has_usable_password()
    assert SocialAccount.objects.get().uid == "17"
    assert Entry.objects.filter(action="session.start", user=user).count() == 2
    assert not provider.problems


def test_an_address_alone_takes_over_nobodys_account(provider: oidc_provider.Provider) -> None:
    ada = services.create_user(OPERATOR, "ada", "correct horse battery", email="ada@example.org")
    provider.person |= {"preferred_username": "ada", "email": "ada@example.org", "email_verified": True}
    browser = Client()
    answer = come_back(browser)
    assert answer.status_code == 409
    assert b"ada@example.org" in answer.content
    assert not is_in(browser)
    assert not SocialAccount.objects.exists()

    browser.post("/accounts/login/", {"login": "ada", "password": "correct horse battery"})
    back = urlsplit(visit(browser.post(f"{LOGIN}?process=connect").headers["Location"]))
    browser.get(f"{back.path}?{back.query}")
    assert SocialAccount.objects.get().user == ada
    fresh = Client()
    come_back(fresh)
    assert is_in(fresh)


def test_an_answer_nobody_asked_for_is_refused(provider: oidc_provider.Provider) -> None:
    away = Client().post(LOGIN)
    back = urlsplit(visit(away.headers["Location"]))
    other = Client()
    answer = other.get(f"{back.path}?{back.query}")
    assert not is_in(other)
    assert answer.status_code in (200, 401, 403)
    assert not User.objects.exists()


def test_a_token_made_out_to_somebody_else_is_refused(provider: oidc_provider.Provider) -> None:
    provider.audience = "another-client"
    browser = Client()
    come_back(browser)
    assert not is_in(browser)
    assert not User.objects.exists()


def test_a_second_factor_is_asked_for_here_too(provider: oidc_provider.Provider) -> None:
    provider.person |= {"email": "sally@example.org"}
    come_back(Client())
    TOTP.activate(User.objects.get(), generate_totp_secret())
    browser = Client()
    assert come_back(browser).headers["Location"].startswith("/accounts/2fa/authenticate/")
    assert not is_in(browser)


def test_the_sign_in_is_only_begun_by_a_form_of_ours(provider: oidc_provider.Provider) -> None:
    assert Client().get(LOGIN).status_code == 200
    assert Client(enforce_csrf_checks=True).post(LOGIN).status_code == 403


def test_without_a_provider_there_is_no_button_and_no_way(settings: Any) -> None:
    assert b"oidc" not in Client().get("/accounts/login/").content
    assert Client().post(LOGIN).status_code == 404


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"ISSUER": "http://login.example.org"}, "SLIPWAY_OIDC_ISSUER"),
        ({"ISSUER": "https://login.example.org"}, "SLIPWAY_OIDC_CLIENT_ID"),
        (
            {"ISSUER": "https://login.example.org", "CLIENT_ID": "x", "CLIENT_SECRET_FILE": "/nowhere"},
            "SECRET_FILE",
        ),
    ],
)
def test_half_a_configuration_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"SLIPWAY_OIDC_{name}", value)
    with pytest.raises(ImproperlyConfigured, match=named):
        environment.oidc("SLIPWAY_OIDC")


@pytest.mark.parametrize(
    ("value", "sends"),
    [
        ("", False),
        ("console:", False),
        ("file:///var/mail", False),
        ("smtp+tls://u:p%40ss@mail.example.org", True),
    ],
)
def test_mail_leaves_by_the_address_given(monkeypatch: pytest.MonkeyPatch, value: str, sends: bool) -> None:
    monkeypatch.setenv("SLIPWAY_EMAIL_URL", value)
    mail = environment.mail("SLIPWAY_EMAIL_URL")
    assert mail.sends is sends
    if sends:
        assert (mail.host, mail.port, mail.user, mail.password) == ("mail.example.org", 587, "u", "p@ss")
        assert mail.starttls
        assert "p@ss" not in repr(mail)


def test_a_wrong_mail_address_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_EMAIL_URL", "mail.example.org")
    with pytest.raises(ImproperlyConfigured, match="SLIPWAY_EMAIL_URL"):
        environment.mail("SLIPWAY_EMAIL_URL")
