"""Commands against a fake server: what they ask, what they print, how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slipway.cli import config as stored
from tests.slipway.cli.conftest import TOKEN, Slipway
from tests.slipway.cli.rows import ID, ME, WEB, container
from tests.slipway.cli.server import Asked, Server

# --------------------------------------------------------------------------- teams


def test_a_teams_weight_is_shown_and_set(server: Server, signed_in: Slipway):
    slipway = signed_in
    server.on("GET", "/teams/acme/weight", {"weight": 1})
    server.on("PUT", "/teams/acme/weight", lambda asked, _: asked.json)
    assert slipway("teams", "weight", "acme").out == "1\n"
    assert slipway("teams", "weight", "acme", "3").out == "3\n"
    assert [each.json for each in server.asked("PUT", "/teams/acme/weight")] == [{"weight": 3}]
    assert slipway("teams", "weight", "acme", "--json").json == {"weight": 1}
    for wrong in ("0", "101", "much"):
        assert slipway("teams", "weight", "acme", wrong).code == 2
    server.refuse("PUT", "/teams/acme/weight", 403, "FORBIDDEN", "Only administrators may do this.")
    done = slipway("teams", "weight", "acme", "3")
    assert (done.code, "Only administrators" in done.err) == (4, True)


# --------------------------------------------------------------------------- signing in


def test_signing_in_keeps_the_token_only_once_the_server_has_taken_it(
    server: Server, slipway: Slipway, config: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    typed = tmp_path / "token"
    typed.write_text(f"{TOKEN}\n")
    server.refuse("GET", "/me", 401, "TOKEN_REVOKED")
    with typed.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert slipway("login", server.url, "--token-stdin").code == 4
    assert not config.exists()
    server.on("GET", "/me", ME)
    with typed.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        done = slipway("login", server.url, "--token-stdin", "--name", "lab")
    assert done.code == 0
    assert TOKEN not in done.out + done.err
    assert server.seen[-1].headers["authorization"] == f"Bearer {TOKEN}"
    assert stored.read(config).get("lab") == stored.Context(server.url, TOKEN)


def test_a_token_is_not_taken_from_a_pipe_unless_asked_for(
    slipway: Slipway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        done = slipway("login", "localhost:1")
    assert (done.code, "--token-stdin" in done.err) == (2, True)


def test_several_contexts_are_kept_apart(slipway: Slipway, server: Server, config: Path):
    both = stored.Config().with_context("one", stored.Context(server.url, TOKEN, "acme/web"))
    stored.write(config, both.with_context("two", stored.Context("http://127.0.0.1:1", TOKEN)))
    server.page(f"{WEB}/containers")
    assert slipway("ps").code == 5
    assert slipway("--context", "one", "ps").code == 0
    assert slipway("contexts", "use", "one").code == 0
    assert slipway("ps").code == 0
    assert {row["name"]: row["current"] for row in slipway("contexts", "--json").json} == {
        "one": True,
        "two": False,
    }
    assert slipway("contexts", "use", "three").code == 2
    assert slipway("logout").code == 0
    assert list(stored.read(config).contexts) == ["two"]


# --------------------------------------------------------------------------- errors and exit codes


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (400, "VALUE_INVALID", 1),
        (401, "TOKEN_EXPIRED", 4),
        (403, "SCOPE_MISSING", 4),
        (404, "NOT_FOUND", 3),
        (409, "CONTAINER_BUSY", 1),
        (410, "LOG_GONE", 3),
        (500, "INTERNAL", 1),
    ],
)
def test_a_refusal_is_one_sentence_with_its_code(
    server: Server, signed_in: Slipway, status: int, code: str, exit_code: int
):
    server.refuse("GET", f"{WEB}/containers", status, code, "It cannot be.")
    done = signed_in("ps")
    assert (done.code, done.out) == (exit_code, "")
    assert done.err.startswith(f"slipway: It cannot be. ({code})")
    assert done.err.count("\n") == 1


def test_in_json_errors_are_json_on_stderr(server: Server, signed_in: Slipway):
    server.refuse("GET", f"{WEB}/containers", 404, "NOT_FOUND")
    done = signed_in("--json", "ps")
    error = json.loads(done.err)["error"]
    assert (done.out, error["code"], error["exit_code"]) == ("", "NOT_FOUND", 3)


def test_who_has_not_signed_in_is_told_how(slipway: Slipway):
    done = slipway("ps")
    assert (done.code, "slipway login" in done.err) == (4, True)


def test_nobody_there_is_an_exit_code_of_its_own(signed_in: Slipway, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SLIPWAY_URL", "http://127.0.0.1:1")
    done = signed_in("ps")
    assert (done.code, "SERVER_UNREACHABLE" in done.err) == (5, True)


def test_a_redirect_does_not_get_the_token(server: Server, signed_in: Slipway):
    def elsewhere(asked: Asked, handler: Any) -> None:
        handler.send_response(302)
        handler.send_header("Location", "http://evil.example/")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.on("GET", f"{WEB}/containers", elsewhere)
    done = signed_in("ps")
    assert (done.code, "evil.example" in done.err, len(server.seen)) == (1, True, 1)


@pytest.mark.parametrize(
    "arguments", [["ps", "--nonsense"], ["stop"], ["nonsense"], ["logs", "a", "--tail", "x"]]
)
def test_a_command_line_that_cannot_be_meant_is_usage(signed_in: Slipway, arguments: list[str]):
    assert signed_in(*arguments).code == 2


@pytest.mark.parametrize(
    "arguments", [["run"], ["run", "--nonsense", "a"], ["run", "-m", "x", "a"], ["run", "a"]]
)
def test_of_run_every_failure_of_ours_is_125(signed_in: Slipway, arguments: list[str]):
    assert signed_in(*arguments).code == 125


# --------------------------------------------------------------------------- lists


def test_lists_are_read_to_their_last_page_and_from_this_server_only(server: Server, signed_in: Slipway):
    def page(asked: Asked, _: Any) -> dict[str, Any]:
        if "cursor" in asked.query:
            return {"items": [container(name="second")], "next": None}
        return {"items": [container(name="first")], "next": "http://elsewhere/api/v1/x?cursor=abc&all=true"}

    server.on("GET", f"{WEB}/containers", page)
    assert [row["name"] for row in signed_in("ps", "-a", "--json").json] == ["first", "second"]
    assert [(asked.query["all"], asked.query.get("cursor")) for asked in server.seen] == [
        ("true", None),
        ("true", "abc"),
    ]


def test_a_table_is_aligned_and_without_colour_away_from_a_terminal(server: Server, signed_in: Slipway):
    failed = container(name="b", state="created", cause={"code": "COMMAND_NOT_FOUND", "message": "No."})
    server.page(f"{WEB}/containers", container(exit_code=3), failed)
    head, first, second = signed_in("ps", "-a").out.splitlines()
    assert head.index("STATE") == first.index("exited (3)") == second.index("failed COMMAND_NOT_FOUND")
    assert "\x1b" not in head + first + second


def test_an_empty_list_is_said_on_stderr(server: Server, signed_in: Slipway):
    server.page(f"{WEB}/containers")
    done = signed_in("ps")
    assert (done.code, done.out, bool(done.err)) == (0, "", True)
    assert signed_in("ps", "--json").json == []


def test_the_only_project_is_meant_when_none_is_named(
    server: Server, signed_in: Slipway, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("SLIPWAY_PROJECT")
    server.page(
        "/projects", {"path": "acme/web", "library": False}, {"path": "library/library", "library": True}
    )
    server.page(f"{WEB}/containers")
    assert signed_in("ps").code == 0
    server.page("/projects", {"path": "acme/web", "library": False}, {"path": "acme/db", "library": False})
    done = signed_in("ps")
    assert (done.code, "acme/db" in done.err) == (2, True)
    assert signed_in("ps", "--project", "acme/web").code == 0


# --------------------------------------------------------------------------- several containers


def test_one_failure_keeps_no_other_container_from_being_stopped(server: Server, signed_in: Slipway):
    server.on("POST", f"{WEB}/containers/[ac]/stop", container(), 202)
    server.on("GET", f"{WEB}/containers/[ac]/wait", {"reached": True, "container": container()})
    server.refuse("POST", f"{WEB}/containers/b/stop", 404, "NOT_FOUND")
    done = signed_in("stop", "-t", "3", "a", "b", "c")
    assert (done.code, done.out.split()) == (3, ["a", "c"])
    assert server.asked("POST", f"{WEB}/containers/a/stop")[0].json == {"timeout": 3.0}


def test_a_removal_is_waited_for_by_id_since_the_name_may_be_taken_again(server: Server, signed_in: Slipway):
    server.on("DELETE", f"{WEB}/containers/a%2Fb", container(), 202)
    server.on("GET", f"{WEB}/containers/{ID}/wait", {"reached": True, "container": container()})
    assert signed_in("rm", "-f", "a/b").code == 0
    assert server.seen[0].query == {"force": "true"}
    assert server.seen[1].query["condition"] == "removed"


def test_a_start_that_fails_says_why(server: Server, signed_in: Slipway):
    cause = {"code": "NO_SPACE", "message": "The disk is full."}
    rows = iter([container(pending=True), container(state="created", finished_at=None, cause=cause)])
    server.on("POST", f"{WEB}/containers/a/start", container(), 202)
    server.on("GET", f"{WEB}/containers/a", lambda *_: next(rows))
    done = signed_in("start", "a")
    assert (done.code, "The disk is full. (NO_SPACE)" in done.err) == (1, True)


# --------------------------------------------------------------------------- tokens, doctor


def token(number: int, **more: Any) -> dict[str, Any]:
    row = {"id": f"{number:032x}", "name": "ci", "prefix": f"prefix{number:02}", "scopes": ["read"]}
    row |= {"project": None, "created_at": "2026-01-02T03:04:05Z", "expires_at": None}
    return {**row, "last_used_at": None, "revoked_at": None, **more}


def no_content(_: Asked, handler: Any) -> None:
    handler.send_response(204)
    handler.end_headers()


def test_a_name_revokes_the_one_valid_token_that_has_it(server: Server, signed_in: Slipway):
    server.page("/tokens", token(1), token(2, revoked_at="2026-01-02T03:04:05Z"), token(3, name="other"))
    server.on("DELETE", f"/tokens/{1:032x}", no_content)
    assert signed_in("tokens", "revoke", "ci").code == 0
    server.page(f"{WEB}/tokens", token(1), token(4, name="robot"))
    server.on("DELETE", f"/tokens/{4:032x}", no_content)
    assert signed_in("tokens", "revoke", "robot", "--project", "acme/web").out == "Revoked robot.\n"
    server.page("/tokens", token(1), token(2))
    assert signed_in("tokens", "revoke", "ci").code == 2


def test_a_token_is_bound_and_expires_as_asked(server: Server, signed_in: Slipway):
    server.on("POST", "/tokens", {**token(1), "token": "slp_new"}, 201)
    done = signed_in(
        "tokens", "create", "ci", "-s", "write", "--project", "acme/web", "--expires", "2030-01-31"
    )
    assert done.out == "slp_new\n"
    asked = server.seen[0].json
    assert (asked["scopes"], asked["project"]) == (["write"], "acme/web")
    assert asked["expires_at"] == "2030-01-31T00:00:00+00:00"
    assert signed_in("tokens", "create", "ci", "--scope", "all").code == 2
    assert signed_in("tokens", "create", "ci", "--expires", "soon").code == 2


def serve_doctor(server: Server) -> None:
    server.outside("/healthz", {"alive": True})
    server.outside("/readyz", {"ready": True, "missing": {}})
    server.on("GET", "/me", ME)
    server.on("GET", "/schema", {"info": {"version": "1"}})
    server.page("/nodes", {"name": "n1", "live": True, "facts": {"version": "0.1.0"}})
    server.on("GET", WEB, {"path": "acme/web"})


def test_the_doctor_finds_nothing_wrong_where_all_is_well(server: Server, signed_in: Slipway):
    serve_doctor(server)
    done = signed_in("doctor", "--json")
    assert done.code == 0
    assert {line["status"] for line in done.json} == {"ok"}
    names = ["context", "server", "ready", "clock", "token", "version", "node", "project"]
    assert [line["name"] for line in done.json] == names


def test_the_doctor_names_what_is_wrong_and_ends_with_its_code(
    server: Server, signed_in: Slipway, monkeypatch: pytest.MonkeyPatch
):
    serve_doctor(server)
    server.on("GET", "/schema", {"info": {"version": "2"}})
    done = signed_in("doctor")
    assert (done.code, "version 2" in done.out) == (1, True)
    server.refuse("GET", "/me", 401, "TOKEN_EXPIRED")
    done = signed_in("doctor", "--json")
    assert (done.code, done.json[-1]["name"], done.json[-1]["status"]) == (4, "token", "bad")
    monkeypatch.setenv("SLIPWAY_URL", "http://127.0.0.1:1")
    done = signed_in("doctor", "--json")
    assert (done.code, done.json[-1]["name"], done.json[-1]["status"]) == (5, "server", "bad")
