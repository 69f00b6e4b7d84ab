"""Builds on a disk that is full: an error that says so, nothing half-done, and space is all it takes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.system.build.rigs import BuildRig
from tests.system.rigs import SCOPE, Rig, rootfs
from workers.engine import importing
from workers.engine.build.builder import Builder
from workers.engine.host import open_engine, teardown
from workers.engine.places import Places
from workers.errors import NoSpace

DISK = 48 << 20


@pytest.fixture
def small(builder_rig: Rig, tmp_path: Path) -> Iterator[BuildRig]:
    """Its data lie on a small disk of their own."""
    image, data = tmp_path / "disk", builder_rig.places.data.parent / "small"
    with image.open("wb") as file:
        file.truncate(DISK)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    data.mkdir(mode=0o711)
    subprocess.run(["mount", "-o", "loop", str(image), str(data)], check=True)
    run = builder_rig.places.data.parent / "small-run"
    engine = open_engine(Places(data, run), instance=f"{builder_rig.engine.instance}s")
    try:
        archive = tmp_path / "base.tar"
        archive.write_bytes(rootfs())
        imported = importing.import_archive(engine.images, archive, scope=SCOPE)
        rig = replace(builder_rig, engine=engine, image_id=imported.image_id, block=builder_rig.block + 2)
        made = BuildRig(rig, Builder.open(engine), tmp_path)
        yield made
        made.builder.cache.close()
        assert made.traces() == []
    finally:
        teardown(engine)
        subprocess.run(["umount", str(data)], check=True)
        data.rmdir()


CASES = {
    "a context": ("FROM base\n", {"big": b"x" * (60 << 20)}),
    "a copy": ("FROM base\nCOPY --chown=7:7 big /big\n", {"big": b"x" * (30 << 20)}),
    "a command": ("FROM base\nRUN dd if=/dev/zero of=/big bs=1M count=80\n", {}),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_said_so_and_space_is_all_it_takes(small: BuildRig, name: str) -> None:
    text, files = CASES[name]
    with pytest.raises(NoSpace, match="No space left"):
        small.build(text, files)

    assert list(small.rig.places.build_snapshots.glob("*/*")) == []
    built = small.build("FROM base\nRUN echo fits > /fits\n")
    assert small.text(built, "/fits") == "fits\n"
