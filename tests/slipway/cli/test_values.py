"""Values as people type them; the file of contexts."""

from __future__ import annotations

import stat
from datetime import timedelta
from pathlib import Path

import pytest

from slipway.cli import addresses, config, sizes
from slipway.cli.commands.run import labels, variables
from slipway.cli.errors import CliError, Exit, Misused
from slipway.cli.output import clean

SECRET = "slp_abcdefgh_secret"


@pytest.mark.parametrize(
    ("text", "size"), [("512m", 512 << 20), ("1.5G", 3 << 29), ("64", 64), ("2GiB", 2 << 30), ("8kb", 8192)]
)
def test_sizes_are_read_as_docker_reads_them(text: str, size: int):
    assert sizes.parse_bytes(text, "--memory") == size


@pytest.mark.parametrize("text", ["", "m", "-1m", "12x", "1 2", "nan"])
def test_what_is_no_size_is_refused_by_name(text: str):
    with pytest.raises(Misused, match="--memory"):
        sizes.parse_bytes(text, "--memory")


@pytest.mark.parametrize(("text", "millis"), [("0.5", 500), ("2", 2000), ("1.2345", 1234)])
def test_cores_become_thousandths(text: str, millis: int):
    assert sizes.parse_cpus(text) == millis


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "many"])
def test_what_is_no_number_of_cores_is_refused(text: str):
    with pytest.raises(Misused, match="--cpus"):
        sizes.parse_cpus(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [("web", ("web", None)), ("web:1", ("web", "1")), ("host:5000/a/b", ("host:5000/a/b", None))],
)
def test_a_colon_before_the_last_slash_is_a_port(text: str, parts: tuple[str, str | None]):
    assert sizes.parse_reference(text) == parts


@pytest.mark.parametrize("text", ["", ":1", "web:", "a/"])
def test_half_a_reference_is_refused(text: str):
    with pytest.raises(Misused):
        sizes.parse_reference(text)


def test_ages_are_shown_in_their_largest_unit():
    now = sizes.now()
    assert sizes.since((now - timedelta(hours=3, minutes=59)).isoformat(), now) == "3 h"
    assert sizes.since(None, now) == "-"
    assert sizes.since((now + timedelta(minutes=1)).isoformat(), now) == "0 s"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("slipway.example.org", "https://slipway.example.org"),
        ("localhost:8000/", "http://localhost:8000"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("http://box/base/", "http://box/base"),
    ],
)
def test_an_address_without_a_scheme_is_encrypted_unless_it_is_this_machine(text: str, url: str):
    assert addresses.parse_url(text) == url


@pytest.mark.parametrize("text", ["", "ftp://x", "http://", "http://u:p@x", "http://x:port", "http://x?a=1"])
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(Misused):
        addresses.parse_url(text)


def test_only_plain_http_to_other_machines_exposes_a_token():
    exposed = [addresses.is_exposed(url) for url in ("http://box:80", "http://localhost", "https://box")]
    assert exposed == [True, False, False]


def test_a_variable_without_a_value_is_taken_from_here_or_left_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HERE", "a=b")
    monkeypatch.delenv("NOWHERE", raising=False)
    assert variables(["A=1", "HERE", "NOWHERE", "EMPTY="]) == ["A=1", "HERE=a=b", "EMPTY="]
    assert labels(["a=b=c", "bare"]) == {"a": "b=c", "bare": ""}


def test_text_of_others_cannot_steer_the_terminal():
    assert clean("a\x1b[2Jb\r\n") == "a\ufffd[2Jb\ufffd\ufffd"


# --------------------------------------------------------------------------- contexts


def test_contexts_are_kept_for_their_owner_only(tmp_path: Path):
    path = tmp_path / "new" / "config.toml"
    kept = config.Config().with_context("a.b", config.Context("http://localhost:8000", SECRET, "acme/web"))
    kept = kept.with_context("other", config.Context("https://other", 'slp_"quoted\\"'))
    config.write(path, kept)
    assert config.read(path) == kept
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_writing_again_takes_away_what_others_could_read(tmp_path: Path):
    path = tmp_path / "config.toml"
    path.write_text("")
    path.chmod(0o644)
    config.write(path, config.Config())
    assert config.is_private(path)


def test_forgetting_the_current_context_leaves_another_one_current():
    place = config.Context("https://x", SECRET)
    both = config.Config().with_context("one", place).with_context("two", place)
    assert both.current == "two"
    assert both.without("two").current == "one"
    assert both.without("two").without("one") == config.Config()


def test_a_token_is_not_shown_by_accident():
    assert SECRET not in repr(config.Context("https://x", SECRET))


@pytest.mark.parametrize("text", ["= no toml", "[contexts.a]\nurl = 'x'", "contexts = 3"])
def test_a_broken_file_says_where_it_is(tmp_path: Path, text: str):
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(CliError, match=str(path)) as raised:
        config.read(path)
    assert raised.value.exit_code == Exit.ERROR


@pytest.mark.parametrize("name", ["", "a b", "../x", "-x", "x" * 65])
def test_a_context_has_a_plain_name(name: str):
    with pytest.raises(Misused):
        config.check_name(name)


def test_the_file_lies_where_the_desktop_says():
    assert config.location({"XDG_CONFIG_HOME": "/x"}) == Path("/x/slipway/config.toml")
    assert config.location({"HOME": "/home/me"}) == Path("/home/me/.config/slipway/config.toml")
    assert config.location({"SLIPWAY_CONFIG": "/elsewhere", "HOME": "/home/me"}) == Path("/elsewhere")
