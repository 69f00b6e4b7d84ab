"""Build contexts in parts: what is missing is asked for, nothing hostile gets in, nobody sees others'."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import contexts as module
from workers import packs as packs_module
from workers.content import DirectoryContent
from workers.contexts import FORGOTTEN, FRESH, Contexts, Entry, header, parse
from workers.errors import ContextIncomplete, ContextInvalid
from workers.oci.digest import Digest
from workers.packs import Packs
from workers.uploads import Uploads

ACME, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def contexts(tmp_path: Path) -> Contexts:
    (tmp_path / "uploads").mkdir()
    uploads = Uploads(tmp_path / "uploads", DirectoryContent(tmp_path / "content"))
    return Contexts(tmp_path / "contexts", uploads)


def name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file(path: str, data: bytes, mode: int = 0o644) -> dict[str, Any]:
    return {"p": path, "t": "f", "m": mode, "s": len(data), "h": name(data), "d": 7}


def manifest(*entries: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(entry).encode() + b"\n" for entry in entries)


def packed(*contents: bytes) -> bytes:
    return b"".join(f"{name(data)} {len(data)}\n".encode() + data for data in contents)


def send(contexts: Contexts, context: str, data: bytes, scope: str = ACME, piece: int = 7) -> int:
    contents = contexts.contents(scope, context)
    try:
        for start in range(0, len(data), piece):
            contents.feed(data[start : start + piece])
        contents.finish()
    finally:
        contents.close()
    return contents.taken


def members(contexts: Contexts, digest: Digest) -> dict[str, Any]:
    with contexts._uploads.content.open(digest) as archive, tarfile.open(fileobj=archive) as tar:
        return {
            member.name: (
                member.mode,
                member.mtime,
                member.linkname or (tar.extractfile(member) or io.BytesIO()).read(),
            )
            for member in tar
        }


FOLDER = manifest(
    file("src/main.py", b"print(1)\n"),
    {"p": "src", "t": "d", "m": 0o755, "d": 5},
    file("Dockerfile", b"FROM busybox\n"),
    file("empty", b""),
    {"p": "link", "t": "l", "m": 0o777, "l": "src/main.py"},
)


def test_a_folder_is_put_together_and_sent_once(contexts: Contexts) -> None:
    proposal = contexts.propose(ACME, FOLDER)
    assert set(proposal.missing) == {name(b"print(1)\n"), name(b"FROM busybox\n"), name(b"")}
    assert (proposal.entries, proposal.size, proposal.missing_bytes) == (5, 22, 22)
    assert send(contexts, proposal.context, packed(b"FROM busybox\n", b"", b"print(1)\n")) == 3
    digest, _ = contexts.assemble(ACME, proposal.context)
    assert members(contexts, digest) == {
        "Dockerfile": (0o644, 7, b"FROM busybox\n"),
        "empty": (0o644, 7, b""),
        "link": (0o777, 0, "src/main.py"),
        "src": (0o755, 5, b""),
        "src/main.py": (0o644, 7, b"print(1)\n"),
    }
    assert contexts.propose(ACME, FOLDER).missing == ()
    changed = contexts.propose(ACME, manifest(file("Dockerfile", b"FROM busybox\n"), file("new", b"new")))
    assert changed.missing == (name(b"new"),)


def test_another_project_has_none_of_it(contexts: Contexts) -> None:
    context = contexts.propose(ACME, FOLDER).context
    send(contexts, context, packed(b"print(1)\n"))
    assert len(contexts.propose(OTHER, FOLDER).missing) == 3
    with pytest.raises(ContextIncomplete):
        contexts.assemble(OTHER, context)


def test_what_has_not_come_or_was_damaged_is_asked_for_again(contexts: Contexts) -> None:
    context = contexts.propose(ACME, FOLDER).context
    with pytest.raises(ContextIncomplete):
        contexts.assemble(ACME, context)
    send(contexts, context, packed(b"FROM busybox\n", b"", b"print(1)\n"))
    content = name(b"print(1)\n")
    (damaged,) = (contexts._directory / ACME / "packs").glob("*.pack")
    damaged.write_bytes(damaged.read_bytes().replace(b"print(1)\n", b"print(2)\n"))
    with pytest.raises(ContextIncomplete, match=r"src/main\.py"):
        contexts.assemble(ACME, context)
    assert contexts.propose(ACME, FOLDER).missing == (content,)
    assert list((contexts._uploads.content.root / "blobs" / "sha256").iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [
        packed(b"never asked for"),
        f"{name(b'print(1)' + chr(10).encode())} 9\nsomething".encode(),
        f"{name(b'print(1)' + chr(10).encode())} 9\nprint".encode(),
        b"no header" * 100,
        b"../../etc/passwd 9\n",
        b"\n",
    ],
)
def test_contents_that_are_something_else_leave_nothing(contexts: Contexts, data: bytes) -> None:
    context = contexts.propose(ACME, FOLDER).context
    with pytest.raises(ContextInvalid):
        send(contexts, context, data)
    left = [path for path in (contexts._directory / ACME).rglob("*") if path.is_file()]
    assert [path.parent.name for path in left] == ["manifests"]


@pytest.mark.parametrize(
    "entry",
    [
        {"p": "../x", "t": "d", "m": 0},
        {"p": "/x", "t": "d", "m": 0},
        {"p": "a//b", "t": "d", "m": 0},
        {"p": "", "t": "d", "m": 0},
        {"p": "a\0b", "t": "d", "m": 0},
        {"p": "x" * 300, "t": "d", "m": 0},
        {"p": "\ud800", "t": "d", "m": 0},
        {"p": "x", "t": "b", "m": 0},
        {"p": "x", "t": "f", "m": 0, "s": 1, "h": "../../../../etc/shadow"},
        {"p": "x", "t": "f", "m": 0, "s": -1, "h": "0" * 64},
        {"p": "x", "t": "f", "m": 0, "s": True, "h": "0" * 64},
        {"p": "x", "t": "l", "m": 0, "l": ""},
        {"p": "link/x", "t": "d", "m": 0},
        {"p": "link", "t": "d", "m": 0},
        ["p"],
        "no JSON",
    ],
)
def test_a_hostile_manifest_is_refused(entry: Any) -> None:
    line = entry.encode() if entry == "no JSON" else json.dumps(entry).encode()
    with pytest.raises(ContextInvalid):
        parse(manifest({"p": "link", "t": "l", "m": 0o777, "l": "/etc"}) + line)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_manifest_or_refused(data: bytes) -> None:
    with contextlib.suppress(ContextInvalid):
        parse(data)


@pytest.mark.parametrize("key", ["", "..", "A" * 32, "a" * 31, "../" + "a" * 29])
def test_a_scope_is_a_projects_id(contexts: Contexts, key: str) -> None:
    with pytest.raises(ContextInvalid):
        contexts.propose(key, b"")


def test_contents_unused_for_a_week_go(contexts: Contexts) -> None:
    context = contexts.propose(ACME, FOLDER).context
    send(contexts, context, packed(b"FROM busybox\n", b"", b"print(1)\n"))
    contexts.sweep()
    contexts.assemble(ACME, context)
    contexts.sweep(time.time() + FORGOTTEN + 60)
    assert len(contexts.propose(ACME, FOLDER).missing) == 3


def test_what_came_whole_before_an_upload_broke_off_is_not_asked_for_again(contexts: Contexts) -> None:
    context = contexts.propose(ACME, FOLDER).context
    with pytest.raises(ContextInvalid, match="break off"):
        send(contexts, context, packed(b"FROM busybox\n", b"print(1)\n")[:-3])
    assert set(contexts.propose(ACME, FOLDER).missing) == {name(b"print(1)\n"), name(b"")}
    assert send(contexts, context, packed(b"", b"print(1)\n")) == 2
    contexts.assemble(ACME, context)


def test_a_kill_leaves_nothing_that_counts_and_the_sweep_takes_it(contexts: Contexts) -> None:
    context = contexts.propose(ACME, FOLDER).context
    if (pid := os.fork()) == 0:
        contexts.contents(ACME, context).feed(packed(b"FROM busybox\n", b"", b"print(1)\n"))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert len(contexts.propose(ACME, FOLDER).missing) == 3
    packs = contexts._directory / ACME / "packs"
    assert len(list(packs.iterdir())) == 1
    contexts.sweep(time.time() + FRESH + 60)
    assert list(packs.iterdir()) == []


def test_old_contents_go_in_portions(contexts: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs_module, "PACK_BYTES", 1000)
    monkeypatch.setattr(module, "KEPT_BYTES", 2500)
    bodies = [bytes([number]) * 1000 for number in range(4)]
    whole = manifest(*(file(f"f{number}", body) for number, body in enumerate(bodies)))
    send(contexts, contexts.propose(ACME, whole).context, packed(*bodies), piece=700)
    slots = Packs(contexts._directory / ACME / "packs").slots()
    for age, body in enumerate(reversed(bodies)):
        path = contexts._directory / ACME / "packs" / f"{slots[name(body)].pack}.pack"
        os.utime(path, (0, time.time() - 2 * FRESH - age))
    contexts.sweep()
    assert set(contexts.propose(ACME, whole).missing) == {name(bodies[0]), name(bodies[1])}


def test_a_torn_index_is_read_as_far_as_it_goes(contexts: Contexts) -> None:
    context = contexts.propose(ACME, FOLDER).context
    send(contexts, context, packed(b"FROM busybox\n", b"", b"print(1)\n"))
    (index,) = (contexts._directory / ACME / "packs").glob("*.index")
    index.write_bytes(index.read_bytes()[:-20] + b"\0\0\xff")
    assert contexts.propose(ACME, FOLDER).missing == (name(b"print(1)\n"),)


@given(
    st.builds(
        Entry,
        path=st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0/"), min_size=1),
        kind=st.sampled_from(["f", "d", "l"]),
        mode=st.integers(0, 0o7777),
        size=st.sampled_from([0, 1, 8**11 - 1, 8**11]),
        content=st.text("abc/.é", min_size=1, max_size=120),
        mtime=st.integers(0, 1 << 33),
    )
)
def test_headers_are_those_of_tarfile(entry: Entry) -> None:
    entry = replace(entry, size=entry.size if entry.kind == "f" else 0)
    info = tarfile.TarInfo(entry.path)
    info.mode, info.mtime, info.size = entry.mode, entry.mtime, entry.size
    info.type = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE}[entry.kind]
    info.linkname = entry.content if entry.kind == "l" else ""
    assert header(entry) == info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def test_an_upload_kept_again_outlives_one_use(contexts: Contexts) -> None:
    uploads = contexts._uploads
    context = contexts.propose(ACME, manifest({"p": "d", "t": "d", "m": 0o755})).context
    digest, size = contexts.assemble(ACME, context)
    assert uploads.keep_again(digest) == size
    uploads.release(digest)
    assert uploads.content.exists(digest)
    uploads.release(digest)
    assert not uploads.content.exists(digest)
