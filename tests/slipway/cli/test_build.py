"""`build` and `builds` against a fake server."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from slipway.cli.building import Plain
from tests.slipway.cli.conftest import Slipway
from tests.slipway.cli.rows import WEB, job
from tests.slipway.cli.server import Server, send, send_pieces

CONTEXT = "c" * 64


def build(state: str = "queued", **fields: Any) -> dict[str, Any]:
    row = {
        "number": 7,
        "title": "web:latest",
        "state": state,
        "cancelling": False,
        "position": None,
        "waits_for": "",
        "cause": None,
        "image": "sha256:" + "a" * 64 if state == "succeeded" else "",
        "tags": ["web:latest"],
        "dockerfile": "Dockerfile",
        "created_by": "mia",
        "created_at": "2026-11-20T10:00:00Z",
        "started_at": None if state == "queued" else "2026-11-20T10:00:01Z",
        "ended_at": None,
        "steps": [],
        "notes": [],
        "warnings": [],
        "options": {},
    }
    return row | fields


def step(number: int, state: str, **fields: Any) -> dict[str, Any]:
    row = {
        "id": number,
        "name": f"[{number}/2] RUN it",
        "state": state,
        "seconds": 1.25,
        "reason": "",
        "progress": "",
    }
    return row | fields


def entry(position: int, text: str, stream: str = "2:stdout") -> bytes:
    row = {"position": position, "next": position + 1, "time": "2026-11-20T10:00:02Z", "stream": stream}
    return json.dumps({**row, "text": text, "whole": True}).encode() + b"\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "shop"
    (root / "src").mkdir(parents=True)
    (root / "Dockerfile").write_text("FROM busybox\nCOPY . .\nRUN false\n")
    (root / ".dockerignore").write_text("*.log\nnode_modules\n")
    (root / "src" / "main.py").write_text("print(1)\n")
    (root / "huge.log").write_text("no")
    (root / "node_modules" / "left-pad").mkdir(parents=True)
    (root / "node_modules" / "left-pad" / "index.js").write_text("no")
    os.symlink("src/main.py", root / "link")
    os.utime(root / "src" / "main.py", (1000, 1000))
    return root


def key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def serve(server: Server, states: list[dict[str, Any]], missing: list[str]) -> None:
    told = {"context": CONTEXT, "missing": missing, "missing_bytes": 1, "entries": 1, "size": 1}
    server.on("POST", f"{WEB}/builds/contexts", told)
    server.on("POST", f"{WEB}/builds/contexts/{CONTEXT}", {"taken": len(missing)})
    server.on("POST", f"{WEB}/builds", build(), 202)
    left = iter(states)
    server.on("GET", f"{WEB}/builds/7", lambda *_: next(left, states[-1]))
    server.on("GET", f"{WEB}/builds/7/logs", pieces())


def bodies(server: Server, path: str) -> list[bytes]:
    return [asked.body for asked in server.asked("POST", path)]


def pieces(*found: bytes) -> Any:
    return lambda _, handler: send_pieces(handler, list(found), whole=True)


def test_a_folder_is_told_and_what_is_missing_is_sent(server: Server, signed_in: Slipway, folder: Path):
    serve(server, [build("succeeded")], [key("print(1)\n")])
    done = signed_in("build", str(folder), "-t", "web", "--build-arg", "A=1", "--progress", "plain")
    assert (done.code, done.out) == (0, f"sha256:{'a' * 64}\n")
    (manifest,) = bodies(server, f"{WEB}/builds/contexts")
    lines = [json.loads(line) for line in manifest.splitlines()]
    assert [line["p"] for line in lines] == [".dockerignore", "Dockerfile", "link", "src", "src/main.py"]
    assert lines[2] | {"m": 0, "d": 0} == {"p": "link", "m": 0, "d": 0, "t": "l", "l": "src/main.py"}
    main = {
        "p": "src/main.py",
        "m": 0,
        "d": 1000,
        "t": "f",
        "s": 9,
        "h": key("print(1)\n"),
    }
    assert lines[4] | {"m": 0} == main
    contents = f"{main['h']} 9\nprint(1)\n".encode()
    assert bodies(server, f"{WEB}/builds/contexts/{CONTEXT}") == [contents]
    (asked,) = bodies(server, f"{WEB}/builds")
    assert json.loads(asked) == {
        "tags": ["web"],
        "args": {"A": "1"},
        "network": "default",
        "dockerfile": "Dockerfile",
        "name": "shop",
        "context": CONTEXT,
    }


def test_nothing_is_sent_of_an_unchanged_folder(server: Server, signed_in: Slipway, folder: Path):
    serve(server, [build("succeeded")], [])
    assert signed_in("build", str(folder)).code == 0
    assert bodies(server, f"{WEB}/builds/contexts/{CONTEXT}") == []


def test_what_the_node_lost_meanwhile_is_sent_once_more(server: Server, signed_in: Slipway, folder: Path):
    serve(server, [build("succeeded")], [])
    answers = iter([({"code": "CONTEXT_INCOMPLETE", "detail": "Gone."}, 409), (build(), 202)])
    server.on("POST", f"{WEB}/builds", lambda _, handler: send(handler, *next(answers)))
    assert signed_in("build", str(folder), "--quiet").code == 0
    assert len(bodies(server, f"{WEB}/builds/contexts")) == 2


def test_a_dockerfile_outside_or_left_out_is_sent_as_text(
    server: Server, signed_in: Slipway, folder: Path, tmp_path: Path
):
    serve(server, [build("succeeded")], [])
    (tmp_path / "other").write_text("FROM scratch\n")
    assert signed_in("build", str(folder), "-f", str(tmp_path / "other")).code == 0
    (folder / ".dockerignore").write_text("Dockerfile\n")
    assert signed_in("build", str(folder)).code == 0
    outside, left_out = (json.loads(each) for each in bodies(server, f"{WEB}/builds"))
    assert (outside["dockerfile_text"], "dockerfile" in outside) == ("FROM scratch\n", False)
    assert (left_out["dockerfile_text"][:12], "dockerfile" in left_out) == ("FROM busybox", False)


def test_a_folder_without_a_dockerfile_is_proposed_one(server: Server, signed_in: Slipway, tmp_path: Path):
    facts = {"file": "Dockerfile", "title": "Flask with pip", "proposal": "FROM python\nCMD flask\n"}
    cause = {"code": "DOCKERFILE_MISSING", "message": "no such file", "facts": facts}
    serve(server, [build("failed", cause=cause)], [])
    done = signed_in("build", str(tmp_path))
    assert (done.code, done.out) == (1, "")
    assert "this looks like Flask with pip" in done.err
    assert "FROM python\nCMD flask\n" in done.err
    done = signed_in("build", str(tmp_path), "--propose")
    assert (done.code, done.out) == (0, "FROM python\nCMD flask\n")


def test_a_repository_is_named(server: Server, signed_in: Slipway):
    serve(server, [build("succeeded")], [])
    assert signed_in("build", "https://example.org/a.git#main:sub", "--target", "web", "--no-cache").code == 0
    (asked,) = bodies(server, f"{WEB}/builds")
    assert json.loads(asked) == {
        "remote": "https://example.org/a.git#main:sub",
        "dockerfile": "Dockerfile",
        "target": "web",
        "no_cache": True,
        "network": "default",
    }


def test_secrets_come_from_files_and_variables(
    server: Server, signed_in: Slipway, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    serve(server, [build("succeeded")], [])
    (tmp_path / "key").write_text("from a file")
    monkeypatch.setenv("TOKEN", "from a variable")
    given = ("--secret", f"id=key,src={tmp_path / 'key'}", "--secret", "id=token,env=TOKEN")
    assert signed_in("build", str(folder), *given).code == 0
    (asked,) = bodies(server, f"{WEB}/builds")
    assert json.loads(asked)["secrets"] == {"key": "from a file", "token": "from a variable"}
    assert signed_in("build", str(folder), "--secret", "id=x,env=UNSET_HERE").code == 2


def test_a_build_is_pushed_under_each_name(server: Server, signed_in: Slipway, folder: Path):
    serve(server, [build("succeeded", tags=["web:1", "example.org/a/web:1"])], [])
    for number, name in enumerate(("web:1", "example.org/a/web:1")):
        row = job("queued" if number else "succeeded", id=f"job{number}", subject=name)
        server.on("POST", f"{WEB}/images/{name}/push", row, 202)
        server.on("GET", f"{WEB}/jobs/job{number}", job("succeeded", id=f"job{number}", subject=name))
    done = signed_in("build", str(folder), "-t", "web:1", "-t", "example.org/a/web:1", "--push")
    assert (done.code, done.out.startswith("sha256:")) == (0, True)
    assert done.err.splitlines()[-2:] == ["Pushed web:1", "Pushed example.org/a/web:1"]
    for more in ((), ("-t", "web:1", "-o", "out"), ("-t", "web:1", "--detach")):
        assert signed_in("build", str(folder), "--push", *more).code == 2


def test_a_build_whose_push_fails_fails(server: Server, signed_in: Slipway, folder: Path):
    serve(server, [build("succeeded", tags=["web:1"])], [])
    cause = {"code": "REGISTRY_DENIED", "message": "no", "facts": {}}
    server.on("POST", f"{WEB}/images/web:1/push", job("failed", subject="web:1", cause=cause), 202)
    server.on("GET", f"{WEB}/jobs/{job('failed')['id']}", job("failed", subject="web:1", cause=cause))
    assert signed_in("build", str(folder), "-t", "web:1", "--push").code == 1


def test_keys_for_ssh_are_files_and_no_agents(
    server: Server, signed_in: Slipway, folder: Path, tmp_path: Path
):
    serve(server, [build("succeeded")], [])
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
    (tmp_path / "one").write_text(key)
    (tmp_path / "two").write_text(key.strip())
    (tmp_path / "one.pub").write_text("ssh-ed25519 AAAA me")
    pair = f"git={tmp_path / 'one'},{tmp_path / 'two'}"
    assert signed_in("build", str(folder), "--ssh", pair, "--ssh", f"default={tmp_path / 'one'}").code == 0
    (asked,) = bodies(server, f"{WEB}/builds")
    assert json.loads(asked)["ssh"] == {"git": key * 2, "default": key}
    for given, why in (("default", "no agent of"), (f"default={tmp_path / 'one.pub'}", "no private key")):
        refused = signed_in("build", str(folder), "--ssh", given)
        assert (refused.code, why in " ".join(refused.err.split())) == (2, True)
    assert signed_in("build", str(folder), "--ssh", f"default={tmp_path / 'none'}").code != 0


def test_plain_lines_tell_steps_and_what_they_write(server: Server, signed_in: Slipway, folder: Path):
    waiting = build(position=2, waits_for="slot")
    running = build("building", steps=[step(1, "cached"), step(2, "running", reason="COPY has changed.")])
    ended = build("succeeded", steps=[step(1, "cached"), step(2, "done")])
    serve(server, [waiting, running, ended], [])
    lines = [entry(0, "\x1b[32mhello\x1b[0m"), entry(1, "half\rwhole", "2:stderr")]
    log = f"{WEB}/builds/7/logs"
    server.on(
        "GET",
        log,
        lambda asked, handler: send_pieces(
            handler, lines if asked.query["position"] == "0" else [], whole=True
        ),
    )
    done = signed_in("build", str(folder), "--progress", "plain")
    assert done.code == 0
    assert done.err.splitlines() == [
        "Waiting: number 2 in the queue; a slot must become free",
        "#1 [1/2] RUN it",
        "#2 [2/2] RUN it",
        "#2 COPY has changed.",
        "#2 hello",
        "#2 whole",
        "#1 CACHED",
        "#2 DONE 1.2s",
        "Named web:latest",
    ]


def test_a_failed_build_shows_its_line_and_ends_with_1(server: Server, signed_in: Slipway, folder: Path):
    cause = {"code": "BUILD_STEP_FAILED", "message": "RUN false: exit code 1", "facts": {"line": 3}}
    serve(server, [build("failed", cause=cause, steps=[step(2, "failed", reason="exit code 1")])], [])
    done = signed_in("build", str(folder), "--progress", "plain")
    assert (done.code, done.out) == (1, "")
    assert "Dockerfile:3\n" in done.err
    assert "   3 | >>> RUN false\n" in done.err
    assert "^" not in done.err
    assert "RUN false: exit code 1 (BUILD_STEP_FAILED)" in done.err


def test_ctrl_c_cancels_the_build(
    server: Server, signed_in: Slipway, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    serve(server, [build("building"), build("cancelled")], [])
    server.on("POST", f"{WEB}/builds/7/cancel", build("building", cancelling=True), 202)

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("slipway.cli.building.time.sleep", interrupt)
    done = signed_in("build", str(folder), "--progress", "plain")
    assert (done.code, "BUILD_CANCELLED" in done.err) == (130, True)
    assert len(server.asked("POST", f"{WEB}/builds/7/cancel")) == 1


def test_files_are_written_below_a_directory_and_not_beside_it(
    server: Server, signed_in: Slipway, folder: Path, tmp_path: Path
):
    serve(server, [build("succeeded")], [])
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo("bin/app")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"app"))
        again = tarfile.TarInfo("bin/again")
        again.type, again.linkname = tarfile.LNKTYPE, "bin/app"
        archive.addfile(again)
    server.on("GET", f"{WEB}/builds/7/output", pieces(packed.getvalue()))
    out = tmp_path / "out"
    assert signed_in("build", str(folder), "-o", str(out)).code == 0
    assert (out / "bin" / "app").read_bytes() == b"app"
    assert (out / "bin" / "again").read_bytes() == b"app"


@pytest.mark.parametrize("names", [["../escaped"], ["/escaped"], ["a/../../escaped"], ["way", "way/escaped"]])
def test_what_would_leave_the_directory_is_refused(
    server: Server, signed_in: Slipway, folder: Path, tmp_path: Path, names: list[str]
):
    serve(server, [build("succeeded")], [])
    hostile = io.BytesIO()
    with tarfile.open(fileobj=hostile, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            if name == "way":
                info.type, info.linkname = tarfile.SYMTYPE, str(tmp_path)
            archive.addfile(info)
    server.on("GET", f"{WEB}/builds/7/output", pieces(hostile.getvalue()))
    done = signed_in("build", str(folder), "-o", str(tmp_path / "out"))
    assert (done.code, "ARCHIVE_INVALID" in done.err) == (1, True)
    assert not (tmp_path / "escaped").exists()


def test_a_terminal_is_drawn(folder: Path):
    from rich.console import Console
    from rich.live import Live

    from slipway.cli.following import Entry
    from slipway.cli.screen import Screen

    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24, color_system=None)
    with Live(console=console, auto_refresh=False) as live:
        screen = Screen(live, console)
        lines = [Entry(0, 1, "", "2:stdout", "\x1b[31mcompiling\x1b[0m", True)]
        screen.show(build("building", steps=[step(1, "cached"), step(2, "running")]), lines)
    drawn = out.getvalue()
    assert "Build #7 web:latest  building 1/2" in drawn
    assert "[1/2] RUN it  cached" in drawn
    assert "    compiling" in drawn


def test_builds_are_listed_shown_and_repeated(
    server: Server, signed_in: Slipway, monkeypatch: pytest.MonkeyPatch
):
    queued = build(position=3, waits_for="slot")
    server.on("GET", f"{WEB}/builds", {"items": [queued, build("succeeded", number=6)], "next": None})
    listed = signed_in("builds").out
    assert "queued (waits for slot, number 3)" in listed
    server.on("GET", f"{WEB}/builds/7", build("succeeded", steps=[step(1, "done")]))
    shown = signed_in("builds", "show", "7").out
    assert "1.2 s" in shown
    server.on("POST", f"{WEB}/builds/7/retry", build(number=8), 202)
    assert signed_in("builds", "retry", "7", "--no-cache").out == "8\n"
    assert json.loads(server.seen[-1].body) == {"no_cache": True, "secrets": {}}
    lib = "https://me:word@example.org/lib.git"
    given = ("--build-context", f"lib={lib}", "--password-stdin")
    monkeypatch.setattr("sys.stdin", io.StringIO("word\n"))
    assert signed_in("builds", "retry", "7", *given).out == "8\n"
    assert json.loads(bodies(server, f"{WEB}/builds/7/retry")[-1]) == {
        "no_cache": False, "secrets": {}, "contexts": {"lib": lib}, "password": "word",
    }  # fmt: skip
    server.on(
        "GET",
        f"{WEB}/builds/7/logs",
        pieces(entry(0, "hello"), entry(1, "bad", "2:stderr")),
    )
    done = signed_in("builds", "logs", "7")
    assert (done.out, done.err) == ("hello\n", "bad\n")
    server.on("POST", f"{WEB}/builds/7/cancel", build("building", cancelling=True), 202)
    assert signed_in("builds", "cancel", "7").out == "Being cancelled.\n"


def test_plain_lines_say_now_and_then_how_far_a_transfer_is() -> None:
    said: list[str] = []
    times = iter([0.0, 0.5, 3.0, 6.0, 9.0])
    plain = Plain(said.append, lambda: next(times))
    for progress in ("1 of 9 MB", "2 of 9 MB", "5 of 9 MB", "5 of 9 MB"):
        pulling = step(1, "running") | {"name": "pulling debian:12", "progress": progress}
        plain.show(build("building", steps=[pulling]), [])
    assert said == ["#1 pulling debian:12", "#1 1 of 9 MB", "#1 5 of 9 MB"]
    kept = build("succeeded", steps=[step(1, "done") | {"progress": "9 of 9 MB"}], steps_total=4000)
    plain.show(kept, [])
    assert said[3:] == ["#1 DONE 1.2s", "… and 3999 steps more, which are not kept"]
