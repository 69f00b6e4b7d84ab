"""What a build said of its image, pushed beside it: found by the API, or by the tag that replaces it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.registries import Asked, DebianRegistry, Fault, door
from tests.system.transfer.rigs import a_name, push, some_image
from workers.engine.build.provenance import Facts, Material, statement
from workers.engine.images import ImageStore
from workers.oci.descriptor import OCI_INDEX, OCI_MANIFEST

IN_TOTO = "application/vnd.in-toto+json"
SLSA = "https://slsa.dev/provenance/v1"


MATERIALS = (Material("https://files.example/a.tar?signature=key", "sha256", "0" * 64),)


def made_by(build: str) -> str:
    facts = Facts(
        build=build, names=("web:1",), manifest_digest=f"sha256:{'0' * 64}",
        source="https://git.example/web", revision="", dockerfile="Dockerfile", target="",
        args={"VERSION": "a value of an argument"}, labels={"team": "web"}, platform="linux/amd64",
        materials=MATERIALS, started="2026-11-27T00:00:00Z", ended="2026-11-27T00:00:01Z",
        builder="urn:slipway:node:test",
    )  # fmt: skip
    return statement(facts)


def get(name: str, rest: str, accept: str = "*/*") -> Any:
    host, _, path = name.rpartition(":")[0].partition("/")
    request = urllib.request.Request(f"http://{host}/v2/{path}/{rest}", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def listed(name: str, digest: str) -> list[dict[str, Any]]:
    index = get(name, f"manifests/{digest.replace(':', '-')}", OCI_INDEX)
    assert (index["mediaType"], index["schemaVersion"]) == (OCI_INDEX, 2)
    entries: list[dict[str, Any]] = index["manifests"]
    return entries


def test_without_the_api_a_tag_lists_what_refers_to_the_image(
    store: ImageStore, registry: DebianRegistry
) -> None:
    name = a_name(registry.host)
    pushed = push(store, some_image(store), name, provenance=made_by("first"))
    assert pushed.warning == ""
    [entry] = listed(name, pushed.manifest_digest)
    assert (entry["digest"], entry["artifactType"]) == (pushed.provenance, IN_TOTO)
    assert entry["annotations"] == {"in-toto.io/predicate-type": SLSA}
    manifest = get(name, f"manifests/{pushed.provenance}", OCI_MANIFEST)
    assert manifest["subject"]["digest"] == pushed.manifest_digest
    assert (manifest["artifactType"], manifest["config"]["size"]) == (IN_TOTO, 2)
    [layer] = manifest["layers"]
    said = get(name, f"blobs/{layer['digest']}")
    algorithm, _, digits = pushed.manifest_digest.partition(":")
    assert said["subject"] == [
        {"name": name.partition("/")[2].rpartition(":")[0], "digest": {algorithm: digits}}
    ]
    parameters = said["predicate"]["buildDefinition"]["externalParameters"]
    [material] = said["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert material["uri"] == "https://files.example/a.tar"
    assert (parameters["args"], parameters["labels"]) == (["VERSION"], {"team": "web"})


def test_a_push_repeated_adds_nothing_and_another_statement_is_added(
    store: ImageStore, registry: DebianRegistry
) -> None:
    name, image = a_name(registry.host), some_image(store)
    first = push(store, image, name, provenance=made_by("first"))
    again = push(store, image, name, provenance=made_by("first"))
    assert again.provenance == first.provenance
    other = push(store, image, name, provenance=made_by("other"))
    found = [entry["digest"] for entry in listed(name, first.manifest_digest)]
    assert found == [first.provenance, other.provenance]


def test_a_registry_that_lists_referrers_itself_gets_no_tag(
    store: ImageStore, registry: DebianRegistry
) -> None:
    def plan(asked: Asked) -> Fault | None:
        if asked.method == "PUT" and "/manifests/sha256:" in asked.path:
            return Fault(status=201, headers={"OCI-Subject": "sha256:it-is-said"})
        return None

    with door(registry.host, plan=plan) as front:
        pushed = push(store, some_image(store), a_name(front.host), provenance=made_by("first"))
        assert pushed.provenance.startswith("sha256:")
        assert front.count("PUT", "/manifests/sha256-") == 0


@pytest.mark.parametrize("part", ["/manifests/sha256:", "/manifests/sha256-"])
def test_a_registry_that_takes_no_word_about_an_image_has_the_image(
    store: ImageStore, registry: DebianRegistry, part: str
) -> None:
    def plan(asked: Asked) -> Fault | None:
        refused = asked.method == "PUT" and part in asked.path
        body = b'{"errors":[{"code":"MANIFEST_INVALID","message":"no artifacts here"}]}'
        return Fault(status=400, body=body) if refused else None

    with door(registry.host, plan=plan) as front:
        name = a_name(front.host)
        pushed = push(store, some_image(store), name, provenance=made_by("first"))
        assert (pushed.provenance, "no artifacts here" in pushed.warning) == ("", True)
        assert get(name, "manifests/1", OCI_MANIFEST)["layers"]


def test_an_image_nobody_here_built_has_nothing_beside_it(
    store: ImageStore, registry: DebianRegistry
) -> None:
    name = a_name(registry.host)
    pushed = push(store, some_image(store), name)
    assert (pushed.provenance, pushed.warning) == ("", "")
    with pytest.raises(urllib.error.HTTPError):
        listed(name, pushed.manifest_digest)


def test_a_tag_that_is_somebodys_image_is_left_alone(store: ImageStore, registry: DebianRegistry) -> None:
    name, image = a_name(registry.host), some_image(store)
    first = push(store, image, name)
    taken = f"{name.rpartition(':')[0]}:{first.manifest_digest.replace(':', '-')}"
    push(store, image, taken)
    pushed = push(store, image, name, provenance=made_by("first"))
    assert "somebody uses the tag" in pushed.warning
    assert get(name, f"manifests/{taken.rpartition(':')[2]}", OCI_MANIFEST)["mediaType"] == OCI_MANIFEST
