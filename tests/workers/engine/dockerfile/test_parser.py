"""The parsed form, by examples that a person has read, and the mistakes with their places."""

from pathlib import Path

import pytest

from tests.environment import ROOT
from tests.system.build import features
from workers.engine.dockerfile.dump import dump
from workers.engine.dockerfile.errors import explain
from workers.engine.dockerfile.lexer import MAX_CHARACTERS
from workers.engine.dockerfile.parser import MAX_INSTRUCTIONS, parse_tree
from workers.engine.dockerfile.reading import parse
from workers.errors import DockerfileTooLarge, InvalidDockerfile

GOLDEN = sorted((ROOT / "tests" / "golden" / "dockerfiles").glob("*/Dockerfile"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.parent.name)
def test_the_parsed_form(path: Path) -> None:
    assert dump(parse_tree(path.read_text(), "Dockerfile")) == (path.parent / "dump").read_text()


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.parent.name)
def test_a_golden_cites_the_sections_of_the_reference_that_it_is_about(path: Path) -> None:
    cited = (path.parent / "reference").read_text().splitlines()
    assert cited == sorted(features.sections(path.read_text()))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.parent.name)
def test_line_ends_do_not_matter_but_in_heredocs(path: Path) -> None:
    text = path.read_text()
    windows = parse_tree("\ufeff" + text.replace("\n", "\r\n"), "Dockerfile")
    assert dump(windows) == dump(parse_tree(text, "Dockerfile"))


MISTAKES = [
    ("FRM x", "there is no instruction FRM (did you mean FROM?)", "FRM"),
    ("FROM a b c d", "FROM takes an image, and a name for the stage after AS: FROM image AS name", "b"),
    ("FROM a AS 1x", "'1x' is no name for a stage", "1x"),
    ("RUN x", "RUN stands above the first FROM, where only ARG may stand", "RUN"),
    ("FROM a\nRUN --mont=type=bind x", "RUN has no flag --mont", "--mont"),
    ("FROM a\nRUN --mount=type=bond,target=/x x", "there is no mount of type 'bond'", "bond"),
    ("FROM a\nRUN --mount=type=cache x", "a mount of type cache needs a target", "RUN"),
    ("FROM a\nRUN --mount=target=/a,form=b x", "(did you mean from?)", "form"),
    ("FROM a\nRUN --mount=target=/a,mode=0755 x", "a mount of type bind has no mode", "mode"),
    (
        "FROM a\nRUN --mount=type=cache,target=/a,sharing=open x",
        "a cache is shared, private or locked",
        "open",
    ),
    ("FROM a\nRUN --mount=from=$X,target=/a x", "variables are not expanded in a mount's from", "$X"),
    ("FROM a\nRUN --network=nnone x", "(did you mean none?)", "nnone"),
    ("FROM a\nCOPY --link=maybe a b", "the flag --link is true or false", "--link"),
    ("FROM a\nCOPY --chown a b", "the flag --chown needs a value", "--chown"),
    ("FROM a\nCOPY --from=a --from=b c d", "COPY has the flag --from twice", "--from"),
    ("FROM a\nCOPY x", "only one path is given", "COPY"),
    ("FROM a\nCOPY a <<EOF\nEOF", "the destination of COPY cannot be a heredoc", "<<EOF"),
    ("FROM a\nENV A=1 B", "'B' is not NAME=value", "B"),
    ("FROM a\nENV A", "'A' has no value; NAME=value was expected", "A"),
    ("FROM a\nENV", "ENV needs an argument", "ENV"),
    ("FROM a\nENV =x", "ENV has a value without a name", "="),
    ("FROM a\nRUN <<EOF\nfoo", "the heredoc <<EOF is not ended", "<<"),
    ("FROM a\nSHELL foo", "SHELL needs its arguments in JSON form", "foo"),
    ("FROM a\nRUN [1]", "a list in JSON form may hold texts only", "["),
    ("FROM a\nONBUILD FROM x", "FROM cannot stand after ONBUILD", "FROM"),
    ("FROM a\nONBUILD ONBUILD RUN x", "ONBUILD cannot stand after ONBUILD", "ONBUILD"),
    ("FROM a\nONBUILD MAINTAINER x", "MAINTAINER cannot stand after ONBUILD", "MAINTAINER"),
    ("FROM a\nONBUILD COPY a", "COPY needs at least one source", "ONBUILD"),
    ("FROM a\nHEALTHCHECK CND x", "(did you mean CMD?)", "CND"),
    ("FROM a\nHEALTHCHECK CMD", "HEALTHCHECK CMD needs a command", "CMD"),
    ("FROM a\nHEALTHCHECK --interval=5 CMD x", "'5' is no duration; 30s or 1m30s was expected", "5"),
    ("FROM a\nHEALTHCHECK --timeout=1us CMD x", "--timeout is at least 1ms", "1us"),
    ("FROM a\nHEALTHCHECK --retries=-1 CMD x", "--retries is a number of at least 0", "-1"),
    ('FROM a\nVOLUME [""]', "VOLUME needs an argument", "VOLUME"),
    ("# escape=x\nFROM a", "the directive escape is 'x'; it can be \\ or `", "x"),
    ("# syntax=a\n# syntax=b\nFROM a", "the directive syntax is given twice", "syntax"),
    ("FROM a\nRUN a\0b", "the line holds a NUL character", "RUN"),
    ("ARG A", "there is no FROM", "ARG"),
]


@pytest.mark.parametrize(("text", "message", "marked"), MISTAKES, ids=[each[1] for each in MISTAKES])
def test_a_mistake_is_shown_where_it_is(text: str, message: str, marked: str) -> None:
    with pytest.raises(InvalidDockerfile) as caught:
        parse(text)
    error = caught.value
    assert message in error.message
    shown, marker = str(error.facts["text"]), str(error.facts["marker"])
    assert shown[marker.index("^") :].startswith(marked[: len(marker.strip())])
    assert shown in text.split("\n")[int(error.facts["line"]) - 1]
    assert explain(error).splitlines()[1].endswith(shown)


def test_the_marker_finds_its_line_among_many() -> None:
    with pytest.raises(InvalidDockerfile) as caught:
        parse("FROM a\n\nCOPY \\\n  # the flag follows\n  --lnik \\\n  a b\n")
    assert explain(caught.value) == (
        "Dockerfile:5: COPY has no flag --lnik; it takes --chmod, --chown, --exclude, --from, --link, "
        "--parents (did you mean --link?)\n"
        "  5 |   --lnik \\\n"
        "    |   ^^^^^^"
    )


@pytest.mark.parametrize("source", [b"FROM a\n\xff", "FROM a\n\ud800"])
def test_what_is_no_text_is_refused_with_its_line(source: str | bytes) -> None:
    with pytest.raises(InvalidDockerfile, match="Dockerfile:2: the file is not UTF-8 text"):
        parse(source)


def test_a_file_without_instructions_says_so() -> None:
    for text in ("", "\n\n", "# only a comment\n", "\\\n\\\n"):
        with pytest.raises(InvalidDockerfile, match="no instructions"):
            parse(text)


@pytest.mark.parametrize(
    "text",
    ["FROM a\nRUN " + "x" * MAX_CHARACTERS, "FROM a\n" * (MAX_INSTRUCTIONS + 1), "\n" * 300_000],
)
def test_too_large_a_file_is_refused(text: str) -> None:
    with pytest.raises(DockerfileTooLarge):
        parse(text)


def test_directives_count_only_at_the_top() -> None:
    assert parse("# syntax = x/y:1 \n#check=skip=all\nFROM a").directives == {
        "syntax": "x/y:1",
        "check": "skip=all",
    }
    assert parse("# a comment\n# syntax=x\nFROM a").directives == {}
    assert parse("\n# escape=`\nFROM a").escape == "\\"


def test_comments_right_above_belong_to_an_instruction() -> None:
    stage = parse("# far\n\n# near\n#\n# nearest\n# and this\nFROM a\nRUN b").stages[0]
    assert stage.start.comments == ("nearest", "and this")
    assert stage.instructions[0].comments == ()
