"""A real build with a canary for every kind of secret it may have: afterwards it is nowhere in clear."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.test_builds import ask, ended, running
from tests.rest import Rest
from tests.stacks import RunningStack

pytestmark = pytest.mark.e2e
CANARY = "canary-1n-every-pl4ce-of-a-node"
TEXT = """FROM busybox
RUN --mount=type=secret,id=key cat /run/secrets/key; base64 /run/secrets/key; echo {word}
RUN --mount=type=secret,id=key,env=KEY echo "$KEY" >&2; sleep 4
"""
CANARIES: dict[str, Any] = {
    "secrets": {"key": CANARY},
    "registries": {"registry.example.org": {"username": "me", "password": CANARY}},
}


def found_in_files(stack: RunningStack, text: str = CANARY) -> list[str]:
    """Files of the database, the journal, the node and the processes' logs that hold it."""
    command = ["grep", "-rlaF", "-D", "skip", text, str(stack.data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    # Files that go while grep looks are an error of its own.
    return done.stdout.splitlines()


def answers(rest: Rest, address: str) -> dict[str, str]:
    team = rest.project.partition("/")[0]
    job = rest.call("GET", address)["job"]
    paths = [address, f"{address}/logs", f"/projects/{rest.project}/builds", f"/teams/{team}/audit"]
    paths += [f"/projects/{rest.project}/jobs", f"/projects/{rest.project}/jobs/{job}"]
    paths += [f"/projects/{rest.project}/jobs/{job}/logs"]
    return {path: rest.send("GET", path).decode() for path in paths}


def test_a_builds_secrets_are_nowhere(stack: RunningStack, rest: Rest, unique: Callable[[str], str]) -> None:
    word = unique("said")
    name = unique("secretive")
    address = ask(rest, TEXT.format(word=word), tags=[name], no_cache=True, **CANARIES)
    running(rest, address, "sleep 4")
    assert found_in_files(stack) == [], "while it is built"
    build = ended(rest, address)
    assert build["state"] == "succeeded", build["cause"]
    told = answers(rest, address)
    assert word in told[f"{address}/logs"]
    assert "build.create" in told[f"/teams/{rest.project.partition('/')[0]}/audit"]
    assert [path for path, text in told.items() if CANARY in text] == []
    image = rest.send("GET", f"/projects/{rest.project}/images/{build['image']}").decode()
    assert CANARY not in image
    assert found_in_files(stack) == []
    told_in = " ".join(found_in_files(stack, word))
    assert "/platform/db.sqlite3" in told_in
    assert f"/node/builds/logs/{build['id']}/" in told_in


def test_passwords_of_repositories_are_nowhere(stack: RunningStack, rest: Rest) -> None:
    """Both fail where they are fetched, and say so with their addresses."""
    for options in (
        {"remote": f"http://me:{CANARY}@127.0.0.1:1/web.git"},
        {
            "dockerfile_text": "FROM busybox\nCOPY --from=lib / /\n",
            "contexts": {"lib": f"http://me:{CANARY}@127.0.0.1:1/lib.git"},
        },
    ):
        made = rest.call("POST", f"/projects/{rest.project}/builds", options)
        address = f"/projects/{rest.project}/builds/{made['number']}"
        build = ended(rest, address)
        assert build["state"] == "failed"
        assert "127.0.0.1:1" in json.dumps(build["cause"])
        assert build["credentials"] in (["password"], ["contexts.lib"])
        assert [path for path, text in answers(rest, address).items() if CANARY in text] == []
    assert found_in_files(stack) == []
