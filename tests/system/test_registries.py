"""A node of real processes and a real registry: out, away, back, and run."""

from __future__ import annotations

import io
import json
import secrets
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.registries import DebianRegistry, Fault, debian_registry, door
from tests.system.nodes import SCOPE, NodeUnderTest, open_node_under_test
from tests.system.rigs import until
from workers.messages import (
    CancelJob,
    ContainerExited,
    ImageImported,
    ImagePushed,
    JobCancelled,
    JobFailed,
    JobSucceeded,
    LayersProgressed,
    PullImage,
    PushImage,
    RegistryAccess,
    RemoveImage,
)

LOCAL = RegistryAccess(plain_http=True, allow_private=True)


@pytest.fixture(scope="module")
def registry() -> Iterator[DebianRegistry]:
    with debian_registry() as registry:
        yield registry


@pytest.fixture(scope="module")
def node() -> Iterator[NodeUnderTest]:
    node = open_node_under_test()
    try:
        node.start_agent()
        node.start_worker()
        node.import_image()
        yield node
    finally:
        node.close()


def test_an_image_pushed_and_removed_is_pulled_back_and_runs(
    node: NodeUnderTest, registry: DebianRegistry
) -> None:
    name = f"{registry.host}/team/shell:1"
    node.send(PushImage("push", SCOPE, node.image_id, name, LOCAL))
    pushed = node.wait_for(ImagePushed, job="push")
    assert (pushed.uploaded, pushed.existed, pushed.mounted) == (1, 0, 0)
    node.send(RemoveImage("remove", SCOPE, node.image_id))
    layers = node.places.layers / "sha256"
    until(lambda: not list(layers.iterdir()), node.said)  # swept by the agent
    node.send(PullImage("pull", SCOPE, name, names=("shell:pulled",), access=LOCAL))
    imported = node.wait_for(ImageImported, job="pull")
    node.wait_for(JobSucceeded, job="pull")
    assert (imported.image_id, imported.references) == (node.image_id, ("shell:pulled",))
    assert imported.origin is not None
    assert (imported.origin.reference, imported.origin.digest) == (name, pushed.manifest_digest)
    assert node.wait_for(LayersProgressed, job="pull").layers[0].digest == imported.layers[0].digest
    container = node.run("sh", "-c", "echo pulled; exit 7")
    assert node.lines(container) == ["pulled"]
    assert node.wait_for(ContainerExited, container=container).exit_code == 7


def test_what_cannot_be_pulled_or_pushed_fails_with_a_typed_cause(
    node: NodeUnderTest, registry: DebianRegistry
) -> None:
    missing = f"{registry.host}/team/none:1"
    for job, command, code in (
        ("missing", PullImage("missing", SCOPE, missing, access=LOCAL), "MANIFEST_UNKNOWN"),
        ("private", PullImage("private", SCOPE, missing), "ADDRESS_REFUSED"),
        ("platform", PullImage("platform", SCOPE, missing, platform="amd64"), "REFERENCE_INVALID"),
        ("unknown", PushImage("unknown", SCOPE, "sha256:" + "0" * 64, missing, LOCAL), "IMAGE_UNKNOWN"),
    ):  # fmt: skip
        node.send(command)
        assert node.wait_for(JobFailed, job=job).cause.code == code


def test_credentials_are_neither_logged_nor_told_nor_kept(
    node: NodeUnderTest, registry: DebianRegistry
) -> None:
    password = secrets.token_hex(16)
    access = replace(LOCAL, username="ada", password=password)
    node.send(PullImage("secret", SCOPE, f"{registry.host}/team/none:1", access=access))
    node.wait_for(JobFailed, job="secret")
    until(lambda: password not in node.places.job("secret").read_text())
    found = subprocess.run(
        ["grep", "-rl", password, str(node.places.data), str(node.places.run)], capture_output=True, text=True
    )
    # Redis kept the envelope, which is sealed; nobody else has it.
    assert found.stdout == ""


def test_a_pull_is_cancelled_while_its_registry_is_silent(
    node: NodeUnderTest, registry: DebianRegistry
) -> None:
    name = f"{registry.host}/team/shell:1"
    silence = threading.Event()
    with door(registry.host) as front:
        front.plan = lambda asked: (
            Fault(hold=silence) if asked.method == "GET" and "/blobs/" in asked.path else None
        )
        other = "8" * 32
        node.send(PullImage("held", other, name.replace(registry.host, front.host), access=LOCAL))
        until(lambda: front.count("GET", "/blobs/") > 0, node.said)
        node.send(CancelJob("held"))
        node.wait_for(JobCancelled, job="held")
        silence.set()
    assert list(node.places.layer_ingest.iterdir()) == []


def test_a_pull_survives_the_death_of_its_worker(node: NodeUnderTest, registry: DebianRegistry) -> None:
    name, scope, silence = f"{registry.host}/team/shell:1", "6" * 32, threading.Event()
    with door(registry.host) as front:
        front.plan = lambda asked: (
            Fault(hold=silence)
            if asked.method == "GET" and "/blobs/" in asked.path and not silence.is_set()
            else None
        )
        node.send(PullImage("killed", scope, name.replace(registry.host, front.host), access=LOCAL))
        until(lambda: front.count("GET", "/blobs/") > 0, node.said)
        node.kill_worker()
        silence.set()
        node.start_worker()
        assert node.wait_for(ImageImported, job="killed").image_id == node.image_id
        node.wait_for(JobSucceeded, job="killed")


def test_a_saved_archive_comes_from_the_agent(node: NodeUnderTest) -> None:
    status, data = node.request("GET", f"/v1/images/{SCOPE}/{node.image_id}/archive?format=docker&name=web:1")
    assert status == 200
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        assert json.load(manifest)[0]["RepoTags"] == ["web:1"]
    status, body = node.request("GET", f"/v1/images/{'9' * 32}/{node.image_id}/archive")
    assert (status, json.loads(body)["code"]) == (404, "IMAGE_UNKNOWN")
