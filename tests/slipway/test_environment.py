from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from slipway import environment


def test_sqlite_is_safe_against_power_loss_and_half_transactions() -> None:
    found = environment.database("SLIPWAY_TEST_NONE", "sqlite:///srv/data/db.sqlite3")
    assert found["NAME"] == "/srv/data/db.sqlite3"
    assert found["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert "journal_mode=WAL" in found["OPTIONS"]["init_command"]
    assert "synchronous=FULL" in found["OPTIONS"]["init_command"]


def test_postgresql_is_read_from_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "SLIPWAY_DATABASE_URL", "postgresql://me:p%40ss@db.internal:5433/slipway?sslmode=require"
    )
    found = environment.database("SLIPWAY_DATABASE_URL", "sqlite:///x")
    assert (found["HOST"], found["PORT"], found["NAME"]) == ("db.internal", "5433", "slipway")
    assert (found["USER"], found["PASSWORD"]) == ("me", "p@ss")
    assert found["OPTIONS"]["sslmode"] == "require"


def test_the_socket_directory_of_postgresql_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_DATABASE_URL", "postgresql://me@%2Frun%2Fpostgresql/slipway")
    assert environment.database("SLIPWAY_DATABASE_URL", "")["HOST"] == "/run/postgresql"


@pytest.mark.parametrize(
    "url", ["mysql://x/y", "sqlite://relative", "sqlite:///x?mode=ro", "postgresql://host/", "x"]
)
def test_other_databases_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SLIPWAY_DATABASE_URL", url)
    with pytest.raises(ImproperlyConfigured, match="SLIPWAY_DATABASE_URL"):
        environment.database("SLIPWAY_DATABASE_URL", "")


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda: environment.path("V", "/x"), "relative/path"),
        (lambda: environment.name("V", "x"), "Upper"),
        (lambda: environment.name("V", "x"), "a:b"),
        (lambda: environment.switch("V"), "maybe"),
        (lambda: environment.integer("V", 1, low=1, high=9), "10"),
        (lambda: environment.integer("V", 1, low=1, high=9), "-1"),
        (lambda: environment.network("V", "10.0.0.0/16"), "10.0.0.1/16"),
        (lambda: environment.network("V", "10.0.0.0/16"), "10.0.0.0/25"),
        (lambda: environment.network("V", "10.0.0.0/16"), "fd00::/64"),
        (lambda: environment.redis_url("V", "unix:///x"), "http://x"),
    ],
)
def test_a_wrong_value_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, read, value: str) -> None:
    monkeypatch.setenv("V", value)
    with pytest.raises(ImproperlyConfigured, match="V="):
        read()


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("V", " ")
    assert environment.text("V", "usual") == "usual"
    assert environment.items("V", "a, b,") == ["a", "b"]


def test_a_damaged_secret_is_refused(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_text("abc")
    with pytest.raises(ImproperlyConfigured, match="too short"):
        environment.secret("V", short)
    with pytest.raises(ImproperlyConfigured, match="cannot read"):
        environment.secret("V", tmp_path)
    assert environment.secret("V", tmp_path / "absent") == ""
