"""Where an image came from, as an in-toto statement with SLSA provenance (version 1). Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

BUILD_TYPE = "urn:slipway:build:dockerfile:v1"


@dataclass(frozen=True)
class Material:
    uri: str
    algorithm: str
    digest: str


@dataclass(frozen=True)
class Facts:
    build: str
    names: tuple[str, ...]
    manifest_digest: str
    source: str
    revision: str
    dockerfile: str
    target: str
    args: Mapping[str, str]
    labels: Mapping[str, str]
    platform: str
    materials: tuple[Material, ...]
    started: str
    ended: str
    builder: str


def image_material(name: str, manifest_digest: str, platform: str) -> Material:
    algorithm, _, digits = manifest_digest.partition(":")
    return Material(f"pkg:docker/{name}?platform={quote(platform, safe='')}", algorithm, digits)


def fetched_material(url: str, digest: str) -> Material:
    return Material(url, "sha1" if len(digest) == 40 else "sha256", digest)


def statement(facts: Facts) -> str:
    """Secrets and credentials are not among the facts; values of build arguments are."""
    algorithm, _, digits = facts.manifest_digest.partition(":")
    subjects = [{"name": name, "digest": {algorithm: digits}} for name in facts.names or (facts.build,)]
    materials = [{"uri": each.uri, "digest": {each.algorithm: each.digest}} for each in facts.materials]
    parameters: dict[str, Any] = {
        "source": facts.source,
        "revision": facts.revision,
        "dockerfile": facts.dockerfile,
        "target": facts.target,
        "platform": facts.platform,
        "args": dict(sorted(facts.args.items())),
        "labels": dict(sorted(facts.labels.items())),
    }
    body = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {name: value for name, value in parameters.items() if value},
                "resolvedDependencies": sorted(materials, key=lambda each: str(each["uri"])),
            },
            "runDetails": {
                "builder": {"id": facts.builder},
                "metadata": {
                    "invocationId": facts.build,
                    "startedOn": facts.started,
                    "finishedOn": facts.ended,
                },
            },
        },
    }
    return json.dumps(body, separators=(",", ":"))
