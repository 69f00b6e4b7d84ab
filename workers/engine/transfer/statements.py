"""What a node says of an image it pushes: an in-toto statement about what the registry has. Pure."""

from __future__ import annotations

import json

from workers.errors import NodeError

MEDIA_TYPE = "application/vnd.in-toto+json"
PREDICATE = "in-toto.io/predicate-type"


def about(statement: str, name: str, digest: str) -> tuple[bytes, str]:
    """``statement`` of a build with the pushed manifest as its subject, and the kind of its predicate.

    A push changes the manifest, for layers are compressed on their way. The same parts give the same bytes.
    Raise ``NodeError``.
    """
    algorithm, _, digits = digest.partition(":")
    try:
        body = json.loads(statement)
        parameters = body["predicate"]["buildDefinition"]["externalParameters"]
        kind = str(body["predicateType"])
        if "args" in parameters:
            # Their values stay in the build's record: whoever may pull the image need not see them.
            parameters["args"] = sorted(parameters["args"])
        if "source" in parameters:
            parameters["source"] = _bare(parameters["source"])
        for material in body["predicate"]["buildDefinition"].get("resolvedDependencies", ()):
            material["uri"] = _bare(material["uri"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NodeError("The build's provenance is no statement of ours") from error
    body["subject"] = [{"name": name, "digest": {algorithm: digits}}]
    return json.dumps(body, separators=(",", ":")).encode(), kind


def _bare(uri: str) -> str:
    """What follows the path of an address may be a key to it."""
    return uri.partition("?")[0] if "://" in uri else uri
