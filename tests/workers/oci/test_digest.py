from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import InvalidDigest
from workers.oci.chain import chain_id
from workers.oci.digest import Digest


@given(st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_a_digest_reads_back_from_its_text(data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)
    assert Digest.parse(str(digest)) == digest
    assert digest.hex == hashlib.new(algorithm, data).hexdigest()


@given(st.text())
def test_parsing_gives_a_digest_of_the_same_text_or_its_own_error(text: str) -> None:
    with contextlib.suppress(InvalidDigest):
        assert str(Digest.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", "sha256:" + "a" * 63, "sha256:" + "A" * 64, "sha512:" + "a" * 64, "md5:" + "a" * 32,
     "sha256:../../etc/passwd", "sha256:" + "a" * 64 + "\n", "sha256:" + "\u0661" * 64, None, 7],
)  # fmt: skip
def test_what_is_no_digest_is_refused(text: object) -> None:
    with pytest.raises(InvalidDigest):
        Digest.parse(text)


def test_the_chain_of_one_layer_is_its_diff_id() -> None:
    only = Digest.of(b"layer")
    assert chain_id([only]) == only


def test_a_chain_hashes_the_chain_below_and_the_diff_id() -> None:
    one, two, three = (Digest.of(bytes([n])) for n in range(3))
    below = Digest.of(f"{one} {two}".encode())
    assert chain_id([one, two, three]) == Digest.of(f"{below} {three}".encode())


def test_an_empty_stack_has_no_chain() -> None:
    with pytest.raises(ValueError, match="empty"):
        chain_id([])
