"""Wildcards of COPY mean what Go's filepath.Match says."""

from __future__ import annotations

import pytest

from workers.engine.build.matching import has_wildcards, pattern, unescaped
from workers.errors import BuildFailed

# From the table of Go's own test of path/filepath.Match.
GO = [
    ("abc", "abc", True), ("*", "abc", True), ("*c", "abc", True), ("a*", "a", True), ("a*", "abc", True),
    ("a*", "ab/c", False), ("a*b*c*d*e*", "axbxcxdxe", True), ("a*b?c*x", "abxbbxdbxebxczzx", True),
    ("a*b?c*x", "abxbbxdbxebxczzy", False), ("ab[c]", "abc", True), ("ab[b-d]", "abc", True),
    ("ab[e-g]", "abc", False), ("ab[^c]", "abc", False), ("ab[^b-d]", "abc", False),
    ("ab[^e-g]", "abc", True),
    ("a\\*b", "a*b", True), ("a\\*b", "ab", False), ("a?b", "a☺b", True), ("a[^a]b", "a☺b", True),
    ("a???b", "a☺b", False), ("[a-ζ]*", "\u03b1", True), ("*[a-ζ]", "A", False), ("a?b", "a/b", False),
    ("a*b", "a/b", False), ("[\\]a]", "]", True), ("[\\-]", "-", True), ("[x\\-]", "x", True),
    ("[x\\-]", "-", True), ("[x\\-]", "z", False), ("[\\-x]", "a", False), ("*x", "xxx", True),
]  # fmt: skip
BAD = ["[]a]", "[-]", "[x-]", "[-x]", "[", "[^", "[^bc", "a[", "\\", "[a-b-c]", "a\\"]


@pytest.mark.parametrize(("text", "name", "matches"), GO)
def test_a_pattern_matches_as_in_go(text: str, name: str, matches: bool) -> None:
    assert bool(pattern(text).fullmatch(name)) is matches


@pytest.mark.parametrize("text", BAD)
def test_a_malformed_pattern_is_refused(text: str) -> None:
    with pytest.raises(BuildFailed, match="syntax error in pattern"):
        pattern(text)


def test_text_without_special_characters_is_no_pattern() -> None:
    assert not has_wildcards("a/b.c-d")
    assert has_wildcards("a\\*")
    assert unescaped("a\\*b\\\\") == "a*b\\"
