"""A stack read without mounting it is what the kernel's overlay of the same layers shows."""

from __future__ import annotations

import os
import random
import stat
from contextlib import suppress
from pathlib import Path

import pytest

from tests.environment import scratch
from workers.engine.build.stacks import Stack
from workers.engine.extract import OPAQUE
from workers.engine.kernel import LinuxKernel, Mount

NAMES = ("a", "b", "c", "d")


def fill(directory: Path, chance: random.Random, depth: int = 0) -> None:
    """Files, links, directories, whiteouts and opaque marks, few names so that they meet those below."""
    for name in NAMES:
        path = directory / name
        kind = chance.choice(("nothing", "nothing", "file", "link", "whiteout", "directory", "opaque"))
        if kind == "file":
            path.write_text(f"{chance.random()}")
            path.chmod(chance.choice((0o600, 0o644, 0o4755)))
        elif kind == "link":
            path.symlink_to(chance.choice(("a", "../b", "/c", "nowhere")))
        elif kind == "whiteout":
            os.mknod(path, stat.S_IFCHR, 0)
        elif kind in ("directory", "opaque"):
            path.mkdir(mode=chance.choice((0o700, 0o755)))
            if kind == "opaque":
                os.setxattr(path, OPAQUE, b"y")
            if depth < 3:
                fill(path, chance, depth + 1)


def shown(path: str, status: os.stat_result) -> tuple[int, int, str]:
    text = ""
    if stat.S_ISLNK(status.st_mode):
        text = os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        text = Path(path).read_text()
    return stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode), text


def mounted(root: Path) -> dict[str, tuple[int, int, str]]:
    found = {}
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            path = os.path.join(directory, name)
            # Of a directory that is in one layer only, the kernel lists whiteouts it then does not find.
            with suppress(FileNotFoundError):
                found[os.path.relpath(path, root)] = shown(path, os.lstat(path))
    return found


@pytest.fixture
def place() -> Path:
    return scratch()


@pytest.mark.parametrize("seed", range(40))
def test_a_stack_is_what_overlayfs_shows(place: Path, seed: int) -> None:
    chance = random.Random(seed)
    layers = [place / f"layer{number}" for number in range(chance.randint(2, 5))]
    for layer in layers:
        layer.mkdir()
        fill(layer, chance)
    target, kernel = place / "merged", LinuxKernel()
    target.mkdir()
    kernel.mount(Mount("overlay", "overlay", tuple(("lowerdir+", str(layer)) for layer in layers)), target)
    try:
        expected = mounted(target)
    finally:
        kernel.unmount(target)

    stack = Stack(layers)
    root = stack.root
    assert root is not None
    actual = {path: shown(node.place, node.status) for path, node in stack.walk(root)}

    assert actual == expected
