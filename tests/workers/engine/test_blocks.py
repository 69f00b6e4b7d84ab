"""Blobs in blocks, made ahead of whoever sends them."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.engine.transfer.ahead import made_ahead
from workers.engine.transfer.uploads import blocks_of


@given(st.lists(st.binary(max_size=50)), st.integers(1, 20))
def test_blocks_are_the_same_bytes_and_only_the_last_is_short(pieces: list[bytes], size: int) -> None:
    blocks = list(blocks_of(iter(pieces), size))
    assert b"".join(blocks) == b"".join(pieces)
    assert all(len(block) == size for block in blocks[:-1])
    assert len(blocks[-1]) <= size


def numbers(limit: int, made: list[int]) -> Generator[bytes, None, None]:
    for number in range(limit):
        made.append(number)
        yield bytes([number])


def test_blocks_made_ahead_are_the_same_in_order() -> None:
    assert list(made_ahead(numbers(50, []))) == [bytes([number]) for number in range(50)]


def test_what_makes_them_fails_where_they_are_taken() -> None:
    def broken() -> Iterator[bytes]:
        yield b"one"
        raise ValueError("two")

    blocks = made_ahead(blocks_of(broken(), 2))
    with pytest.raises(ValueError, match="two"):
        list(blocks)


@pytest.mark.parametrize("taken", [1, 3])
def test_nobody_goes_on_making_what_is_not_taken(taken: int) -> None:
    made: list[int] = []
    before = threading.active_count()
    blocks = made_ahead(numbers(100, made))
    for _ in range(taken):
        next(blocks)
    blocks.close()
    assert threading.active_count() == before
    assert len(made) <= taken + 3
