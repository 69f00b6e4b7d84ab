"""Bad input: each a specific error, nothing half-done."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from tests.rest import Problem, Rest, until
from tests.stacks import RunningStack


def _tar(*entries: tuple[str, bytes, str, bytes]) -> bytes:
    """A tar of (name, type, link target, content)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind, target, content in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size, info.mode = kind, target, len(content), 0o755
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _import(rest: Rest, archive: bytes) -> dict[str, Any]:
    """The job of an import once it has ended."""
    path = f"/projects/{rest.project}/images?name=evil&tag=1"
    job = rest.send("POST", path, archive, **{"Content-Type": "application/x-tar"})
    href = f"/projects/{rest.project}/jobs/{json.loads(job)['id']}"

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = rest.call("GET", href)
        return found if found["state"] in ("succeeded", "failed", "cancelled") else None

    return until(ended, 30, "the import did not end")


FILE, SYMLINK, HARD_LINK, DEVICE = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE
BROKEN_OUT = {
    "parent": _tar(("../escaped", FILE, "", b"x")),
    "symlink": _tar(("a", SYMLINK, "/etc", b""), ("a/escaped", FILE, "", b"x")),
    "hard link": _tar(("h", HARD_LINK, "../../etc/passwd", b"")),
    "device": _tar(("disk", DEVICE, "", b"")),
    "truncated": _tar(("big", FILE, "", bytes(100_000)))[:50_000],
    "noise": b"this is no archive" * 100,
}


@pytest.mark.parametrize("trick", sorted(BROKEN_OUT))
def test_a_hostile_archive_fails_its_job_with_the_reason(rest: Rest, trick: str) -> None:
    job = _import(rest, BROKEN_OUT[trick])
    assert job["state"] == "failed"
    assert job["cause"]["code"] == "ARCHIVE_INVALID"
    assert "evil" not in str(rest.call("GET", f"/projects/{rest.project}/images"))


def test_an_unknown_image_is_named(rest: Rest, unique: Callable[[str], str]) -> None:
    with pytest.raises(Problem, match="no-such-image") as caught:
        rest.create(unique("x"), "true", image="no-such-image")
    assert (caught.value.status, caught.value.code) == (404, "IMAGE_UNKNOWN")


@pytest.mark.parametrize(
    ("command", "exit_code", "code"),
    [("no-such-program", 127, "COMMAND_NOT_FOUND"), ("/etc/passwd", 126, "COMMAND_NOT_EXECUTABLE")],
)
def test_a_command_that_cannot_start_has_the_shells_code(
    rest: Rest, unique: Callable[[str], str], command: str, exit_code: int, code: str
) -> None:
    name = unique("broken")
    rest.create(name, command)
    found = until(lambda: _failed(rest, name), 15, "no failure")
    assert (found["state"], found["exit_code"], found["cause"]["code"]) == ("created", exit_code, code)
    assert command in found["cause"]["message"]


def _failed(rest: Rest, name: str) -> dict[str, Any] | None:
    found = rest.inspect(name)
    return found if found["cause"] else None


def test_a_huge_environment_is_refused_with_its_size(rest: Rest, unique: Callable[[str], str]) -> None:
    name = unique("huge")
    with pytest.raises(Problem) as caught:
        rest.create(name, "true", env=[f"BIG={'x' * (1 << 20)}"])
    assert caught.value.status in (400, 413, 422)
    with pytest.raises(Problem) as missing:
        rest.inspect(name)
    assert missing.value.status == 404


def test_a_taken_name_is_a_conflict(rest: Rest, unique: Callable[[str], str]) -> None:
    name = unique("twin")
    body = {"name": name, "image": "busybox", "command": ["true"], "start": False}
    rest.call("POST", rest.containers(), body)
    with pytest.raises(Problem, match=name) as caught:
        rest.call("POST", rest.containers(), body)
    assert (caught.value.status, caught.value.code) == (409, "NAME_TAKEN")


def test_another_tenants_container_does_not_exist(
    rest: Rest, neighbour: Rest, unique: Callable[[str], str]
) -> None:
    name = unique("private")
    rest.create(name, "true", start=False)
    with pytest.raises(Problem) as caught:
        neighbour.inspect(name)
    assert caught.value.status == 404


def test_a_wrong_token_is_refused(stack: RunningStack) -> None:
    with pytest.raises(Problem) as caught:
        Rest(stack.url, "slp_nonsense", stack.project).call("GET", "/me")
    assert caught.value.status == 401
