"""Images to plan upon, and graphs as text that people can read and compare."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from workers.engine.build.graph import Graph, ResolvedImage
from workers.engine.build.steps import Step
from workers.errors import NoSuchImage
from workers.oci.digest import Digest

DEBIAN = {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["bash"]}
BUSYBOX = {"Env": ["PATH=/bin"], "Cmd": ["sh"]}
NODE = {
    "Env": ["PATH=/usr/local/bin:/bin", "NODE_VERSION=22.1.0"],
    "Entrypoint": ["docker-entrypoint.sh"],
    "Cmd": ["node"],
    "WorkingDir": "/home/node/",
    "User": "node",
    "ExposedPorts": {"3000/tcp": {}},
    "Labels": {"base": "node"},
}
TRIGGERING = {"OnBuild": ["COPY . /app", "RUN --mount=from=tools,target=/t build $WHAT", "ENV BUILT=yes"]}
CONFIGS: dict[str, dict[str, Any]] = {
    "debian": DEBIAN,
    "busybox": BUSYBOX,
    "node": NODE,
    "triggering": TRIGGERING,
}


def image_config(run: Mapping[str, Any], architecture: str = "amd64") -> str:
    return json.dumps(
        {
            "os": "linux",
            "architecture": architecture,
            "config": run,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{'0' * 64}"]},
            "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "the base"}],
        }
    )


def resolve(reference: str, platform: str) -> ResolvedImage:
    """Of a few images, by name whatever the tag."""
    name = reference.partition("@")[0].rpartition("/")[2].partition(":")[0]
    if name not in CONFIGS:
        raise NoSuchImage(f"No such image: {reference}")
    config = image_config(CONFIGS[name], platform.split("/")[1])
    return ResolvedImage(str(Digest.of(config.encode())), config)


_OF_STEP = ("defaults", "location")


def describe(graph: Graph) -> str:
    """JSON; a value that is the default is left out, and of the config only what stands in the end.

    The history is left out too: it is the steps' ``created_by``, which a test of its own says.
    """
    return json.dumps(_plain(graph), indent=1, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        shown = {"kind": type(value).__name__} if not isinstance(value, Graph) else {}
        for field in fields(value):
            each = getattr(value, field.name)
            default = field.default if field.default_factory is MISSING else field.default_factory()
            if (
                each == default
                or field.name == "history"
                or (isinstance(value, Step) and field.name in _OF_STEP)
            ):
                continue
            shown[field.name] = f"line {each.first_line}" if field.name == "location" else _plain(each)
        if isinstance(value, Step):
            shown["lines"] = f"{value.location.first_line}-{value.location.last_line}"
        return shown
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value
