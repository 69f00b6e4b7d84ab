"""A machine's sudden end and its next boot, played for one instance; and a Redis that forgets."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import redis

from stack import pidfiles
from tests import stacks
from tests.rest import until
from tests.stacks import RunningStack
from workers.engine.networks import Networks
from workers.engine.places import Places

_CGROUPS = Path("/sys/fs/cgroup")


def power_off(stack: RunningStack) -> None:
    """Every process of the instance ends at once, containers too; what a kernel holds, and /run, is gone."""
    pids = pidfiles.alive(stack.run / "pids")
    _kill([pids.pop("supervisor")])  # first, or it would start the others again
    _kill(pids.values())
    until(lambda: _killed_all(stack) or None, 20, "processes survive")
    _unmount(stack.run)
    Networks(Places(stack.data, stack.run), stack.instance).teardown()
    for group in sorted(_groups(stack.instance), key=lambda path: len(path.parts), reverse=True):
        with contextlib.suppress(OSError):
            group.rmdir()
    shutil.rmtree(stack.run)
    _forget_the_boot(stack.data / "node" / "containers")


def power_on(stack: RunningStack) -> RunningStack:
    started = stacks.start(stack.environment)
    return replace(started, password=stack.password)


def empty_redis(stack: RunningStack) -> None:
    with contextlib.closing(redis.Redis(unix_socket_path=str(stack.run / "redis.sock"))) as client:
        client.flushall()


def _killed_all(stack: RunningStack) -> bool:
    """Kill what is in the instance's control groups, and its shims. Whether nobody was left."""
    found = [int(pid) for group in _groups(stack.instance) for pid in _members(group)]
    found += list(_with_word(f"{stack.run}/node/"))
    _kill(found)
    return not found


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _members(group: Path) -> list[str]:
    try:
        return (group / "cgroup.procs").read_text().split()
    except OSError:
        return []


def _groups(instance: str) -> Iterator[Path]:
    for root in (_CGROUPS, *_CGROUPS.iterdir()):
        for top in (root / instance, root / f"{instance}-services"):
            if top.is_dir():
                yield top
                yield from (path for path in top.rglob("*") if path.is_dir())


def _with_word(word: str) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if word.encode() in (path / "cmdline").read_bytes():
                yield int(path.name)


def _unmount(top: Path) -> None:
    rows = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in reversed([row[4] for row in rows if row[4].startswith(f"{top}/")]):
        subprocess.run(["umount", "-l", place], check=True)


def _forget_the_boot(records: Path) -> None:
    """What is on record is of the boot before: there, process ids and start times were others'."""
    for path in records.glob("*/record.json"):
        body = json.loads(path.read_text())
        path.write_text(json.dumps(body | {"boot": "the one before"}))
