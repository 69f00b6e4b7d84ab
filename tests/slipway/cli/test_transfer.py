"""Images in and out, against a fake server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipway.cli.layers import SHOWN_MAX, pick, told
from tests.slipway.cli.conftest import Slipway
from tests.slipway.cli.rows import WEB, job
from tests.slipway.cli.server import Server, send_pieces

JOB = f"{WEB}/jobs/{'c' * 32}"
IMAGE_ID = f"sha256:{'a' * 64}"


def image(**more: Any) -> dict[str, Any]:
    row = {"id": IMAGE_ID, "references": ["web:1"], "size": 300, "project": "acme/web"}
    layer = {"diff_id": "sha256:l", "unpacked_size": 300}
    lines = [
        {"created": "2026-01-02T03:04:05Z", "created_by": "ADD rootfs", "comment": "", "diff_id": "sha256:l"},
        {"created": "nonsense", "created_by": "CMD sh", "comment": "c", "diff_id": None},
    ]
    return {**row, "layers": [layer], "history": lines, "created_at": "2026-01-02T03:04:05Z", **more}


def account(**more: Any) -> dict[str, Any]:
    row = {"host": "example.org", "username": "ada", "created_by": "mia", "used_at": None}
    return {**row, "tested_at": "2026-01-02T03:04:05Z", "test_error": "", **more}


def test_a_pull_is_followed_to_its_end_and_says_what_it_pulled(server: Server, signed_in: Slipway):
    server.on("POST", f"{WEB}/images/pull", job("queued", subject="busybox:1.36"), 202)
    stale = "Taken from the cache: docker.io does not answer."
    states = iter([job("running", layers=[]), job("succeeded", subject="busybox:1.36", detail=stale)])
    server.on("GET", JOB, lambda *_: next(states))
    done = signed_in("pull", "busybox:1.36", "--platform", "linux/arm64", "--refresh")
    assert (done.code, done.out, done.err) == (0, "busybox:1.36\n", f"{stale}\n")
    assert server.seen[0].json == {"reference": "busybox:1.36", "platform": "linux/arm64", "refresh": True}


def test_a_cached_pull_says_of_each_layer_that_it_is_there(
    server: Server, signed_in: Slipway, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = [
        {"digest": f"sha256:{each * 64}", "state": state, "done": 9, "total": 9}
        for each, state in (("a", "exists"), ("b", "exists"), ("c", "done"))
    ]
    lines = [f"{'a' * 12} there already", f"{'b' * 12} there already", f"{'c' * 12} done"]
    assert told(layers) == lines
    server.on("POST", f"{WEB}/images/pull", job("queued", subject="busybox:1"), 202)
    server.on("GET", JOB, job("succeeded", subject="busybox:1", layers=layers))
    assert "already" not in signed_in("pull", "busybox:1").err  # no terminal
    monkeypatch.setattr("slipway.cli.layers.is_watched", lambda quiet: not quiet)
    done = signed_in("pull", "busybox:1")
    assert done.out == "busybox:1\n"
    assert [line for line in done.err.splitlines() if line in lines] == lines


def test_a_pull_that_failed_is_a_failure_with_its_cause(server: Server, signed_in: Slipway):
    server.on("POST", f"{WEB}/images/pull", job("queued"), 202)
    cause = {"code": "UPSTREAM_LIMITED", "message": "docker.io lets us pull nothing for now.", "facts": {}}
    server.on("GET", JOB, job("failed", cause=cause, layers=[]))
    done = signed_in("pull", "busybox")
    assert (done.code, done.out, "UPSTREAM_LIMITED" in done.err) == (1, "", True)
    assert signed_in("pull", "-d", "busybox").out == f"{'c' * 32}\n"


def test_a_push_goes_where_it_is_told(server: Server, signed_in: Slipway):
    server.on("POST", f"{WEB}/images/team/web:1/push", job("queued", subject="example.org/a/web:1"), 202)
    server.on("GET", JOB, job("succeeded", subject="example.org/a/web:1", layers=[]))
    done = signed_in("push", "team/web:1", "example.org/a/web:1", "--compression", "zstd")
    assert (done.code, done.out) == (0, "example.org/a/web:1\n")
    assert server.seen[0].json == {"reference": "example.org/a/web:1", "compression": "zstd"}
    signed_in("push", "team/web:1")
    assert server.asked("POST", f"{WEB}/images/team/web:1/push")[-1].json == {"compression": "gzip"}


def test_names_are_given_and_taken_away(server: Server, signed_in: Slipway):
    server.on("POST", f"{WEB}/images/web:1/tag", image())
    server.on("POST", f"{WEB}/images/web:1/untag", image(references=[]))
    assert signed_in("tag", "web:1", "shop:2").code == 0
    assert server.seen[0].json == {"reference": "shop:2"}
    assert signed_in("untag", "web:1").out == "Untagged: web:1\n"


def test_rmi_takes_one_of_several_names_and_the_image_with_its_last(server: Server, signed_in: Slipway):
    server.on("GET", f"{WEB}/images/web:1", image(references=["web:1", "web:2"]))
    server.on("POST", f"{WEB}/images/web:1/untag", image(references=["web:2"]))
    server.on("GET", f"{WEB}/images/web:2", image(references=["web:2"]))
    server.on("GET", f"{WEB}/images/aaaaaa", image(references=["web:1", "web:2"]))
    server.on("DELETE", f"{WEB}/images/{IMAGE_ID}", job("queued"), 202)
    server.on("GET", JOB, job("succeeded"))
    assert signed_in("rmi", "web:1", "web:2").out == f"Untagged: web:1\nDeleted: {IMAGE_ID}\n"
    assert signed_in("rmi", "aaaaaa").out == f"Deleted: {IMAGE_ID}\n"
    detail = "The image is in use by container 'web'; remove or end what uses it first."
    server.refuse("DELETE", f"{WEB}/images/{IMAGE_ID}", 409, "IMAGE_IN_USE", detail)
    done = signed_in("rmi", "web:2")
    assert (done.code, "container 'web'" in done.err) == (1, True)


def test_a_saved_archive_is_whole_or_is_not_there(server: Server, signed_in: Slipway, tmp_path: Path):
    pieces = [bytes([number]) * 70_000 for number in range(5)]
    path = f"{WEB}/images/web:1/archive"
    server.on("GET", path, lambda _, handler: send_pieces(handler, pieces, whole=True))
    file = tmp_path / "web.tar"
    assert signed_in("save", "web:1", "-o", str(file), "--format", "oci").code == 0
    assert file.read_bytes() == b"".join(pieces)
    assert server.seen[0].query == {"format": "oci"}
    server.on("GET", path, lambda _, handler: send_pieces(handler, pieces, whole=False))
    done = signed_in("save", "web:1", "-o", str(tmp_path / "half.tar"))
    assert done.code == 5
    assert [each.name for each in tmp_path.glob("*.tar*")] == ["web.tar"]
    assert signed_in("save", "web:1", "-o", "/nonexistent/web.tar").code == 1


def test_load_is_an_import_with_the_archives_own_names(server: Server, signed_in: Slipway, tmp_path: Path):
    archive = tmp_path / "a.tar"
    archive.write_bytes(b"tar" * 100)
    server.on("POST", f"{WEB}/images", job("queued"), 202)
    server.on("GET", JOB, job("succeeded"))
    assert signed_in("load", "-i", str(archive)).out == "web:1\n"
    assert server.seen[0].query == {}


def test_a_search_shows_what_was_found_and_who_did_not_answer(server: Server, signed_in: Slipway):
    found = {"kind": "upstream", "reference": "busybox", "project": None, "description": "small", "stars": 5}
    server.on("GET", "/images/search", {"items": [found], "failures": ["example.org cannot be reached."]})
    done = signed_in("search", "busy", "box")
    assert done.out.splitlines()[1].split() == ["busybox", "upstream", "-", "5", "small"]
    assert done.err == "example.org cannot be reached.\n"
    signed_in("search", "--here", "web")
    assert server.seen[-1].query == {"q": "web", "project": "acme/web", "kind": "library"}


def test_a_history_tells_what_made_each_layer(server: Server, signed_in: Slipway):
    server.on("GET", f"{WEB}/images/web:1", image())
    first, second = signed_in("history", "web:1").out.splitlines()[1:]
    assert ("CMD sh" in first, "0 B" in first, first.startswith("- ")) == (True, True, True)
    assert ("ADD rootfs" in second, "300 B" in second) == (True, True)


def test_inspect_falls_back_to_an_image(server: Server, signed_in: Slipway):
    server.refuse("GET", f"{WEB}/containers/web:1", 404, "CONTAINER_UNKNOWN", "No such container.")
    server.on("GET", f"{WEB}/images/web:1", image())
    assert signed_in("inspect", "web:1").json["id"] == IMAGE_ID
    server.refuse("GET", f"{WEB}/images/web:1", 404, "IMAGE_UNKNOWN")
    done = signed_in("inspect", "web:1")
    assert (done.code, "CONTAINER_UNKNOWN" in done.err) == (3, True)


def test_an_account_is_kept_and_tested_and_its_password_comes_from_stdin(
    server: Server, signed_in: Slipway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "password").write_text("s3cret\n")
    path = f"{WEB}/registry-credentials/example.org:5000"
    server.on("PUT", path, account())
    server.on("POST", f"{path}/test", account())
    with (tmp_path / "password").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        done = signed_in("registry", "login", "https://example.org:5000/v2/", "-u", "ada", "--password-stdin")
    assert (done.code, done.out) == (0, "ada is let in at example.org.\n")
    assert server.seen[0].json == {"username": "ada", "secret": "s3cret"}
    server.on("POST", f"{path}/test", account(test_error="It says no."))
    done = signed_in("registry", "test", "example.org:5000")
    assert (done.code, "It says no." in done.err) == (1, True)
    server.on("DELETE", path, {})
    assert signed_in("registry", "logout", "example.org:5000").code == 0
    server.page(f"{WEB}/registry-credentials", account(test_error="It says no."), account(tested_at=None))
    first, second = signed_in("registry", "list").out.splitlines()[1:]
    assert ("It says no." in first, "never" in second) == (True, True)


def test_of_many_layers_those_under_way_are_shown():
    layers = [{"digest": str(number), "state": "done"} for number in range(30)]
    assert pick(layers[:5]) == layers[:5]
    layers[20]["state"], layers[3]["state"] = "downloading", "waiting"
    assert [each["digest"] for each in pick(layers)] == ["20", "3"]
    assert len(pick([{"digest": "x", "state": "waiting"}] * 50)) == SHOWN_MAX
