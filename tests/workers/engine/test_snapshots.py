from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers.engine import snapshots
from workers.engine.identity import drop_userns, ensure_userns
from workers.engine.kernel import Overlay, RecordingKernel
from workers.engine.places import Places
from workers.errors import BadCommand, NodeError
from workers.messages import LayerFacts

CONTAINER = "c" * 64
BASE = 2_000_000


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(tmp_path / "data", tmp_path / "run")
    places.prepare()
    return places


def layers(places: Places, *names: str) -> list[LayerFacts]:
    facts = []
    for name in names:
        diff_id = f"sha256:{name * 64}"
        places.layer(diff_id).mkdir(exist_ok=True)
        facts.append(LayerFacts(diff_id, diff_id, 1, 1))
    return facts


def mounted(places: Places, stack: list[LayerFacts]) -> Overlay:
    kernel = RecordingKernel()
    rootfs = snapshots.mount(kernel, places, CONTAINER, stack, places.namespace(BASE), BASE)
    overlay = kernel.mounts[rootfs]
    assert isinstance(overlay, Overlay)
    return overlay


def test_the_top_layer_comes_first_below_an_upper_that_reads_as_a_layer(places: Places) -> None:
    bottom, top = layers(places, "a", "b")
    overlay = mounted(places, [bottom, top])
    assert overlay.lowers == (places.layer(top.diff_id), places.layer(bottom.diff_id))
    assert dict(overlay.options) == {"redirect_dir": "off", "metacopy": "off", "index": "off"}
    assert overlay.flags == ("volatile",)
    assert (overlay.writable / "upper").stat().st_mode & 0o777 == 0o755


def test_a_layer_an_image_repeats_is_stacked_once_at_its_topmost_place(places: Places) -> None:
    a, b = layers(places, "a", "b")
    assert mounted(places, [a, b, a]).lowers == (places.layer(a.diff_id), places.layer(b.diff_id))


def test_an_image_without_layers_stands_on_nothing(places: Places) -> None:
    (lower,) = mounted(places, []).lowers
    assert list(lower.iterdir()) == []


def test_what_was_written_stays_and_the_scratch_space_is_new_at_each_start(places: Places) -> None:
    stack = layers(places, "a")
    writable = mounted(places, stack).writable
    (writable / "upper" / "kept").write_text("x")
    (writable / "work" / "volatile-mark").write_text("x")
    mounted(places, stack)
    assert (writable / "upper" / "kept").read_text() == "x"
    assert list((writable / "work").iterdir()) == []


def test_mounting_twice_mounts_once(places: Places) -> None:
    kernel, stack = RecordingKernel(), layers(places, "a")
    for _ in range(2):
        snapshots.mount(kernel, places, CONTAINER, stack, places.namespace(BASE), BASE)
    assert [call[0] for call in kernel.calls].count("mount_overlay") == 1


def test_removing_is_repeatable(places: Places) -> None:
    kernel = RecordingKernel()
    snapshots.mount(kernel, places, CONTAINER, layers(places, "a"), places.namespace(BASE), BASE)
    for _ in range(2):
        snapshots.remove(kernel, places, CONTAINER)
    assert kernel.mounts == {}
    assert not places.snapshot(CONTAINER).exists()


def test_directories_nested_beyond_any_path_name_are_removed(places: Places) -> None:
    kernel, stack = RecordingKernel(), layers(places, "a")
    snapshots.prepare(places, CONTAINER, stack)
    nest(places.snapshot(CONTAINER) / "rw" / "upper", depth=3000)
    snapshots.remove(kernel, places, CONTAINER)
    assert not places.snapshot(CONTAINER).exists()


def nest(directory: Path, depth: int) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)


def test_a_layer_the_node_lacks_is_named(places: Places) -> None:
    stack = layers(places, "a")
    places.layer(stack[0].diff_id).rmdir()
    with pytest.raises(NodeError, match=stack[0].diff_id):
        snapshots.prepare(places, CONTAINER, stack)


def test_a_torn_note_is_no_note_and_is_written_anew(places: Places) -> None:
    stack = layers(places, "a")
    snapshots.prepare(places, CONTAINER, stack)
    (places.snapshot(CONTAINER) / "layers.json").write_bytes(b"")
    assert snapshots.noted(places, CONTAINER) is None
    snapshots.prepare(places, CONTAINER, stack)
    assert snapshots.noted(places, CONTAINER) == [stack[0].diff_id]


def test_a_range_gets_one_namespace(places: Places) -> None:
    kernel = RecordingKernel()
    paths = {ensure_userns(kernel, places, BASE, 65536) for _ in range(3)}
    assert kernel.calls == [("user_namespace", str(*paths), str(BASE), "65536")]
    drop_userns(kernel, places, BASE)
    assert kernel.mounts == {}


@pytest.mark.parametrize("name", ["..", "a/b", "", ".hidden", "/etc", "a\0b", "x" * 200])
def test_an_id_cannot_leave_its_directory(places: Places, name: str) -> None:
    for place in (places.snapshot, places.bundle, places.leases, places.log_directory, places.grants):
        with pytest.raises(BadCommand):
            place(name)
    with pytest.raises(BadCommand):
        places.layer(f"sha256:{name}")


def test_preparing_repairs_modes_and_is_repeatable(places: Places) -> None:
    places.node.chmod(0o777)
    places.prepare()
    assert places.node.stat().st_mode & 0o777 == 0o700
    assert places.bundles.stat().st_mode & 0o777 == 0o711
