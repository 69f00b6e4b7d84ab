"""While a build runs that has secrets, no file of its node's data directory holds them."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator

import pytest

from tests.system.nodes import SCOPE, NodeUnderTest, running_node
from tests.system.rigs import until
from workers.messages import BuildImage, BuildOptions, BuildSource, JobSucceeded, Limits


@pytest.fixture
def node() -> Iterator[NodeUnderTest]:
    with running_node() as node:
        yield node


def test_secrets_of_a_running_build_are_in_no_file(node: NodeUnderTest) -> None:
    canary = secrets.token_hex(16)
    step = "RUN --mount=type=secret,id=s test -s /run/secrets/s && echo up && cat /run/secrets/s && sleep 6"
    build = BuildImage(
        job=secrets.token_hex(16),
        build=secrets.token_hex(16),
        attempt=1,
        project=node.project,
        scope=SCOPE,
        source=BuildSource(),
        options=BuildOptions(dockerfile_text=f"FROM test\n{step}\n", secrets={"s": canary}),
        limits=Limits(memory_bytes=256 << 20),
        local_images={"test:latest": node.image_id},
    )
    node.send(build)
    log = node.places.build_log(build.build) / "active.log"
    until(lambda: log.exists() and " up" in log.read_text(), node.said)

    while_it_runs = _holding(canary, str(node.places.data))
    assert node.places.job(build.job).exists()
    assert 'outcome": null' in node.places.job(build.job).read_text(), "it ended before anybody looked"

    assert while_it_runs == []
    node.wait_for(JobSucceeded, job=build.job)
    assert _holding(canary, str(node.places.data)) == []


def _holding(text: str, *directories: str) -> list[str]:
    found = subprocess.run(["grep", "-rlaF", text, *directories], capture_output=True, text=True, check=False)
    return found.stdout.splitlines()
