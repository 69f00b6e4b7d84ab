"""The wire form of messages."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from workers.errors import BadCommand
from workers.messages import (
    BuildImage,
    ImageImported,
    ImagePushed,
    LayerFacts,
    LayerProgress,
    LayersProgressed,
    Origin,
    ProjectSlice,
    PullImage,
    PushImage,
    RegistryAccess,
    decode_command,
    decode_event,
    encode,
)

ACCESS = RegistryAccess("ada", "hunter2", mirrors=("https://mirror.example",), allow_private=True)
PULL = PullImage("j", "s", "docker.io/library/busybox:latest", ("busybox:latest",), access=ACCESS)
BUILD = BuildImage("j", "b", 1, ProjectSlice("p", 1_000_000, "10.87.0.0/24"), "s")
PUSH = PushImage("j", "s", "sha256:" + "a" * 64, "example.org/team/web:1", ACCESS, "zstd")


@pytest.mark.parametrize("command", [PULL, PUSH])
def test_a_command_to_a_registry_survives_the_wire(command: PullImage | PushImage) -> None:
    assert decode_command(encode(command)) == command


@pytest.mark.parametrize(
    "event",
    [
        LayersProgressed("j", (LayerProgress("sha256:" + "b" * 64, "downloading", 3, 9),)),
        ImagePushed("j", "s", "i", "r", "m", 1, 2, 3, 4),
        ImageImported("j", "s", "i", "m", "{}", (LayerFacts("a", "b", 1, 2),), ("web:1",), Origin("r", "m")),
    ],
)
def test_an_event_of_a_transfer_survives_the_wire(
    event: LayersProgressed | ImagePushed | ImageImported,
) -> None:
    assert decode_event(encode(event)) == event


def test_a_password_is_not_shown() -> None:
    assert "hunter2" not in repr(PULL)


def test_a_refused_command_does_not_quote_its_secrets() -> None:
    wire = json.loads(encode(PULL))
    wire["body"]["access"]["password"] = ["hunter2"]
    with pytest.raises(BadCommand) as refusal:
        decode_command(json.dumps(wire))
    assert "hunter2" not in str(refusal.value)


def test_a_build_speaks_to_a_registry_as_the_nearest_entry_says() -> None:
    entries = {
        "registry.lan:5000": RegistryAccess(username="exact"),
        "registry.lan": RegistryAccess(username="any port"),
        "*.example.org": RegistryAccess(username="below"),
        "*.de.example.org": RegistryAccess(username="nearer"),
        "*": RegistryAccess(denied=True),
    }
    build = replace(BUILD, access=entries)
    told = {
        host: build.access_to(host).username
        for host in ("registry.lan:5000", "registry.lan:6000", "a.example.org", "x.de.example.org:99")
    }
    assert list(told.values()) == ["exact", "any port", "below", "nearer"]
    assert build.access_to("docker.io").denied
    assert build.access_to("example.org").denied
    assert replace(BUILD, access={}).access_to("docker.io") == RegistryAccess()
