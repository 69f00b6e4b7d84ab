"""What the tests of transfers share."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

from tests import archives
from tests.archives import E, tar
from tests.system.storage.rigs import SCOPE, load
from workers.engine.images import Image, ImageStore
from workers.engine.transfer import pulls, pushes
from workers.engine.transfer.connections import Patience
from workers.engine.transfer.pulls import Pulled, Wanted
from workers.engine.transfer.pushes import Pushed, Target
from workers.messages import LayerProgress, RegistryAccess
from workers.oci.descriptor import Platform
from workers.oci.reference import Reference

AMD64 = Platform("linux", "amd64")
LOCAL = RegistryAccess(plain_http=True, allow_private=True)
SOON = Patience(connect=5.0, silence=20.0, crawl=60.0, pauses=(0.01, 0.02, 0.03), outages=(0.01, 0.02, 0.03))


@dataclass
class Seen:
    """A watcher that remembers; ``until`` may raise."""

    reports: list[tuple[LayerProgress, ...]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def check(self) -> None: ...

    def layers(self, layers: tuple[LayerProgress, ...]) -> None:
        self.reports.append(layers)

    def say(self, line: str, done: int, total: int) -> None:
        self.lines.append(line)

    @property
    def last(self) -> list[tuple[str, bool]]:
        """Of each layer: its state, and whether all of it is done."""
        return [(each.state, each.done == each.total) for each in self.reports[-1]]


def noise(size: int) -> bytes:
    """Does not compress."""
    return secrets.token_bytes(size)


def some_image(store: ImageStore, sizes: tuple[int, ...] = (300_000, 1000), scope: str = SCOPE) -> Image:
    """Of layers with a file of noise each."""
    layers = [tar([E(f"file-{number}", noise(size))]) for number, size in enumerate(sizes)]
    return load(store, archives.docker_save(layers), scope)


def a_name(host: str) -> str:
    return f"{host}/team/{secrets.token_hex(4)}:1"


def push(store: ImageStore, image: Image, name: str, *, scope: str = SCOPE, **more: Any) -> Pushed:
    access = more.pop("access", LOCAL)
    compression = more.pop("compression", "gzip")
    target = Target(Reference.parse(name), access, compression, more.pop("provenance", ""))
    return pushes.push(store, scope, image.image_id, target, patience=SOON, **more)


def pull(
    store: ImageStore, name: str, *, scope: str = SCOPE, patience: Patience = SOON, **more: Any
) -> Pulled:
    watcher = {"watcher": more.pop("watcher")} if "watcher" in more else {}
    wanted = Wanted(Reference.parse(name), more.pop("platform", AMD64), more.pop("access", LOCAL), **more)
    return pulls.pull(store, scope, wanted, patience=patience, **watcher)


def files(store: ImageStore, image: Image) -> list[dict[str, bytes]]:
    """The contents of each layer."""
    return [
        {
            path.name: path.read_bytes()
            for path in store.places.layer(layer.diff_id).iterdir()
            if path.is_file()
        }
        for layer in image.layers
    ]
