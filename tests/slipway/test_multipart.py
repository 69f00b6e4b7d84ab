"""The multipart reader: the same form however the bytes are cut, and specific words for broken ones."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.errors import MalformedBody
from slipway.multipart import Form, parse_boundary, read_form

B = b"----x7"


def form(*parts: tuple[str, bytes], end: bytes = b"--\r\n") -> bytes:
    text = b""
    for name, value in parts:
        text += b"--" + B + b'\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n'
        text += b"Content-Type: application/x-tar\r\n\r\n" + value + b"\r\n"
    return text + b"--" + B + end


async def cut(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(body: bytes, size: int = 65536) -> tuple[Form, bytes]:
    found = await read_form(cut(body, size), B, "archive")
    assert found.archive is not None
    return found, b"".join([chunk async for chunk in found.archive])


@given(st.binary(max_size=300), st.integers(min_value=1, max_value=70))
async def test_the_archive_comes_out_whole_however_the_body_is_cut(data: bytes, size: int) -> None:
    data = data.replace(b"--" + B, b"")
    found, archive = await read(form(("tag", b"1.0"), ("archive", data)), size)
    assert archive == data
    assert found.fields == {"tag": ["1.0"]}


async def test_what_looks_like_a_boundary_is_data() -> None:
    data = b"\r\n--" + B[:-1] + b"8\r\n\r\n--\r\n"
    assert (await read(form(("archive", data)), 3))[1] == data


async def test_an_empty_archive_is_empty() -> None:
    assert (await read(form(("archive", b"")), 5))[1] == b""


async def test_a_field_given_twice_is_a_list() -> None:
    found, _ = await read(form(("change", b"CMD a"), ("change", b"ENV b=c"), ("archive", b"x")))
    assert found.fields["change"] == ["CMD a", "ENV b=c"]


async def test_a_preamble_and_an_epilogue_are_skipped() -> None:
    body = b"preamble\r\n" + form(("archive", b"x")) + b"epilogue"
    assert (await read(body, 4))[1] == b"x"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (form(("archive", b"x" * 9))[:-20], "cut off"),
        (form(("tag", b"x")), "no part named 'archive'"),
        (form(("archive", b"x"), ("tag", b"y")), "must be the last one"),
        (form(("tag", b"x" * 70000), ("archive", b"x")), "larger than 64 KiB"),
        (form(("tag", b"\xff"), ("archive", b"x")), "not UTF-8"),
        (form(("archive", b"x"), end=b"??"), "line break"),
        (b"", "cut off"),
    ],
)
async def test_a_broken_form_is_refused_by_name(body: bytes, words: str) -> None:
    with pytest.raises(MalformedBody, match=words):
        await read(body, 1000)


def test_a_boundary_is_needed() -> None:
    assert parse_boundary('multipart/form-data; boundary="a b"') == b"a b"
    with pytest.raises(MalformedBody, match="boundary"):
        parse_boundary("multipart/form-data")
