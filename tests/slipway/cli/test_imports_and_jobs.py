"""`import` and `jobs` against a fake server."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.slipway.cli.conftest import Slipway
from tests.slipway.cli.rows import WEB, job
from tests.slipway.cli.server import Server, send_pieces


def test_an_archive_is_uploaded_as_it_is_and_its_job_followed(
    server: Server, signed_in: Slipway, tmp_path: Path
):
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(gzip.compress(bytes(3 << 20), 0))
    server.on("POST", f"{WEB}/images", job("queued"), 202)
    states = iter([job("queued"), job("running", done=1, total=2), job("succeeded")])
    server.on("GET", f"{WEB}/jobs/{'c' * 32}", lambda *_: next(states))
    done = signed_in("import", str(archive), "host:5000/web:1", "-c", "CMD a", "-c", "USER b")
    assert (done.code, done.out) == (0, "web:1\n")
    asked = server.seen[0]
    assert asked.body == archive.read_bytes()
    assert asked.headers["content-type"] == "application/gzip"
    assert (asked.query["name"], asked.query["tag"], asked.query["change"]) == (
        "host:5000/web",
        "1",
        "USER b",
    )


def test_an_archive_of_unknown_size_is_uploaded_in_chunks(
    server: Server, signed_in: Slipway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "a.tar").write_bytes(b"plain" * 1_000_000)
    server.on("POST", f"{WEB}/images", job("queued"), 202)
    with (tmp_path / "a.tar").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert signed_in("import", "-d", "-").out == f"{'c' * 32}\n"
    assert server.seen[0].body == b"plain" * 1_000_000
    assert "content-length" not in server.seen[0].headers


def test_the_reason_of_a_server_that_refuses_an_upload_early_is_told(
    server: Server, signed_in: Slipway, tmp_path: Path
):
    archive = tmp_path / "a.tar"
    archive.write_bytes(bytes(1 << 20))
    server.refuse("POST", f"{WEB}/images", 403, "NOT_ALLOWED", "Viewers import nothing.")
    done = signed_in("import", str(archive))
    assert (done.code, "Viewers import nothing." in done.err) == (4, True)


def test_a_failed_job_is_a_failure_with_its_cause(server: Server, signed_in: Slipway):
    cause = {"code": "ARCHIVE_INVALID", "message": "It is cut off."}
    server.on("GET", f"{WEB}/jobs/{'c' * 32}", job("failed", cause=cause))
    done = signed_in("jobs", "follow", "c" * 32)
    assert (done.code, done.out, "ARCHIVE_INVALID" in done.err) == (1, "failed\n", True)


def test_a_job_is_found_by_the_beginning_of_its_id(server: Server, signed_in: Slipway):
    server.page(f"{WEB}/jobs", job("queued"), job("queued", id="d" * 32))
    server.on("GET", f"{WEB}/jobs/{'d' * 32}", job("running", id="d" * 32))
    server.on("POST", f"{WEB}/jobs/{'d' * 32}/cancel", job("cancelled"))
    assert signed_in("jobs", "show", "dddddd", "--json").json["state"] == "running"
    assert signed_in("jobs", "cancel", "dddddd").out == "cancelled\n"


def test_what_a_job_wrote_is_printed_its_complaints_apart(server: Server, signed_in: Slipway):
    server.page(f"{WEB}/jobs", job("running", id="d" * 32))
    row = {"position": 0, "next": 10, "time": "t", "stream": "stdout", "text": "unpacking", "whole": True}
    wrong = row | {"position": 10, "next": 20, "stream": "3:stderr", "text": "W: old"}
    written = b"".join(json.dumps(each).encode() + b"\n" for each in (row, wrong))
    server.on(
        "GET", f"{WEB}/jobs/{'d' * 32}/logs", lambda _, handler: send_pieces(handler, [written], whole=True)
    )
    done = signed_in("jobs", "logs", "-f", "dddddd")
    assert (done.code, done.out, done.err) == (0, "unpacking\n", "W: old\n")
    assert server.seen[-1].query["follow"] == "true"


def test_a_queued_job_says_what_it_waits_for(server: Server, signed_in: Slipway):
    server.page(f"{WEB}/jobs", job("queued", waits_for="slot", position=2), job("running", cancelling=True))
    _, first, second = signed_in("jobs").out.splitlines()
    assert "queued (waits for slot, number 2)" in first
    assert "cancelling" in second


def test_a_server_that_cannot_cancel_is_told_apart_from_an_unknown_job(server: Server, signed_in: Slipway):
    assert signed_in("jobs", "cancel", "c" * 32).code == 3
    server.on("GET", f"{WEB}/jobs/{'c' * 32}", job("running"))
    done = signed_in("jobs", "cancel", "c" * 32)
    assert (done.code, "NOT_SUPPORTED" in done.err) == (1, True)
