"""Secrets are taken out of streams, wherever a chunk ends and however they are written."""

from __future__ import annotations

import base64
import random
import time
import tracemalloc
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
    assert redact("first-line-1\nsecond-line\n", known) == "***\n"


def test_what_is_no_secret_passes_unchanged_and_at_once() -> None:
    redactor = Redactor(patterns([SECRET]))
    assert redactor.feed(b"progress 10%\r") == b"progress 10%\r"
    assert redactor.feed(b"ends with s3c") == b"ends with "
    assert redactor.feed(b"ret") == b"s3cret"


def test_without_secrets_nothing_is_looked_for() -> None:
    assert through(["", "abc"], [b"abc"]) == b"abc"


@given(
    secrets=st.lists(st.text("ab", min_size=4, max_size=7), min_size=1, max_size=3),
    text=st.text("abbc\n", max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
)
def test_no_secret_is_left_where_many_overlap(secrets: list[str], text: str, cuts: list[int]) -> None:
    data = text.encode()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]

    clean = through(secrets, [data[start:end] for start, end in pairwise(edges)]).decode()

    assert not [secret for secret in secrets if secret in clean]
    if not any(secret in text.replace("\n", "") for secret in secrets):
        assert clean == text


@given(cuts=st.lists(st.integers(0, 100), max_size=6))
def test_nothing_but_the_secret_is_taken_out_wherever_the_chunks_end(cuts: list[int]) -> None:
    data = f"{SECRET} {SECRET}\n-r--r--r-- {quote(SECRET, safe='')} and so on\n".encode()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]

    clean = through([SECRET], [data[start:end] for start, end in pairwise(edges)])

    assert clean == b"*** ***\n-r--r--r-- *** and so on\n"


@pytest.mark.parametrize("columns", [60, 64, 76])
@pytest.mark.parametrize("size", [40, 90, 400, 5000])
def test_line_breaks_do_not_hide_an_encoded_secret(size: int, columns: int) -> None:
    secret = random.Random(size).randbytes(size).hex()[:size]
    for shift in range(3):
        encoded = base64.b64encode(b"x" * shift + secret.encode() + b"tail").decode()
        lines = [encoded[at : at + columns] for at in range(0, len(encoded), columns)]
        for break_ in ("\n", "\r\n"):
            text = f"before\n{break_.join(lines)}\nafter\n".encode()
            for step in (1, 7, 4096):
                clean = through([secret], [text[at : at + step] for at in range(0, len(text), step)])
                # At most what shares a character with its neighbours, and what a line ended with.
                assert len(clean.replace(MARK, b"")) <= len("before\n\nafter\n") + 22, clean


def test_a_line_is_not_held_back_for_a_byte_that_begins_a_secret() -> None:
    redactor = Redactor(patterns([SECRET]))
    assert redactor.feed(b"downloads\n") == b"downloads\n"
    assert redactor.feed(b"files\n") == b"files\n"
    assert redactor.feed(b"a s3\n") == b"a s3\n"
    assert redactor.feed(SECRET[2:].encode() + b"!") == MARK + b"!"


def test_two_secrets_on_two_lines_are_two_marks() -> None:
    assert redact("token-one\ntoken-two\n", patterns(["token-one", "token-two"])) == "***\n***\n"


def test_a_large_secret_costs_memory_and_time_in_proportion() -> None:
    secret = base64.b64encode(random.Random(1).randbytes(393_216)).decode()
    assert len(secret) == 512 << 10
    chunk = b"an ordinary line of what a step prints, of which there are many\n" * 1000
    tracemalloc.start()
    try:
        redactor = Redactor(patterns([secret]))
        redactor.feed(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    since = time.process_time()
    for _ in range(10):
        assert redactor.feed(chunk)
    slow = time.process_time() - since

    assert peak < 48 << 20, f"{peak >> 20} MiB"
    assert slow < 5
    for form in (secret.encode(), base64.encodebytes(secret.encode()), secret.encode().hex().encode()):
        clean = through([secret], [b"<", *(form[at : at + 999] for at in range(0, len(form), 999))])
        assert clean.startswith(b"<***")
        assert len(clean) < 200


def test_a_secret_of_many_lines_costs_no_more() -> None:
    lines = [f"{number:08d}" for number in range(50_000)]
    known = patterns(["\n".join(lines)])
    since = time.process_time()
    clean = redact("\n".join(f"see {line}!" for line in lines[::50]), known)
    assert time.process_time() - since < 5
    assert clean == "\n".join(["see ***!"] * 1000)
