"""What a request for a build carries: options as JSON or in the address, and perhaps a context."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import fields
from email.message import Message
from typing import Any

from rest_framework import serializers

from slipway.bodies import Body, JsonParser
from slipway.builds import named
from slipway.builds.registries import Account
from slipway.builds.requests import (
    QUEUE_TIMEOUT_DEFAULT,
    TIMEOUT_DEFAULT,
    BuildRequest,
    Docker,
    options_of,
)
from slipway.catalog.uploads import ARCHIVE_TYPES, Archive
from slipway.errors import BodyTooLarge, FieldError, InvalidFields, MalformedBody, UnsupportedMediaType
from slipway.multipart import parse_boundary, read_form
from slipway.views import StrictSerializer, validated
from workers.messages import SSH_PREFIX, BuildOptions, BuildSource, is_repository

JSON_MAX = 24 << 20
"""A Dockerfile of 5 MB, escaped, and secrets."""
CONTEXT_TYPES = ARCHIVE_TYPES | {
    "application/zip",
    "application/x-zip-compressed",
    "application/x-bzip2",
    "application/x-xz",
}
PART = "context"
OPTIONS = tuple(each.name for each in fields(BuildOptions) if each.name != "secrets")


def _words(help_text: str, **more: Any) -> serializers.ListField:
    return serializers.ListField(
        child=serializers.CharField(**more), required=False, default=list, max_length=200, help_text=help_text
    )


def _pairs(help_text: str, **more: Any) -> serializers.DictField:
    return serializers.DictField(
        child=serializers.CharField(allow_blank=True, trim_whitespace=False, **more),
        required=False,
        default=dict,
        help_text=help_text,
    )


def _text(help_text: str, **more: Any) -> serializers.CharField:
    return serializers.CharField(
        **{"required": False, "default": None, "allow_null": True, "help_text": help_text, **more}
    )


def _number(help_text: str, **more: Any) -> serializers.IntegerField:
    return serializers.IntegerField(
        required=False, default=None, allow_null=True, help_text=help_text, **more
    )


def _switch(help_text: str, default: bool = False) -> serializers.BooleanField:
    return serializers.BooleanField(required=False, default=default, help_text=help_text)


class AccountBody(StrictSerializer):
    username = serializers.CharField(max_length=255)
    password = serializers.CharField(trim_whitespace=False)


def accounts_field(help_text: str) -> serializers.DictField:
    return serializers.DictField(child=AccountBody(), required=False, default=dict, help_text=help_text)


def accounts_of(given: Mapping[str, Mapping[str, str]]) -> dict[str, Account]:
    return {host: Account(each["username"], each["password"]) for host, each in given.items()}


class BuildBody(StrictSerializer):
    """Give one of: a context (the body, or ``context``), ``remote``, or ``dockerfile_text`` alone."""

    remote = _text(
        "URL of a git repository (it ends with `.git`, or `#ref:directory` follows), of an archive, or of a "
        "Dockerfile's text."
    )
    ref = _text("Branch, tag or commit of the repository.")
    subdirectory = _text("Directory of the repository that is the context.")
    username = _text("For the repository.")
    password = _text("For the repository; kept sealed until the build has ended.", trim_whitespace=False)
    context = _text("Id of a context sent by `…/builds/contexts`.")  # type: ignore[assignment]  # DRF takes declared fields off the class
    name = _text("What the context is called, for people.")
    dockerfile = _text("Its path in the context.", default="Dockerfile", allow_null=False)
    dockerfile_text = _text("In place of the file.", trim_whitespace=False)
    tags = _words("Names for the image: name[:tag].")
    target = _text("Stage to build; null: the last one.")
    args = _pairs("Values of ARG.")
    labels = _pairs("Added to the image's.")
    contexts = _pairs("Further contexts by name: an image reference or a URL.")
    secrets = _pairs("Values by id for RUN --mount=type=secret; kept sealed until the build has ended.")
    ssh = _pairs(
        "Private keys by id for RUN --mount=type=ssh: steps sign with them, none reads them. Kept as secrets."
    )
    registries = accounts_field(
        "Accounts at registries by host, as in Docker's X-Registry-Config; for this build, kept as secrets."
    )
    no_cache = _switch("Do every step anew.")
    no_cache_filter = _words("Stages that do not use the cache.")
    pull = _switch("Ask the registry for base images even where the node has them.")
    cache_from = _words("Where to take the cache from: type=registry,ref=….")
    cache_to = _words("Where to put the cache: type=inline, type=registry,ref=….")
    platform = _text("os/architecture.")
    network = _text("Of RUN: default (or bridge, the same) or none.", default="default", allow_null=False)
    extra_hosts = _words("name:address for /etc/hosts of RUN.")
    shm_bytes = _number("Size of /dev/shm in RUN.", min_value=0)
    ulimits = _words("name=soft[:hard] for RUN, as `--ulimit` has it.")
    output = _text("image, tar or files.", default="image", allow_null=False)
    source_date_epoch = _number("Time stamps are cut to this, in seconds.", min_value=0, max_value=1 << 40)
    checks = _switch("Lint the Dockerfile.", default=True)
    memory_bytes = _number("For the whole build.", min_value=0)
    memswap = _number("Noted; builds have no swap.")
    cpu_shares = _number("Noted.")
    cpuset_cpus = _text("Noted.")
    cpu_period = _number("Microseconds.", min_value=1)
    cpu_quota = _number("Microseconds of CPU in each period.")
    squash = _switch("Refused.")
    group = _text(
        "Of a group one build runs at a time, and a new one takes the place of those that wait.",
        default="",
        allow_null=False,
        allow_blank=True,
    )
    timeout = serializers.IntegerField(
        required=False, default=TIMEOUT_DEFAULT, help_text="Seconds for the whole build."
    )
    queue_timeout = serializers.IntegerField(
        required=False, default=QUEUE_TIMEOUT_DEFAULT, help_text="Seconds it may wait for its turn."
    )


class BuildForm(serializers.Serializer):
    options = BuildBody(required=False, help_text="JSON.")
    context = serializers.FileField(  # type: ignore[assignment]  # as above
        help_text="A tar (plain or compressed) or zip; the last part."
    )


def media_type(body: Body) -> str:
    message = Message()
    message["content-type"] = body.content_type or "none/none"
    kind = message.get_content_type()
    return "" if kind == "none/none" else kind


async def read_request(body: Body, query: Mapping[str, list[str]]) -> tuple[dict[str, Any], Archive | None]:
    """The validated options, and the context that follows if there is one.

    Raise ``UnsupportedMediaType``, ``MalformedBody``, ``InvalidFields``.
    """
    kind = media_type(body)
    if kind == "application/json":
        return validated(BuildBody, _loads(await _whole(body))), None
    if kind == "multipart/form-data":
        form = await read_form(body.chunks(), parse_boundary(body.content_type), PART)
        if unknown := sorted(form.fields.keys() - {"options"}):
            raise InvalidFields(
                [FieldError(name, "No such field. Known here: options, context.") for name in unknown]
            )
        text = (form.fields.get("options") or ["{}"])[-1]
        return validated(BuildBody, _loads(text.encode())), Archive(form.archive, {})
    if kind in CONTEXT_TYPES:
        return validated(BuildBody, from_query(query)), Archive(body.chunks(), {})
    raise UnsupportedMediaType(
        f"Content-Type {kind or 'missing'}: send application/json, a context as application/x-tar (plain or "
        f"compressed) or application/zip, or multipart/form-data with options and, last, {PART}.",
        media_type=kind,
    )


def from_query(query: Mapping[str, list[str]]) -> dict[str, Any]:
    """Lists by repetition, pairs as JSON. Secrets have no place in an address."""
    known = BuildBody().fields
    given: dict[str, Any] = {}
    for name, values in query.items():
        if name in ("secrets", "ssh", "registries", "password"):
            raise InvalidFields([FieldError(name, "Addresses end up in logs: send a form with `options`.")])
        field = known.get(name)
        if isinstance(field, serializers.ListField):
            given[name] = values
        elif isinstance(field, serializers.DictField):
            given[name] = _loads(values[-1].encode())
        else:
            given[name] = values[-1]
    contexts = given.get("contexts")
    if isinstance(contexts, dict) and named.split({k: str(v) for k, v in contexts.items()})[1]:
        raise InvalidFields([FieldError("contexts", "Passwords end up in logs: send a form with `options`.")])
    return given


async def _whole(body: Body) -> bytes:
    data = bytearray()
    async for chunk in body.chunks():
        data += chunk
        if len(data) > JSON_MAX:
            raise BodyTooLarge(f"Body: at most {JSON_MAX >> 20} MiB of options are taken.", limit=JSON_MAX)
    return bytes(data)


def _loads(data: bytes) -> Any:
    if not data.strip():
        raise MalformedBody("Body: a JSON object is needed.")
    return JsonParser().parse(io.BytesIO(data))


def request_of(asked: dict[str, Any], source: BuildSource, *, name: str = "", size: int = 0) -> BuildRequest:
    """``asked`` is a validated ``BuildBody``."""
    options = options_of({name: asked[name] for name in OPTIONS}, secrets_of(asked))
    docker = Docker(
        memory=asked["memory_bytes"],
        cpuset_cpus=asked["cpuset_cpus"] or "",
        **{key: asked[key] for key in ("memswap", "cpu_shares", "cpu_period", "cpu_quota", "squash")},
    )
    return BuildRequest(
        source=source,
        options=options,
        docker=docker,
        name=asked["name"] or name,
        size=size,
        registries=accounts_of(asked["registries"]),
        **{key: asked[key] for key in ("group", "timeout", "queue_timeout")},
    )


def secrets_of(asked: Mapping[str, Any]) -> dict[str, str]:
    """Keys for ssh among the others, told apart by their names."""
    return {**asked["secrets"], **{f"{SSH_PREFIX}{name}": key for name, key in asked["ssh"].items()}}


def source_of(asked: dict[str, Any]) -> BuildSource:
    """Where the context comes from when the body brought none. Raise ``InvalidFields``."""
    remote = asked["remote"]
    if remote is None:
        return BuildSource()
    is_git = is_repository(remote) or bool(asked["ref"] or asked["subdirectory"])
    if not is_git and not remote.startswith(("http://", "https://")):
        raise InvalidFields(
            [FieldError("remote", "The address of a git repository, an archive or a Dockerfile is needed.")]
        )
    return BuildSource(
        kind="git" if is_git else "url",
        url=remote,
        **{key: asked[key] for key in ("ref", "subdirectory", "username", "password")},
    )


def marks(asked: dict[str, Any]) -> str:
    """``asked`` for the fingerprint of an Idempotency-Key: of secrets only which there are."""
    hidden: dict[str, Any] = {name: sorted(asked[name]) for name in ("secrets", "ssh", "registries")}
    hidden["contexts"] = named.split(asked["contexts"])[0]
    shown = {**asked, **hidden, "password": bool(asked["password"])}
    return json.dumps(shown, sort_keys=True)
