"""Images between registries, projects and people, on a complete process set and Debian's registry."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.archives import E, tar
from tests.e2e.test_cli import ROOT, Slipway
from tests.registries import PASSWORD, USER, Asked, DebianRegistry, Door, Fault, debian_registry, door
from tests.rest import Problem, Rest, until
from tests.stacks import RunningStack

Unique = Callable[[str], str]
ENDED = ("succeeded", "failed", "cancelled")


@pytest.fixture(scope="module")
def upstream() -> Iterator[DebianRegistry]:
    with debian_registry() as running:
        yield running


@pytest.fixture
def watched(upstream: DebianRegistry) -> Iterator[Door]:
    """The upstream behind a door that counts who asks, and that can be shut."""
    with door(upstream.host) as watching:
        yield watching


@pytest.fixture
def slipway(stack: RunningStack, tmp_path: Path) -> Slipway:
    return Slipway(stack, tmp_path)


def finished(rest: Rest, job: dict[str, Any]) -> dict[str, Any]:
    path = f"/projects/{rest.project}/jobs/{job['id']}"

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = rest.call("GET", path)
        return found if found["state"] in ENDED else None

    return until(look, 60, f"{job['kind']} {job['subject']} has not ended")


def succeeded(rest: Rest, job: dict[str, Any]) -> dict[str, Any]:
    ended = finished(rest, job)
    assert ended["state"] == "succeeded", ended
    return ended


def pull(rest: Rest, reference: str, **more: Any) -> dict[str, Any]:
    asked = {"reference": reference, **more}
    return finished(rest, rest.call("POST", f"/projects/{rest.project}/images/pull", asked))


def push(rest: Rest, image: str, reference: str, **more: Any) -> dict[str, Any]:
    asked = {"reference": reference, **more}
    return succeeded(rest, rest.call("POST", f"/projects/{rest.project}/images/{image}/push", asked))


def output_of(rest: Rest, image: str, name: str) -> list[str]:
    rest.create(name, "sh", "-c", "echo from the registry", image=image)
    rest.wait(name)
    lines = rest.log(name)
    rest.call("DELETE", rest.containers(name))
    until(lambda: _is_gone(rest, name) or None, 20, f"{name} was not removed")
    return lines


def _is_gone(rest: Rest, name: str) -> bool:
    try:
        rest.inspect(name)
    except Problem as problem:
        return problem.status == 404
    return False


def test_what_one_project_pulled_the_next_has_without_asking_and_when_upstream_is_out(
    rest: Rest, neighbour: Rest, watched: Door, upstream: DebianRegistry, unique: Unique
) -> None:
    reference = f"{watched.host}/tools/{unique('box')}:1"
    pushed = push(rest, "busybox", reference)
    assert "uploaded" in pushed["detail"]
    assert {layer["state"] for layer in pushed["layers"]} <= {"done", "exists", "mounted"}

    first = pull(rest, reference)
    assert first["state"] == "succeeded", first
    assert {layer["state"] for layer in first["layers"]} <= {"done", "exists"}
    assert output_of(rest, reference, unique("run")) == ["from the registry"]
    image = rest.call("GET", f"/projects/{rest.project}/images/{reference}")
    assert image["digests"][0].startswith(f"{reference.rpartition(':')[0]}@sha256:")
    assert image["origins"][-1]["reference"] == reference

    asked = len(watched.asked)
    second = pull(neighbour, reference)
    assert (second["state"], len(watched.asked)) == ("succeeded", asked)
    assert {layer["state"] for layer in second["layers"]} == {"exists"}
    assert len(second["layers"]) == len(first["layers"])
    assert output_of(neighbour, reference, unique("run")) == ["from the registry"]

    back = f"{reference.rpartition(':')[0]}:2"
    again = push(neighbour, reference, back)
    assert "there already" in again["detail"]
    repository = back.partition("/")[2].removesuffix(":2")
    with urllib.request.urlopen(f"http://{upstream.host}/v2/{repository}/tags/list") as answer:
        assert sorted(json.load(answer)["tags"]) == ["1", "2"]

    limited = {"Content-Type": "application/json"}
    watched.plan = lambda asked: _fault(429, limited)
    third = pull(neighbour, reference, refresh=True)
    assert third["state"] == "succeeded", third
    assert third["detail"].startswith("Taken from the cache: ")
    origins = neighbour.call("GET", f"/projects/{neighbour.project}/images/{reference}")["origins"]
    assert next(origin["stale"] for origin in origins if origin["kind"] == "pull")
    unknown = pull(neighbour, f"{watched.host}/tools/never-seen:1")
    assert (unknown["state"], unknown["cause"]["code"]) == ("failed", "REGISTRY_LIMITED")


def _fault(status: int, headers: dict[str, str]) -> Fault:
    return Fault(status=status, headers=headers, body=b'{"errors":[{"code":"TOOMANYREQUESTS"}]}')


def test_an_account_opens_a_closed_registry_for_its_project_alone(
    rest: Rest, neighbour: Rest, unique: Unique
) -> None:
    with debian_registry(with_password=True) as closed:
        reference = f"{closed.host}/closed/{unique('box')}:1"
        account = f"/projects/{rest.project}/registry-credentials/{closed.host}"
        refused = pull(rest, reference)
        assert refused["state"] == "failed"
        rest.call("PUT", account, {"username": USER, "secret": "wrong"})
        assert "does not accept" in rest.call("POST", f"{account}/test", {})["test_error"]
        rest.call("PUT", account, {"username": USER, "secret": PASSWORD})
        assert rest.call("POST", f"{account}/test", {})["test_error"] == ""
        push(rest, "busybox", reference)
        assert pull(rest, reference)["state"] == "succeeded"
        theirs = pull(neighbour, reference)
        assert (theirs["state"], PASSWORD in json.dumps(theirs)) == ("failed", False)
        rest.call("DELETE", account)


def test_our_own_registry_needs_no_account_and_keeps_others_out(
    rest: Rest, neighbour: Rest, stack: RunningStack, unique: Unique
) -> None:
    name = unique("shop")
    port = stack.url.rstrip("/").rpartition(":")[2]
    pushed = push(rest, "busybox", f"{name}:1")
    reference = f"localhost:{port}/{rest.project}/{name}:1"
    assert pushed["subject"] == reference
    assert pull(rest, reference)["state"] == "succeeded"
    assert output_of(rest, reference, unique("run")) == ["from the registry"]
    found = rest.call("GET", f"/images/search?q={name}")["items"]
    assert {each["kind"] for each in found} == {"local", "repository"}
    stranger = robot_of(neighbour)
    with pytest.raises(Problem) as caught:
        pull(stranger, reference)
    assert caught.value.status == 404
    assert stranger.call("GET", f"/images/search?q={name}")["items"] == []


def robot_of(rest: Rest) -> Rest:
    """Somebody who sees nothing but that project: the administrator sees all."""
    asked = {"name": "e2e", "project": rest.project, "robot": True, "scopes": ["write"]}
    return Rest(rest.base.removesuffix("/api/v1"), rest.call("POST", "/tokens", asked)["token"], rest.project)


def test_names_and_removal_are_as_on_a_docker_host(
    slipway: Slipway, watched: Door, tmp_path: Path, unique: Unique
) -> None:
    own = imported(slipway, tmp_path, unique("own"))
    reference = f"{watched.host}/tools/{unique('box')}:1"
    assert slipway("push", own, reference).returncode == 0
    assert slipway("rmi", own).stdout.startswith("Deleted: sha256:")
    pulled = slipway("pull", reference)
    assert (pulled.returncode, pulled.stdout) == (0, f"{reference}\n"), pulled.stderr
    name, other = f"{unique('name')}:1", f"{unique('other')}:1"
    assert slipway("tag", reference, name).returncode == 0
    assert slipway("tag", name, other).returncode == 0
    assert slipway("rmi", other).stdout == f"Untagged: {other}\n"
    assert slipway("untag", reference).returncode == 0
    container = unique("uses")
    assert slipway("run", "-d", "--name", container, name, "/bin/busybox", "sleep", "600").returncode == 0
    refused = slipway("rmi", name)
    assert refused.returncode == 1
    assert "IMAGE_IN_USE" in refused.stderr
    assert container in refused.stderr
    assert slipway("rm", "-f", container).returncode == 0
    assert slipway("rmi", name).stdout.startswith("Deleted: sha256:")
    missing = slipway("run", name)
    assert (missing.returncode, "slipway pull" in missing.stderr) == (125, True)


def imported(slipway: Slipway, tmp_path: Path, name: str) -> str:
    """An image that nobody else has, in the project's list."""
    busybox = E("bin/busybox", data=Path("/bin/busybox").read_bytes(), mode=0o755)
    archive = tmp_path / f"{name}.tar"
    archive.write_bytes(tar([busybox, E("own", data=name.encode())]))
    done = slipway("import", str(archive), f"{name}:1", "--change", 'CMD ["/bin/busybox", "cat", "/own"]')
    assert done.returncode == 0, done.stderr
    return f"{name}:1"


@pytest.mark.parametrize("form", ["docker", "oci"])
def test_a_saved_image_is_loaded_again_as_it_was(
    slipway: Slipway, rest: Rest, tmp_path: Path, unique: Unique, form: str
) -> None:
    name = unique("saved")
    reference = imported(slipway, tmp_path, name)
    image = rest.call("GET", f"/projects/{rest.project}/images/{reference}")
    file = tmp_path / "image.tar"
    saved = slipway("save", reference, "-o", str(file), "--format", form)
    assert saved.returncode == 0, saved.stderr
    listing = subprocess.run(["tar", "-tf", file], capture_output=True, text=True, check=True).stdout
    assert {"docker": "manifest.json", "oci": "index.json"}[form] in listing.split()
    assert slipway("rmi", reference).returncode == 0
    loaded = slipway("load", "-i", str(file))
    assert loaded.returncode == 0, loaded.stderr
    back = rest.call("GET", f"/projects/{rest.project}/images/{reference}")
    assert back["id"] == image["id"]
    assert [each["diff_id"] for each in back["layers"]] == [each["diff_id"] for each in image["layers"]]
    assert slipway("run", "--rm", reference).stdout == name
    history = slipway("history", reference)
    assert (history.returncode, len(history.stdout.splitlines()) > 1) == (0, True)


def test_a_layer_is_seen_while_it_comes(
    slipway: Slipway, rest: Rest, watched: Door, tmp_path: Path, unique: Unique
) -> None:
    """By REST and on the terminal, between waiting and done: its other half comes when both have shown it."""
    name = imported(slipway, tmp_path, unique("live"))
    reference = f"{watched.host}/tools/{name}"
    push(rest, name, reference)
    config = rest.call("GET", f"/projects/{rest.project}/images/{name}")["id"]
    for each in (name, reference):
        slipway("rmi", each)
    both_saw = threading.Event()

    def plan(asked: Asked) -> Fault | None:
        is_layer = asked.method == "GET" and "/blobs/" in asked.path and config not in asked.path
        return Fault(hold=both_saw) if is_layer and not both_saw.is_set() else None

    watched.plan = plan
    with on_terminal(slipway, "pull", reference) as (process, screen):
        until(lambda: "downloading" in screen() or None, 40, f"the terminal shows no layer: {screen()}")

        def half() -> dict[str, Any] | None:
            jobs = rest.call("GET", f"/projects/{rest.project}/jobs")["items"]
            mine = next(job for job in jobs if job["kind"] == "image.pull")
            layers = rest.call("GET", f"/projects/{rest.project}/jobs/{mine['id']}")["layers"]
            return next((each for each in layers if 0 < each["done"] < each["total"]), None)

        assert until(half, 40, "REST tells of no layer under way")["state"] == "downloading"
        both_saw.set()
        assert process.wait(60) == 0, screen()
        until(lambda: re.search(r"[0-9a-f]{12} done", screen()), 10, f"no end of the layer: {screen()}")


@contextmanager
def on_terminal(
    slipway: Slipway, *arguments: str
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """The command with a terminal for its errors, and what that has shown so far."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    shown = bytearray()

    def screen() -> str:
        with suppress(BlockingIOError, OSError):
            while piece := os.read(ours, 1 << 16):
                shown.extend(piece)
        return shown.decode(errors="replace")

    process = subprocess.Popen(
        [ROOT / "bin" / "slipway", *arguments],
        env=slipway.environment | {"TERM": "xterm", "COLUMNS": "120"},
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        yield process, screen
    finally:
        process.kill()
        process.wait()
        os.close(ours)
