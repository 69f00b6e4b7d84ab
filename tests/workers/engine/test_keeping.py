"""A node's part of a backup: what goes in, what a layer keeps on the way through."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
from pathlib import Path

import pytest

from workers.engine import keeping
from workers.engine.places import Places

SCOPE, IMAGE = "d" * 32, "e" * 64
HERE, GONE = "1" * 64, "2" * 64

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="makes devices and changes owners")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A node with keys, one grant of two layers, and one of them."""
    made = Places(tmp_path / "data", tmp_path / "run")
    made.prepare()
    (made.keys / "node").write_text("key\n")
    (made.keys / ".node.123.partial").write_text("half a key")
    made.grants(SCOPE).mkdir()
    layers = [{"diff_id": f"sha256:{each}"} for each in (HERE, GONE)]
    made.grant(SCOPE, f"sha256:{IMAGE}").write_text(json.dumps({"layers": layers}))
    layer = made.layer(f"sha256:{HERE}")
    layer.mkdir(mode=0o755)
    (layer / "file").write_text("content")
    (layer / "file").chmod(0o4755)
    (layer / "away").symlink_to("/etc/shadow")
    return made


def saved(places: Places, *, with_layers: bool) -> dict[str, bytes]:
    target = io.BytesIO()
    keeping.save(places, target, with_layers=with_layers)
    target.seek(0)
    with tarfile.open(fileobj=target) as archive:
        return {each.name: archive.extractfile(each).read() for each in archive}  # type: ignore[union-attr]


def test_keys_and_grants_are_saved_and_nothing_half_written(places: Places) -> None:
    assert sorted(saved(places, with_layers=False)) == [f"images/{SCOPE}/{IMAGE}.json", "keys/node"]


def test_caches_are_not_saved(places: Places) -> None:
    for scope in ("upstream", f"builds-{SCOPE}"):
        places.grants(scope).mkdir()
        places.grant(scope, f"sha256:{IMAGE}").write_text(json.dumps({"layers": []}))
    assert sorted(saved(places, with_layers=True)) == [
        f"images/{SCOPE}/{IMAGE}.json",
        "keys/node",
        f"layers/sha256/{HERE}.tar",
    ]


def test_layers_come_along_when_they_are_asked_for_and_there(places: Places) -> None:
    assert f"layers/sha256/{HERE}.tar" in saved(places, with_layers=True)
    assert f"layers/sha256/{GONE}.tar" not in saved(places, with_layers=True)
    assert keeping.missing_layers(places) == [f"sha256:{GONE}"]


@root_only
def test_a_layer_comes_back_as_it_was(places: Places, tmp_path: Path) -> None:
    layer = places.layer(f"sha256:{HERE}")
    os.mknod(layer / "whiteout", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    os.chown(layer / "file", 1234, 5678)
    (layer / "file").chmod(0o4755)
    os.setxattr(layer, "trusted.overlay.opaque", b"y")
    os.setxattr(layer / "file", "user.note", b"kept")
    notes = places.layer_notes(f"sha256:{HERE}")
    notes.mkdir(mode=0o700)
    (notes / "split").write_bytes(b"how the archive was made")
    other = Places(tmp_path / "other", tmp_path / "run")
    for name, body in saved(places, with_layers=True).items():
        (other.node / name).parent.mkdir(parents=True, exist_ok=True)
        (other.node / name).write_bytes(body)
    assert keeping.unpack(other) == 1
    back = other.layer(f"sha256:{HERE}")
    assert (other.layer_notes(f"sha256:{HERE}") / "split").read_bytes() == b"how the archive was made"
    assert os.getxattr(back, "trusted.overlay.opaque") == b"y"
    assert os.getxattr(back / "file", "user.note") == b"kept"
    status = (back / "file").stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 5678, 0o4755)
    assert stat.S_ISCHR((back / "whiteout").lstat().st_mode)
    assert os.readlink(back / "away") == "/etc/shadow"
    assert [path.name for path in back.parent.iterdir()] == [HERE]
    assert keeping.missing_layers(other) == [f"sha256:{GONE}"]
