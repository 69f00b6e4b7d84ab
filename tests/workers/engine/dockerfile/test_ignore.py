"""Docker's rules, each by an example, and all of them against a slow and plain reading of them."""

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workers.engine.dockerfile.ignore import Ignore, InvalidPattern, ignore_names


def excluded(patterns: str, path: str) -> bool:
    return Ignore.parse(patterns).excludes(path)


@pytest.mark.parametrize(
    ("patterns", "inside", "outside"),
    [
        ("*.log", ["a.txt", "logs/a.log"], ["a.log"]),
        ("**/*.log", ["a.txt"], ["a.log", "logs/a.log", "a/b/c.log"]),
        ("logs", ["logs2", "a/logs"], ["logs", "logs/a", "logs/a/b"]),
        ("/logs", ["a/logs"], ["logs/a"]),
        ("logs/", [], ["logs", "logs/a"]),
        ("./a/../logs", [], ["logs"]),
        ("*/temp*", ["temp", "a/b/temp"], ["a/temporary.txt", "a/temp/x"]),
        ("temp?", ["temp", "temp12"], ["tempa"]),
        ("*.md\n!README.md", ["README.md"], ["other.md"]),
        ("*.md\n!README*.md\nREADME-secret.md", ["README.md"], ["README-secret.md", "a.md"]),
        ("*\n!src", ["src", "src/a", "src/a/b"], ["docs", "docs/a"]),
        ("**\n!**/*.go", ["a.go", "x/y/b.go"], ["a.txt", "x/y/b.txt"]),
        ("docs\n!docs/keep/**", ["docs/keep/a"], ["docs/a", "docs/keep"]),
        ("[a-c]x", ["dx"], ["ax", "cx"]),
        ("[^a]x", ["ax"], ["bx"]),
        (r"a\*b", ["axb"], ["a*b"]),
        ("# a comment\n \n#x", ["# a comment", "#x", "x"], []),
        ("  spaced  \r\n", [], ["spaced"]),
        ("\ufefffirst", [], ["first"]),
        ("foo/**", ["foo"], ["foo/a", "foo/a/b"]),
        ("**/foo/bar", ["bar"], ["foo/bar", "x/y/foo/bar"]),
        ("a/**/b", ["a", "a/c"], ["a/b", "a/x/y/b"]),
        ("**.log", [], ["a.log", "x/a.log"]),
        ("a**b", ["axb"], ["ab", "ax/b", "a/x/b"]),
    ],
)
def test_rules(patterns: str, inside: list[str], outside: list[str]) -> None:
    assert [path for path in inside if excluded(patterns, path)] == []
    assert [path for path in outside if not excluded(patterns, path)] == []


@pytest.mark.parametrize("pattern", ["[", "a[", "[]", "[]a]", "[z-a]", "a\\", "!", "[a-", "[a"])
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(InvalidPattern):
        Ignore.parse(pattern)


@pytest.mark.parametrize("text", ["a\n" * 2001, "a**b\n" * 101, "a" * 4097])
def test_more_than_anybody_writes_is_refused(text: str) -> None:
    with pytest.raises(InvalidPattern):
        Ignore.parse(text)


@pytest.mark.parametrize(
    ("patterns", "directory", "maybe"),
    [
        ("node_modules", "node_modules", False),
        ("node_modules\n!src", "node_modules", False),
        ("*\n!src/main", "src", True),
        ("*\n!src/main", "docs", False),
        ("**\n!**/*.go", "a/b", True),
        ("*\n!a/*/c", "a/b", True),
        ("*\n!a/*/c", "a/b/d", False),
        ("vendor\n!vendor/keep", "vendor/other", False),
        ("*.log", "src", True),
    ],
)
def test_below_an_excluded_directory_only_an_exception_brings_anything_back(
    patterns: str, directory: str, maybe: bool
) -> None:
    assert Ignore.parse(patterns).may_include_below(directory) is maybe


def test_a_dockerfile_has_its_own_file_before_the_common_one() -> None:
    assert ignore_names("deploy/web.Dockerfile") == ("deploy/web.Dockerfile.dockerignore", ".dockerignore")


def test_stars_do_not_make_a_match_slow() -> None:
    ignore = Ignore.of(["*a" * 40 + "b", "**/" + "*a" * 40 + "b", "**/*/**/*/**/*/**/x", "a**" * 20 + "b"])
    assert not ignore.excludes("/".join(["a" * 200] * 8))


def test_odd_patterns_read_each_letter_of_a_deep_path_once() -> None:
    """Found by atheris. Read anew at each directory, these take half a minute of CPU and more."""
    ignore = Ignore.of(["[^b]*" * 300 + "c", "x/[^y]*" + "**a" * 150 + "q"])
    begun = time.process_time()
    assert not ignore.excludes("a/" * 300 + "a")
    assert not ignore.excludes("x/" + "a/" * 300 + "b")
    assert time.process_time() - begun < 5


# --------------------------------------------------------------------------- against the slow reading


def slow(patterns: list[str], path: str) -> bool:
    """As moby's patternmatcher walks: each directory above first, then the path itself."""
    names = path.split("/")
    before: list[bool] | None = None
    verdict = False
    for end in range(1, len(names) + 1):
        here = "/".join(names[:end])
        verdict, after = False, [False] * len(patterns)
        for index, pattern in enumerate(patterns):
            exception = pattern.startswith("!")
            hit = before[index] if before else False
            if not hit:
                if exception != verdict:
                    continue
                hit = slow_match(pattern.removeprefix("!"), here)
            after[index] = hit
            if hit:
                verdict = not exception
        before = after
    return verdict


def slow_match(pattern: str, path: str) -> bool:
    """As moby turns a pattern into an expression."""
    if pattern.startswith("**") and not re.search(r"[*?\[\\]", pattern[2:]):
        suffix = pattern[2:]
        return path.endswith(suffix) or (suffix.startswith("/") and path == suffix[1:])
    expression, position = "", 0
    while position < len(pattern):
        if pattern.startswith("**", position):
            position += 2
            if pattern.startswith("/", position):
                position += 1
            expression += ".*" if position == len(pattern) else "(.*/)?"
        else:
            each = pattern[position]
            expression += {"*": "[^/]*", "?": "[^/]"}.get(each, f"\\{each}" if each in ".+()|{}$" else each)
            position += 1
    return re.fullmatch(expression, path) is not None


NAMES = st.text("ab", min_size=1, max_size=2)
PARTS = st.one_of(
    NAMES,
    st.sampled_from(["*", "**", "?", "a*", "*b", "[ab]", "[^a]", "**a", "b**", "a**b", "*a*b", "?b"]),
)
PATTERNS = st.lists(
    st.builds(
        lambda exception, parts: ("!" if exception else "") + "/".join(parts),
        st.booleans(),
        st.lists(PARTS, min_size=1, max_size=3),
    ),
    max_size=5,
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)


@given(PATTERNS, PATHS)
@example(["a/b", "!a"], "a/b")
@example(["**/**"], "a")
@example(["a**"], "a/b")
def test_it_decides_as_the_slow_reading(patterns: list[str], path: str) -> None:
    assert Ignore.of(patterns).excludes(path) == slow(patterns, path)


@given(PATTERNS, PATHS, PATHS)
def test_a_directory_that_may_be_left_out_has_nothing_below_it(
    patterns: list[str], directory: str, below: str
) -> None:
    ignore = Ignore.of(patterns)
    assert ignore.may_include_below(directory) or ignore.excludes(f"{directory}/{below}")
