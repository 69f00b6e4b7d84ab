"""Builds and registries, our own and Debian's: bases, caches and provenance go through them."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.e2e.test_builds import ask, ended
from tests.e2e.test_cli import Slipway
from tests.e2e.test_transfer import push, robot_of
from tests.registries import DebianRegistry, debian_registry
from tests.rest import Rest
from tests.stacks import RunningStack

pytestmark = pytest.mark.e2e
IN_TOTO = "application/vnd.in-toto+json"
INDEX = "application/vnd.oci.image.index.v1+json"
Unique = Callable[[str], str]


@pytest.fixture(scope="module")
def debian() -> Iterator[DebianRegistry]:
    with debian_registry() as running:
        yield running


@pytest.fixture
def own(stack: RunningStack, rest: Rest) -> str:
    """Where the project's repositories are, as its people name them."""
    return f"localhost:{urlsplit(stack.url).port}/{rest.project}"


@pytest.fixture
def places(own: str, debian: DebianRegistry) -> dict[str, str]:
    return {"own": own, "debian": f"{debian.host}/caches"}


def built(rest: Rest, text: str, **options: Any) -> dict[str, Any]:
    build = ended(rest, ask(rest, text, **options))
    assert build["state"] == "succeeded", build["cause"]
    return build


def steps(build: dict[str, Any], *words: str) -> list[str]:
    return [step["state"] for step in build["steps"] if any(f"] {word} " in step["name"] for word in words)]


def fetched(url: str, accept: str = "*/*", token: str = "") -> Any:
    headers = {"Accept": accept, **({"Authorization": f"Bearer {token}"} if token else {})}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
        return json.load(answer)


# --------------------------------------------------------------------------- provenance


def test_a_built_image_is_pushed_with_its_provenance_as_a_referrer(
    rest: Rest, stack: RunningStack, unique: Unique
) -> None:
    name, url = unique("signed"), stack.url.rstrip("/")
    build = built(rest, f"FROM busybox\nARG V\nRUN echo {name}\n", tags=[name], args={"V": "not for all"})
    job = push(rest, name, f"{name}:1")
    repository = f"/projects/{rest.project}/repositories/{name}"
    [tag] = rest.call("GET", f"{repository}/tags")["items"]
    manifest = rest.call("GET", f"{repository}/manifests/{tag['digest']}")
    assert len(manifest["referrers"]) == 1, job
    rest.call("PATCH", repository, {"visibility": "public"})
    path = f"{rest.project}/{name}"
    token = fetched(f"{url}/auth/token?scope=repository:{path}:pull")["token"]
    index = fetched(f"{url}/v2/{path}/referrers/{tag['digest']}?artifactType={quote(IN_TOTO)}", token=token)
    [entry] = index["manifests"]
    assert (entry["digest"], entry["artifactType"]) == (manifest["referrers"][0], IN_TOTO)
    artifact = fetched(f"{url}/v2/{path}/manifests/{entry['digest']}", entry["mediaType"], token)
    said = fetched(f"{url}/v2/{path}/blobs/{artifact['layers'][0]['digest']}", token=token)
    assert said["subject"][0]["digest"] == {"sha256": tag["digest"].partition(":")[2]}
    assert said["predicate"]["runDetails"]["metadata"]["invocationId"] == build["id"].replace("-", "")
    assert "not for all" not in json.dumps(said)
    assert [each["name"] for each in rest.call("GET", f"{repository}/tags")["items"]] == ["1"]


def test_the_command_pushes_and_a_registry_without_the_api_gets_the_tag_in_its_place(
    stack: RunningStack, tmp_path: Path, debian: DebianRegistry, unique: Unique
) -> None:
    name = unique("signed")
    text = f"FROM busybox\nRUN echo {name}\n"
    reference = f"{debian.host}/team/{name}:1"
    done = Slipway(stack, tmp_path)("build", "-", "-t", reference, "--push", given=text)
    assert (done.returncode, f"Pushed {reference}" in done.stderr) == (0, True), done.stderr
    tags = fetched(f"http://{debian.host}/v2/team/{name}/tags/list")["tags"]
    assert "1" in tags
    [listing] = [tag for tag in tags if tag.startswith("sha256-")]
    index = fetched(f"http://{debian.host}/v2/team/{name}/manifests/{listing}", INDEX)
    assert [each["artifactType"] for each in index["manifests"]] == [IN_TOTO]


# --------------------------------------------------------------------------- caches and bases


@pytest.mark.parametrize("place", ["own", "debian"])
def test_a_whole_cache_goes_through_a_registry(
    rest: Rest, neighbour: Rest, places: dict[str, str], unique: Unique, place: str
) -> None:
    """The neighbour's cache is empty: what hits came by the registry."""
    word = unique("whole")
    text = (
        f"FROM busybox AS tool\nRUN echo {word} > /t\nFROM busybox\nWORKDIR /{word}\nRUN echo {word} > /one\n"
        "COPY --from=tool /t /t\n"
    )
    target = f"{places[place]}/{word}:cache"
    first = built(rest, text, cache_to=[f"type=registry,ref={target},mode=max"])
    assert (first["warnings"], set(steps(first, "RUN", "COPY", "WORKDIR"))) == ([], {"done"})
    again = built(neighbour, text, cache_from=[f"type=registry,ref={target}"])
    assert again["warnings"] == []
    assert steps(again, "RUN", "COPY", "WORKDIR") == ["cached"] * 4
    assert again["image"] == first["image"]


@pytest.mark.parametrize("place", ["own", "debian"])
def test_an_image_carries_its_cache_and_is_a_base(
    rest: Rest, neighbour: Rest, places: dict[str, str], unique: Unique, place: str
) -> None:
    word = unique("inline")
    text = f"FROM busybox\nRUN echo {word} > /one\nRUN echo two > /two\n"
    first = built(rest, text, tags=[f"{word}:1"], cache_to=["type=inline"])
    reference = f"{places[place]}/{word}:1"
    push(rest, f"{word}:1", reference)
    again = built(neighbour, text, cache_from=[reference])
    assert (again["warnings"], steps(again, "RUN")) == ([], ["cached", "cached"])
    above = built(neighbour, f"FROM {reference}\nRUN cat /one /two\n")
    assert steps(above, "RUN") == ["done"]
    log = neighbour.send("GET", f"/projects/{neighbour.project}/builds/{above['number']}/logs").decode()
    assert word in log
    assert first["image"] != above["image"]


def test_a_cache_of_a_stranger_is_a_warning(rest: Rest, neighbour: Rest, own: str, unique: Unique) -> None:
    word = unique("closed")
    text = f"FROM busybox\nRUN echo {word}\n"
    built(rest, text, cache_to=[f"type=registry,ref={own}/{word}:cache"])
    stranger = robot_of(neighbour)
    build = built(stranger, text, cache_from=[f"{own}/{word}:cache"])
    assert (len(build["warnings"]), steps(build, "RUN")) == (1, ["done"])
    refused = ended(stranger, ask(stranger, f"FROM {own}/{word}:cache\n"))
    assert refused["state"] == "failed"
