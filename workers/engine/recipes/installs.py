"""Images of a program: packages installed on a base image, and what they changed as one layer more.

The base's layers are shared: on disk they are there once, however many such images there are.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

from workers.content import no_space
from workers.engine import changesets, images
from workers.engine import layers as layer_store
from workers.engine.images import Image, ImageStore
from workers.engine.importing import Imported
from workers.engine.layers import Unpacked
from workers.engine.trees import remove_tree
from workers.errors import InvalidManifest, NodeError
from workers.oci.descriptor import OCI_CONFIG, OCI_LAYER, Descriptor
from workers.oci.digest import Digest
from workers.oci.manifest import Manifest, compose, parse_manifest
from workers.oci.reference import Reference

Say = Callable[[str], None]
"""A line of what the programs say. May raise, which ends them."""
Check = Callable[[], None]
"""Called while the programs say nothing. May raise, which ends them."""

SILENCE = 0.5
_PROGRAM = Path(__file__).with_name("chroot.py")
_UNSHARE = (
    # Dies with the thread that started it, and takes its whole process tree and its mounts along.
    "setpriv", "--pdeathsig", "KILL",
    "unshare", "--mount", "--propagation", "private", "--pid", "--ipc", "--uts",
    "--fork", "--kill-child=KILL",
)  # fmt: skip
_APT = (
    "apt-get",
    "-o",
    "Acquire::Retries=3",
    "-o",
    "Dpkg::Use-Pty=0",
    "-o",
    "Dpkg::Options::=--force-unsafe-io",
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
_RUBBISH = (
    "/var/lib/apt/lists/*_*", "/var/cache/apt/archives/*.deb", "/var/cache/apt/*.bin",
    "/var/cache/debconf/*-old", "/var/cache/ldconfig/aux-cache", "/var/lib/dpkg/*-old",
    "/var/log/apt/*", "/var/log/*.log", "/etc/*-",
    # A private key that all who use the image would share.
    "/etc/ssl/private/ssl-cert-snakeoil.key", "/etc/ssl/certs/ssl-cert-snakeoil.pem", "/etc/ssh/ssh_host_*",
    "/usr/sbin/policy-rc.d", "/etc/dpkg/dpkg.cfg.d/slipway-recipe",
)  # fmt: skip


@dataclass(frozen=True)
class Install:
    """How an image of a program is made, and what it is run with.

    ``{version}`` and ``{major}`` stand for those of the first package.
    """

    title: str
    packages: tuple[str, ...]
    command: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    stop_signal: str = ""
    before: tuple[Mapping[str, Any], ...] = ()
    """Steps of ``chroot`` before the packages are installed, and after."""
    after: tuple[Mapping[str, Any], ...] = ()
    left_out: tuple[str, ...] = ()
    """Paths of packages, as dpkg's ``path-exclude`` takes them."""
    depth: int = 3
    """How many numbers of the version make tags: 2 for ``3`` and ``3.11``."""
    labels: Mapping[str, str] = field(default_factory=dict)


def install(
    store: ImageStore,
    recipe: Install,
    base: Image,
    *,
    scope: str,
    repository: str,
    tag: str,
    say: Say,
    check: Check,
) -> Imported:
    """Grant ``scope`` the image of ``recipe`` on ``base``, which it holds. Durable on return; repeatable.

    It is named ``repository:tag``, and for the tag ``latest`` also by its version. Raise ``NodeError``
    with what the package manager said last, ``NoSpace``; nothing is left then.
    """
    places = store.places
    epoch = _epoch(base)
    with layer_store.lease(places):
        work = places.layer_ingest / secrets.token_hex(16)
        try:
            upper = _run(work, _lowers(store, base), _steps(recipe), epoch, say, check)
            version = version_of(recipe.packages[0], _dpkg_status(upper))
            say(f"Version {version}; measuring the layer")
            layer = changesets.measure(places, upper, mtime_max=epoch)
            try:
                text = _config(recipe, base, layer.facts.diff_id, version)
                names = [f"{repository}:{each}" for each in _tags(tag, version, recipe.depth)]
                return _grant(store, scope, base, layer, text, names)
            finally:
                layer_store.discard(layer)
        finally:
            remove_tree(work)


def _lowers(store: ImageStore, base: Image) -> list[str]:
    return [str(store.places.layer(layer.diff_id)) for layer in reversed(base.layers)]


def _epoch(base: Image) -> int:
    """Nothing in the layer is younger: the same packages on the same base give the same bytes."""
    try:
        return int(datetime.fromisoformat(base.config.created).timestamp())
    except ValueError:
        return 0


# --------------------------------------------------------------------------- the steps


def _steps(recipe: Install) -> list[Mapping[str, Any]]:
    excluded = "".join(f"path-exclude={pattern}\n" for pattern in recipe.left_out)
    update = [*_APT, "update"]
    add = [*_APT, "install", "--yes", "--no-install-recommends", *recipe.packages]
    return [
        # No package may start its daemon here.
        {"write": "/usr/sbin/policy-rc.d", "text": "#!/bin/sh\nexit 101\n", "mode": 0o755},
        *(
            [{"write": "/etc/dpkg/dpkg.cfg.d/slipway-recipe", "text": excluded, "mode": 0o644}]
            if excluded
            else []
        ),
        *recipe.before,
        {"run": update},
        {"run": add},
        *recipe.after,
        # ucf leaves the names of its temporary files in there.
        {"run": ["sed", "-i", "-E", "s,= /tmp/[^ ]*$,= /tmp/file,", "/var/cache/debconf/config.dat"]},
        {"remove": list(_RUBBISH)},
    ]


def _run(
    work: Path, lowers: Sequence[str], steps: Sequence[Mapping[str, Any]], epoch: int, say: Say, check: Check
) -> Path:
    """Take the ``steps`` on ``lowers``; the directory with what they changed."""
    upper = work / "upper"
    for path in (work, upper, work / "work", work / "root"):
        path.mkdir(mode=0o755)
        path.chmod(0o755)
    order = {
        "lowers": list(lowers), "upper": str(upper), "work": str(work / "work"), "root": str(work / "root"),
        "environment": _environment(epoch), "steps": steps,
    }  # fmt: skip
    process = subprocess.Popen(
        [*_UNSHARE, sys.executable, "-I", "-S", "-B", str(_PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env={"PATH": _PATH},
    )
    try:
        with cast(IO[bytes], process.stdin) as order_pipe:
            order_pipe.write(json.dumps(order).encode())
        last = _relay(process, say, check)
    finally:
        if process.poll() is None:
            process.kill()
        status = process.wait()
    if any("No space left" in line for line in last):
        raise no_space(work)
    if status != 0:
        complaints = [line for line in last if line.startswith(("E:", "Err:", "dpkg: error"))] or last[-3:]
        raise NodeError(
            f"The packages could not be installed: {' '.join(complaints)[-600:] or f'status {status}'}"
        )
    return upper


def _environment(epoch: int) -> dict[str, str]:
    return {
        "PATH": _PATH,
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "SOURCE_DATE_EPOCH": str(epoch),
        "PERL_HASH_SEED": "0",  # debconf writes its answers in the order of a hash
        **{name: os.environ[name] for name in _PROXIES if name in os.environ},
    }


def _relay(process: subprocess.Popen[bytes], say: Say, check: Check) -> list[str]:
    """Say each line as it comes; the last ones."""
    output, rest = cast(IO[bytes], process.stdout), b""
    last: list[str] = []
    with selectors.DefaultSelector() as selector, output:
        selector.register(output, selectors.EVENT_READ)
        while True:
            check()
            if not selector.select(SILENCE):
                continue
            data = os.read(output.fileno(), 1 << 16)
            *lines, rest = (rest + data).split(b"\n")
            if not data and rest:
                lines, rest = [*lines, rest], b""
            for line in (each.decode(errors="replace").rstrip() for each in lines):
                say(line)
                last = [*last[-19:], line]
            if not data:
                return last


# --------------------------------------------------------------------------- what comes of it


def _grant(
    store: ImageStore, scope: str, base: Image, layer: Unpacked, config: bytes, names: Sequence[str]
) -> Imported:
    below = parse_manifest(base.manifest.encode())
    if not isinstance(below, Manifest):
        raise InvalidManifest(f"The grant of {base.image_id} holds an index", image=base.image_id)
    image_id, facts = Digest.of(config), layer.facts
    descriptors = [*below.layers, Descriptor(OCI_LAYER, Digest.parse(facts.digest), facts.size)]
    manifest = compose(Descriptor(OCI_CONFIG, image_id, len(config)), descriptors)
    image = images.image_of(image_id, manifest, config, (*base.layers, facts))
    images.keep(store, [scope], image, [layer])
    familiar = tuple(Reference.parse(name).familiar for name in names)
    return Imported(image.image_id, image.manifest_digest, image.config_text, image.layers, familiar)


def _dpkg_status(upper: Path) -> str:
    return (upper / "var/lib/dpkg/status").read_text(errors="replace")


def version_of(package: str, status: str) -> str:
    """The upstream version of an installed package, as far as it is numbers: ``3.11.2`` of ``3.11.2-1+b1``.

    Raise ``NodeError`` when dpkg's ``status`` does not know the package.
    """
    known = re.compile(rf"^Package: {re.escape(package)}\n(?:\S.*\n| .*\n)*?Version: (.*)$", re.MULTILINE)
    stanza = known.search(status)
    numbers = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", stanza[1]) if stanza else None
    if numbers is None:
        raise NodeError(f"{package} was not installed: dpkg does not know its version", package=package)
    return numbers[1]


def _tags(tag: str, version: str, depth: int) -> list[str]:
    if tag != "latest":
        return [tag]
    numbers = version.split(".")[:depth]
    return [tag, *(".".join(numbers[: count + 1]) for count in range(len(numbers)))]


def _config(recipe: Install, base: Image, diff_id: str, version: str) -> bytes:
    """Of the image: the base's, with the recipe's settings in their place."""
    body = json.loads(base.config_text)
    created = body.get("created", "1970-01-01T00:00:00Z")
    major = version.split(".")[0]

    def filled(texts: Iterable[str]) -> list[str]:
        return [text.replace("{version}", version).replace("{major}", major) for text in texts]

    names = {entry.partition("=")[0] for entry in recipe.env}
    inherited = [entry for entry in base.config.env if entry.partition("=")[0] not in names]
    settings: dict[str, Any] = {
        "Env": [*inherited, *filled(recipe.env)],
        "Entrypoint": filled(recipe.entrypoint) or None,
        "Cmd": filled(recipe.command),
        "ExposedPorts": {port: {} for port in recipe.ports},
        "Volumes": {path: {} for path in recipe.volumes},
        "WorkingDir": recipe.working_dir,
        "StopSignal": recipe.stop_signal,
        "Labels": {
            "org.opencontainers.image.title": recipe.title,
            "org.opencontainers.image.version": version,
            "org.opencontainers.image.created": created,
            "org.opencontainers.image.base.digest": base.manifest_digest,
            **recipe.labels,
        },
    }
    packages = " ".join(recipe.packages)
    body["config"] = {name: value for name, value in settings.items() if value}
    body["rootfs"] = {"type": "layers", "diff_ids": [*map(str, base.config.diff_ids), diff_id]}
    body["history"] = [
        *(body.get("history") or []),
        {"created": created, "created_by": f"apt-get install --no-install-recommends {packages}"},
        *_settled(created, settings),
    ]
    return json.dumps(body, separators=(",", ":")).encode()


def _settled(created: str, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """History's lines of settings that make no layer, as Dockerfiles would have them."""
    lines = []
    for word, text in (
        ("EXPOSE", " ".join(settings["ExposedPorts"])),
        ("VOLUME", " ".join(settings["Volumes"])),
        ("STOPSIGNAL", settings["StopSignal"]),
        ("ENTRYPOINT", json.dumps(settings["Entrypoint"]) if settings["Entrypoint"] else ""),
        ("CMD", json.dumps(settings["Cmd"])),
    ):
        if text:
            lines.append({"created": created, "created_by": f"{word} {text}", "empty_layer": True})
    return lines
