"""USER resolved by the image's own files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers.engine.runtime.users import User, reader, resolve
from workers.errors import InvalidSpec

FILES = {
    "/etc/passwd": (
        "root:x:0:0:root:/root:/bin/sh\n# a comment\nbroken line\n"
        "bob:x:1000:1001::/home/bob:/bin/sh\n42:x:7:7::/seven:\nnohome:x:8:8:::\n"
    ),
    "/etc/group": "root:x:0:\nwheel:x:10:root,bob\nvideo:x:44:bob\nbad:x:y:bob\n",
}


STRANGE = f"two:x:\u00b2:0::/:\nlong:x:{'9' * 5000}:0::/:\nsigned:x:+1:0::/:\n"
"""What Python takes for digits, and cannot or must not read."""


def read(path: str) -> str:
    return FILES.get(path, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", User(0, 0, (10,), "/root")),
        ("root", User(0, 0, (10,), "/root")),
        ("bob", User(1000, 1001, (10, 44), "/home/bob")),
        ("1000", User(1000, 1001, (10, 44), "/home/bob")),
        ("bob:video", User(1000, 44, (), "/home/bob")),
        ("bob:99", User(1000, 99, (), "/home/bob")),
        ("3000", User(3000, 0, (), "/")),
        ("3000:3001", User(3000, 3001, (), "/")),
        ("42", User(7, 7, (), "/seven")),
        ("nohome", User(8, 8, (), "/")),
    ],
)
def test_users_resolve_as_docker_does(text: str, expected: User) -> None:
    assert resolve(text, read) == expected


@pytest.mark.parametrize("text", ["alice", "bob:nobody", "bob:", ":0x", "-1", "65536", "0:65536", "bob:bad"])
def test_what_the_image_does_not_know_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpec):
        resolve(text, read)


def test_an_image_without_passwd_takes_numbers_only() -> None:
    assert resolve("", lambda path: "") == User(0, 0)
    assert resolve("5:6", lambda path: "") == User(5, 6)
    with pytest.raises(InvalidSpec, match="no user 'bob'"):
        resolve("bob", lambda path: "")


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    root = tmp_path / "rootfs"
    (root / "etc").mkdir(parents=True)
    (tmp_path / "passwd").write_text("outside")
    (root / "inside").write_text("inside")
    return root


@pytest.mark.parametrize(
    ("target", "expected"),
    [("../../passwd", ""), ("../../../../../../inside", "inside"), ("/inside", "inside"), ("loop", "")],
)
def test_a_link_never_leads_out_of_the_rootfs(rootfs: Path, target: str, expected: str) -> None:
    (rootfs / "etc" / "passwd").symlink_to(target)
    (rootfs / "etc" / "loop").symlink_to("loop")
    assert reader(rootfs)("/etc/passwd") == expected


def test_a_fifo_is_not_waited_for(rootfs: Path) -> None:
    os.mkfifo(rootfs / "etc" / "passwd")
    assert reader(rootfs)("/etc/passwd") == ""


def test_a_missing_file_and_a_directory_read_as_empty(rootfs: Path) -> None:
    assert reader(rootfs)("/etc/passwd") == ""
    (rootfs / "etc" / "passwd").mkdir()
    assert reader(rootfs)("/etc/passwd") == ""


@pytest.mark.parametrize("name", ["two", "long", "signed", "\u00b2", "9" * 5000])
def test_what_only_looks_like_a_number_is_no_id(name: str) -> None:
    with pytest.raises(InvalidSpec, match="has no user"):
        resolve(name, lambda path: STRANGE if path == "/etc/passwd" else "")
