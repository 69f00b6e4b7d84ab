"""No text makes the language do anything else than plan or refuse, and it takes no time."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.environment import ROOT
from tests.workers.engine.dockerfile.fuzzing import digest
from workers.engine.dockerfile.dump import dump
from workers.engine.dockerfile.lexer import MAX_CHARACTERS
from workers.engine.dockerfile.parser import FORMS, MAX_INSTRUCTIONS, parse_tree

KEYWORDS = st.sampled_from([*FORMS, "from", "Run", "NOPE"])
_TEXT = """
debian scratch assets AS a b 0 9 --from=a --from=0 --link --platform=$X --mount=type=cache,target=/c
--mount=from=b,target=/b --network=none --chmod=755 --parents --exclude=*.x --interval=5s CMD NONE
NAME=value N='a_b' ["a","b"] [1] $A ${A:-b} ${A##*/} ${A//x/y} ${ $ <<EOF <<-'X' \\ " ' # /path/ 80/tcp 1-2
https://h.test/x.git#r:d https://h.test/x SIGTERM é = ==
"""
PIECES = _TEXT.split()
WORDS = st.one_of(st.sampled_from(PIECES), st.text(max_size=5))
MARKS = ["EOF", "X", "\tX", "# escape=`", "# check=skip=all", "# syntax=x", "", "#", "FROM debian AS a"]
LINES = st.one_of(
    st.builds(lambda keyword, words: " ".join([keyword, *words]), KEYWORDS, st.lists(WORDS, max_size=5)),
    st.lists(WORDS, max_size=3).map(" ".join),
    st.sampled_from(MARKS),
)
FILES = st.lists(LINES, max_size=12).map("\n".join)


@given(FILES)
def test_any_file_of_familiar_pieces(text: str) -> None:
    digest(text.encode(errors="surrogatepass"))
    digest(("FROM debian AS a\n" + text).encode(errors="surrogatepass"))


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    digest(data)


@pytest.mark.parametrize("path", sorted((ROOT / "tests/golden/dockerfiles").glob("*/Dockerfile")), ids=str)
def test_any_part_of_a_real_file(path: Path) -> None:
    data = path.read_bytes()
    for end in range(0, len(data), 7):
        digest(data[:end])
        digest(data[end:])


SIZE = 300_000
CHAIN = "".join(f"FROM s{number - 1} AS s{number}\n" for number in range(1, 2000))
LARGE = {
    "one instruction of many lines": "FROM debian\nRUN a" + " \\\n b" * 180_000,
    "many instructions": "FROM debian\n" + "RUN a\n" * (MAX_INSTRUCTIONS - 1),
    "many stages": "FROM debian\n" * 2000,
    "a chain of stages": "FROM debian AS s0\n" + CHAIN,
    "many variables": "FROM debian\n" + "".join(f"ENV A{number}=x\nRUN x\n" for number in range(1500)),
    "a long variable": f"FROM debian\nENV A={'x' * (MAX_CHARACTERS - 100)}",
    "many words": f"FROM debian\nLABEL {'a=b ' * (SIZE // 4)}",
    "many substitutions": f"FROM debian\nENV A={'$A' * (SIZE // 2)}",
    "many undefined variables": "FROM scratch\nENV "
    + " ".join(f"{'N' * 36}{number:04}=x" for number in range(300))
    + "\nLABEL "
    + " ".join(f"a=${'N' * 36}{number:04}" for number in range(1000, 4000)),
    "many undefined arguments": "".join(f"ARG {'N' * 36}{number:04}\n" for number in range(300))
    + "".join(f"FROM debian:${'N' * 36}{number:04}\n" for number in range(1000, 1500)),
    "many heredocs": "FROM debian\n" + "COPY <<E /\nx\nE\n" * (MAX_INSTRUCTIONS // 4),
    "blanks before a mark": f"FROM debian\nRUN a {' ' * SIZE}x",
    "blanks in a directive": f"# escape={' ' * SIZE}x",
    "onbuilds": f"FROM debian\n{'ONBUILD ' * (SIZE // 8)}",
    "brackets": f"FROM debian\nRUN {'[' * SIZE}",
    "all ports": "FROM debian\n" + "EXPOSE 0-65535\n" * 100,
    "a star against a long value": f"FROM debian\nENV A={'a' * 50_000}\nENV B=${{A##{'*a' * 100}b}}",
    "quotes": f"FROM debian\nENV a={chr(39) * SIZE}",
    "five megabytes": "FROM debian\n" + "RUN echo hello\n" * 350_000,
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_file_is_planned_or_refused(name: str) -> None:
    """Linear time is what the limits are about: squared, each of these would take minutes or hours."""
    digest(LARGE[name].encode())


@pytest.mark.parametrize("path", sorted((ROOT / "tests/golden/dockerfiles").glob("*/dump")), ids=str)
def test_what_is_dumped_is_one_expression_for_each_instruction(path: Path) -> None:
    tree = parse_tree((path.parent / "Dockerfile").read_text(), "Dockerfile")
    assert len(dump(tree).splitlines()) == len(tree.nodes)


LOOKED = 300
"""Seconds atheris looks."""


@pytest.mark.soak
@pytest.mark.timeout(3 * LOOKED)
def test_atheris_finds_nothing(tmp_path: Path) -> None:
    """It brings its own time: run with the others of its directory, it must not be cut off by theirs."""
    corpus, found = tmp_path / "corpus", tmp_path / "found"
    corpus.mkdir()
    found.mkdir()
    for path in (ROOT / "tests/golden/dockerfiles").glob("*/Dockerfile"):
        shutil.copy(path, corpus / path.parent.name)
    command = [sys.executable, "-m", "tests.workers.engine.dockerfile.fuzzing", str(corpus)]
    options = [f"-max_total_time={LOOKED}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=4096"]
    begun = time.monotonic()
    ended = subprocess.run(
        [*command, *options, f"-artifact_prefix={found}/"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert {path.name: path.read_bytes() for path in found.iterdir()} == {}, ended.stderr[-4000:]
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert time.monotonic() - begun >= LOOKED, "it ended before it had looked"
