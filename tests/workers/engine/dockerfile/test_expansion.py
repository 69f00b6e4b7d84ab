"""Substitution as BuildKit's shell lexer has it."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.engine.dockerfile.errors import Mistake
from workers.engine.dockerfile.expansion import LIMIT, Lexicon
from workers.errors import DockerfileTooLarge

ENV = {"A": "a b", "EMPTY": "", "P": "foo/bar/boo.tar.gz", "S": "*", "N": "$A"}


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("plain", "plain"),
        ("$A", "a b"),
        ("${A}x", "a bx"),
        ("$NONE.", "."),
        ("$$A", "A"),
        ("$1x", "x"),
        ("cost: 5$", "cost: 5$"),
        (r"\$A", "$A"),
        (r"\a\\b", r"a\b"),
        ("'$A'", "$A"),
        ('"$A"', "a b"),
        (r'"\$A \" \\ \n"', r'$A " \ \n'),
        ("$N", "$A"),
        ("${NONE:-x}", "x"),
        ("${NONE-x}", "x"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY-x}", ""),
        ("${A:-x}", "a b"),
        ("${NONE:+x}", ""),
        ("${EMPTY:+x}", ""),
        ("${EMPTY+x}", "x"),
        ("${A:+x}", "x"),
        ("${A:?why}", "a b"),
        ("${NONE:-${A}}", "a b"),
        ("${NONE:-'}'}", "}"),
        (r"${NONE:-\}}", "}"),
        ("${NONE:-${NONE:-${NONE:-deep}}}", "deep"),
        ("${P#*/}", "bar/boo.tar.gz"),
        ("${P##*/}", "boo.tar.gz"),
        ("${P%.*}", "foo/bar/boo.tar"),
        ("${P%%.*}", "foo/bar/boo"),
        ("${P#x}", "foo/bar/boo.tar.gz"),
        ("${P#f?o}", "/bar/boo.tar.gz"),
        (r"${S#\*}", ""),
        ("${P/o/0}", "f0o/bar/boo.tar.gz"),
        ("${P//o/0}", "f00/bar/b00.tar.gz"),
        (r"${P/\/*\//-}", "foo-boo.tar.gz"),
        ("${P//a*o/X}", "foo/bX.tar.gz"),
        ("${P//o/}", "f/bar/b.tar.gz"),
        ("${NONE/a/b}", ""),
    ],
)
def test_substitution(word: str, text: str) -> None:
    assert Lexicon().expand(word, ENV).text == text


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("${A", "'}' is missing"),
        ("${A:", "'}' is missing"),
        ("${A:-x", "'}' is missing"),
        ("${}", "needs a variable's name"),
        ("${:x}", "needs a variable's name"),
        ("${A@x}", "no substitution"),
        ("${A:x}", "no substitution"),
        ("${A:#x}", "no substitution"),
        ("${NONE:?say it}", "NONE: say it"),
        ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
        ("${NONE?}", "NONE: is not allowed to be unset"),
        ("'open", "never closed"),
        ('"open', "never closed"),
        (r"${P#\a}", "escape that means nothing"),
        ("${A/x}", "'/' is missing"),
        ("${A:-" * 60 + "}" * 60, "within one another"),
    ],
)
def test_what_is_no_substitution(word: str, why: str) -> None:
    with pytest.raises(Mistake, match=why.replace("(", r"\(")):
        Lexicon().expand(word, ENV)


def test_other_ways_to_read() -> None:
    assert Lexicon(escape="`").expand("`$A \\$A", ENV).text == "$A \\a b"
    assert Lexicon(keep_quotes=True).expand("\"$A\" '$A'", ENV).text == "\"a b\" '$A'"
    assert Lexicon(ignore_quotes=True).expand("'$A", ENV).text == "'a b"
    assert Lexicon(keep_unknown=True).expand("$NONE ${NONE:-x} $A", ENV).text == "$NONE ${NONE:-x} a b"
    assert Lexicon().expand("$A 'c d' e", ENV).words == ("a", "b", "c d", "e")


def test_what_was_used_and_what_was_missing_is_told() -> None:
    found = Lexicon().expand("$A ${NONE:-$EMPTY}", ENV)
    assert (found.used, found.missing) == ({"A", "EMPTY"}, {"NONE"})


def test_a_word_does_not_grow_without_end() -> None:
    with pytest.raises(Mistake) as caught:
        Lexicon().expand("$X" * 3, {"X": "x" * (LIMIT // 2)})
    assert caught.value.kind is DockerfileTooLarge


@given(st.text(alphabet="ab*?", max_size=6), st.text(alphabet="ab/", max_size=8))
def test_the_shortest_prefix_is_a_prefix_of_the_longest(pattern: str, value: str) -> None:
    short = Lexicon().expand(f"${{V#{pattern}}}", {"V": value}).text
    long = Lexicon().expand(f"${{V##{pattern}}}", {"V": value}).text
    assert value.endswith(short)
    assert short.endswith(long)


@given(st.text(max_size=40))
def test_any_word_is_expanded_or_refused(word: str) -> None:
    with contextlib.suppress(Mistake):
        Lexicon().expand(word, ENV)
