"""From a command to what the plan must know of it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

from workers.engine.build.graph import NamedContext, PlanRequest
from workers.engine.build.requesting import HOSTNAME_ARGUMENT, plan_request
from workers.messages import BuildImage, BuildOptions, ProjectSlice

OPTIONS = BuildOptions(
    target="web",
    args={HOSTNAME_ARGUMENT: "builder"},
    labels={"a": "b"},
    no_cache=True,
    no_cache_filter=("web",),
    platform="linux/amd64",
    network="none",
    extra_hosts=("db:10.0.0.1",),
    shm_bytes=1 << 20,
    ulimits=("nofile=64:128",),
    source_date_epoch=1,
    checks=False,
)


def test_every_field_of_the_request_is_filled() -> None:
    command = BuildImage("j", "b", 1, ProjectSlice("p", 1 << 20, "10.87.3.0/24"), "p", options=OPTIONS)
    made = plan_request(command, "linux/arm64", {"files": Path("/d"), "image": "busybox"})
    assert made.contexts == {"files": NamedContext("files"), "image": NamedContext("image", "busybox")}
    assert (made.hostname, made.ulimits, made.network) == ("builder", ("nofile=64:128",), "none")
    nothing = PlanRequest(platform="linux/s390x")
    same = [each.name for each in fields(made) if getattr(made, each.name) == getattr(nothing, each.name)]
    assert same == []
    bare = plan_request(replace(command, options=BuildOptions()), "linux/s390x", {})
    assert bare == nothing
