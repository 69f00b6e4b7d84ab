"""Secrets are taken out of streams, wherever a chunk ends and however they are written."""

from __future__ import annotations

import base64
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.engine.build.redaction import MARK, Redactor, patterns, redact

SECRET = "s3cr3t/+ value&x"

FORMS = [quote(SECRET, safe=""), SECRET.encode().hex(), SECRET.encode().hex().upper()]


def through(secrets: list[str], chunks: list[bytes]) -> bytes:
    redactor = Redactor(patterns(secrets))
    return b"".join(redactor.feed(chunk) for chunk in chunks) + redactor.finish()


@given(
    before=st.binary(max_size=20), after=st.binary(max_size=20), cuts=st.lists(st.integers(0, 60), max_size=6)
)
def test_a_secret_is_found_wherever_the_chunks_end(before: bytes, after: bytes, cuts: list[int]) -> None:
    data = before + SECRET.encode() + after
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[start:end] for start, end in pairwise(edges)]

    clean = through([SECRET], chunks)

    assert SECRET.encode() not in clean
    assert MARK in clean


@pytest.mark.parametrize("shift", range(3))
def test_a_secret_is_found_in_base64_at_each_alignment(shift: int) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(b"x" * shift + SECRET.encode() + b"tail")

        clean = through([SECRET], [text])

        # What is left are the neighbours, and characters they share with the secret.
        assert MARK in clean
        assert len(clean.replace(MARK, b"")) <= 12


@pytest.mark.parametrize(
    "form", [quote(SECRET, safe=""), SECRET.encode().hex(), SECRET.encode().hex().upper()]
)
def test_a_secret_is_found_in_other_forms(form: str) -> None:
    assert redact(f"a {form} b", patterns([SECRET])) == "a *** b"


def test_each_line_of_a_secret_counts() -> None:
    known = patterns(["first-line-1\nsecond-line\n"])
    assert redact("got: second-line", known) == "got: ***"
    assert redact("first-line-1\nsecond-line\n", known) == "***"


def test_what_is_no_secret_passes_unchanged_and_at_once() -> None:
    redactor = Redactor(patterns([SECRET]))
    assert redactor.feed(b"progress 10%\r") == b"progress 10%\r"
    assert redactor.feed(b"ends with s3c") == b"ends with "
    assert redactor.feed(b"ret") == b"s3cret"


def test_without_secrets_nothing_is_looked_for() -> None:
    assert through(["", "abc"], [b"abc"]) == b"abc"
