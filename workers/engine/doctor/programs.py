"""The programs a node calls: runtimes by a real start, the others by their version."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from workers.checks import Check, Status
from workers.engine.cgroups import Cgroups
from workers.engine.places import Places
from workers.engine.runtime import oci
from workers.engine.runtime.spawn import ENVIRONMENT

_SEARCH = ENVIRONMENT["PATH"] + ":/usr/libexec/podman:/usr/lib/podman"


@dataclass(frozen=True)
class Helper:
    name: str
    package: str
    without: str
    """What does not work without it."""
    status: Status
    """Of a node that lacks it."""


HELPERS = (
    Helper("conmon", "conmon", "no container starts", "missing"),
    Helper("catatonit", "catatonit", "containers that ask for an init process do not start", "degraded"),
    Helper("aardvark-dns", "aardvark-dns", "containers do not find each other by name", "degraded"),
    Helper("mmdebstrap", "mmdebstrap", "no Debian base image can be made here", "degraded"),
    Helper("git", "git", "nothing is built of git repositories", "degraded"),
    Helper("busybox", "busybox-static", "no busybox base image can be made here", "degraded"),
)


def runtimes(scratch: Places, instance: str) -> list[Check]:
    """A container is started with each; one that works is enough."""
    group = f"{instance}-doctor"
    try:
        refusals = {each.name: oci.probe(each, scratch, f"/{group}") for each in oci.installed(scratch)}
    finally:
        Cgroups.of_this_node(group).prune()
    works = [name for name in oci.PREFERENCE if refusals.get(name) == ""]
    return [_runtime(name, refusals.get(name), works) for name in oci.PREFERENCE]


def _runtime(name: str, refusal: str | None, works: list[str]) -> Check:
    if refusal == "":
        return Check(
            name, "ok", "started a container" + ("" if works[0] == name else f"; {works[0]} is preferred")
        )
    status: Status = "degraded" if works else "missing"
    instead = f"; {works[0]} is used" if works else ""
    if refusal is None:
        return Check(name, status, f"not installed{instead}", f"apt-get install {name}")
    fix = "run the doctor with --fix" if "hybrid" in refusal else f"see the message, then {name}'s own log"
    return Check(name, status, f"starts no container: {refusal}{instead}", fix)


def helpers() -> list[Check]:
    return [_helper(helper) for helper in HELPERS]


def _helper(helper: Helper) -> Check:
    path = shutil.which(helper.name, path=_SEARCH)
    if path is None:
        fix = f"apt-get install {helper.package}"
        return Check(helper.name, helper.status, f"not installed: {helper.without}", fix)
    return Check(helper.name, "ok", f"{_version(path)} ({path})")


def _version(path: str) -> str:
    option = "--help" if path.endswith("busybox") else "--version"
    try:
        done = subprocess.run([path, option], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not run: {error}"
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found.group(0) if found else "of unknown version"
