"""The mounts of a RUN: made beside its bundle, given to the runtime as binds.

Sources are seen through the project's id map. Whatever a step may write to is a copy of its own (an upper
thrown away with the step), except a cache mount.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workers.engine import snapshots
from workers.engine.build import mounts
from workers.engine.build.placing import Wanted, collect, nearest_path, place
from workers.engine.build.room import Room
from workers.engine.build.sshagent import listening
from workers.engine.build.sshkeys import Key
from workers.engine.build.stacks import Node, Stack, split
from workers.engine.build.steps import BindMount, CacheMount, Root, RunStep, SecretMount, SshMount, TmpfsMount
from workers.engine.build.uppers import Dress, Upper
from workers.engine.kernel import Mount
from workers.errors import BuildFailed

_SECRETS_BYTES = 8 << 20
_WAIT = 0.1

Layers = Callable[[Root], Sequence[Path]]
"""The layers of a root, topmost first."""


@dataclass
class Mounts:
    """What came of a step's mounts."""

    oci: list[dict[str, Any]] = field(default_factory=list)
    env: list[str] = field(default_factory=list)
    targets: list[tuple[str, bool]] = field(default_factory=list)
    """Where they go, and whether that is a directory."""


@dataclass
class _Maker:
    room: Room
    bundle: Path
    userns: Path
    scratch: Path
    layers: Layers
    secrets: Mapping[str, str]
    agents: Mapping[str, tuple[Key, ...]]
    check: Callable[[], None]
    held: ExitStack
    made: Mounts = field(default_factory=Mounts)
    roots: dict[Root, tuple[Path, Stack]] = field(default_factory=dict)

    def bind(self, source: Path, target: str, *, directory: bool, read_only: bool) -> None:
        options = ["rbind", "rprivate", "nosuid", "nodev", "ro" if read_only else "rw"]
        self.made.oci.append(
            {"destination": target, "type": "bind", "source": str(source), "options": options}
        )
        self.made.targets.append((target, directory))

    def mountpoint(self) -> Path:
        home = self.bundle / "mounts"
        home.mkdir(mode=0o711, exist_ok=True)
        home.chmod(0o711)
        path = home / f"{len(os.listdir(home)):03}"
        path.mkdir(mode=0o711)
        return path


@contextmanager
def prepared(
    room: Room,
    step: RunStep,
    bundle: Path,
    scratch: Path,
    *,
    userns: Path,
    layers: Layers,
    secrets: Mapping[str, str],
    agents: Mapping[str, tuple[Key, ...]],
    check: Callable[[], None],
) -> Iterator[Mounts]:
    """While it lasts, locks of cache mounts are held; what is mounted ``room.clear`` unmounts."""
    with ExitStack() as held:
        maker = _Maker(room, bundle, userns, scratch, layers, secrets, agents, check, held)
        for mount in step.mounts:
            match mount:
                case BindMount():
                    _bind(maker, mount)
                case CacheMount():
                    _cache(maker, mount)
                case TmpfsMount():
                    _tmpfs(maker, mount)
                case SecretMount():
                    _secret(maker, mount)
                case SshMount():
                    _ssh(maker, mount)
        if step.script is not None:
            _file(maker, f"/dev/pipes/{step.script.name}", step.script.data.encode(), 0o755, (0, 0))
        yield maker.made


def _bind(maker: _Maker, mount: BindMount) -> None:
    place_, stack = _root(maker, mount.root)
    parts, node = stack.resolve(mount.source)
    if node is None:
        guess = nearest_path(stack, split(mount.source))
        meant = f" (did you mean {guess}?)" if guess else ""
        raise BuildFailed(
            f"The source {mount.source} of the mount at {mount.target} does not exist{meant}",
            path=mount.source,
            suggestion=guess or None,
        )
    maker.bind(place_.joinpath(*parts), mount.target, directory=node.is_directory, read_only=mount.read_only)


def _root(maker: _Maker, root: Root) -> tuple[Path, Stack]:
    """The root as this step sees it, mounted once."""
    if root not in maker.roots:
        layers = list(maker.layers(root))
        writable = maker.room.new_directory("bind")
        for name, mode in (("upper", 0o755), ("work", 0o700), ("nothing", 0o755)):
            (writable / name).mkdir()
            (writable / name).chmod(mode)
        target = maker.mountpoint()
        lowers = layers or [writable / "nothing"]
        base = maker.room.project.uid_base
        maker.room.engine.kernel.mount_overlay(
            snapshots.overlay(lowers, writable, maker.userns, base), target
        )
        maker.roots[root] = target, Stack(lowers)
    return maker.roots[root]


def _tmpfs(maker: _Maker, mount: TmpfsMount) -> None:
    options = ["nosuid", "nodev", "mode=1777"]
    if mount.size:
        options.append(f"size={mount.size}")
    maker.made.oci.append(
        {"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options}
    )
    maker.made.targets.append((mount.target, True))


def _secret(maker: _Maker, mount: SecretMount) -> None:
    value = maker.secrets.get(mount.id)
    if value is None:
        if mount.required:
            raise BuildFailed(
                f"The secret {mount.id!r} is needed and was not given: --secret id={mount.id},…",
                secret=mount.id,
            )
        return
    if mount.env:
        maker.made.env.append(f"{mount.env}={value}")
    if mount.target:
        data = value.encode(errors="surrogateescape")
        _file(maker, mount.target, data, mount.mode, (mount.uid, mount.gid))


def _ssh(maker: _Maker, mount: SshMount) -> None:
    """An agent with the keys given for its id, which end with the step."""
    keys = maker.agents.get(mount.id)
    if keys is None:
        if mount.required:
            raise BuildFailed(
                f"The ssh key {mount.id!r} is needed and was not given: --ssh {mount.id}=FILE", ssh=mount.id
            )
        return
    path = _in_memory(maker)
    maker.held.enter_context(listening(path, keys))
    base = maker.room.project.uid_base
    os.chown(path, base + mount.uid, base + mount.gid)
    path.chmod(mount.mode)
    maker.bind(path, mount.target, directory=False, read_only=True)
    if not any(each.startswith("SSH_AUTH_SOCK=") for each in maker.made.env):
        maker.made.env.append(f"SSH_AUTH_SOCK={mount.target}")


def _file(maker: _Maker, target: str, data: bytes, mode: int, owner: tuple[int, int]) -> None:
    """A file in memory only, bound at ``target``."""
    path = _in_memory(maker)
    base = maker.room.project.uid_base
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
        os.fchown(descriptor, base + owner[0], base + owner[1])
        os.fchmod(descriptor, mode)
    maker.bind(path, target, directory=False, read_only=True)


def _in_memory(maker: _Maker) -> Path:
    """A name that is free on a filesystem in memory."""
    home = maker.bundle / "secrets"
    if not home.exists():
        home.mkdir()
        base = maker.room.project.uid_base
        options = (("size", str(_SECRETS_BYTES)), ("mode", "0710"), ("gid", str(base)))
        maker.room.engine.kernel.mount(Mount("tmpfs", "secrets", options, noexec=False), home)
    return home / str(len(os.listdir(home)))


# --------------------------------------------------------------------------- cache mounts


def _cache(maker: _Maker, mount: CacheMount) -> None:
    name = hashlib.sha256(mount.id.encode(errors="surrogateescape")).hexdigest()
    home = maker.room.engine.places.build_mount(maker.room.project.id, name)
    maker.held.callback(os.close, mounts.hold(home))
    data = home / _claim(maker, home, mount.sharing)
    if not data.exists():
        _begin(maker, mount, data)
    os.utime(home)
    target = maker.mountpoint()
    maker.room.engine.kernel.mount_mapped(data, target, maker.userns, read_only=mount.read_only)
    maker.bind(target, mount.target, directory=True, read_only=mount.read_only)


def _claim(maker: _Maker, home: Path, sharing: str) -> str:
    """The name of the directory this step uses, locked until the step ends."""
    number = 0
    while True:
        name = f"data-{number}"
        lock = os.open(home / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if sharing == "shared" else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            if sharing == "private":
                number += 1
            else:
                maker.check()
                time.sleep(_WAIT)  # flock with a timeout does not exist
            continue
        maker.held.callback(os.close, lock)
        return name


def _begin(maker: _Maker, mount: CacheMount, data: Path) -> None:
    """A new cache mount, with what it shall begin with."""
    aside = maker.room.new_directory("mount")
    stack = Stack(list(maker.layers(mount.root)))
    node: Node | None = None
    if stack.root is not None:
        node = stack.resolve(mount.source)[1]
    if node is not None and node.is_directory:
        found = collect(Wanted(stack, mount.source, may_link=False))
        place(Upper(aside, []), found, "/", Dress())
    os.chown(aside, mount.uid, mount.gid)
    aside.chmod(mount.mode)
    try:
        aside.rename(data)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise  # else two began a shared one at once: either will do
