"""How a mistake in a Dockerfile is shown in a terminal."""

from __future__ import annotations

import pytest

from slipway.cli.building import check
from slipway.cli.errors import CliError

MISTAKE = {
    "code": "DOCKERFILE_INVALID",
    "message": "Dockerfile:2: there is no check 'x'",
    "facts": {
        "file": "Dockerfile",
        "line": 2,
        "column": 6,
        "text": "COPY\t--form=a /x /y",
        "marker": "    \t^^^^^^",
        "suggestion": "--from",
    },
}


@pytest.mark.parametrize("text", ["FROM a\nCOPY\t--form=a /x /y\nRUN b\n", None, "FROM changed\n"])
def test_a_mistake_is_marked_and_what_was_meant_is_said(text: str | None, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(CliError) as raised:
        check({"state": "failed", "number": 1, "dockerfile": "Dockerfile", "cause": MISTAKE}, text)
    told = capsys.readouterr().err.splitlines()
    at = told.index("   2 | >>> COPY --form=a /x /y")
    assert told[at + 1] == "     |          ^^^^^^"
    assert ("   1 |     FROM a" in told) == (text is not None and "RUN b" in text)
    assert raised.value.hint == "Did you mean --from?"


def test_a_guess_the_message_has_already_is_not_said_twice():
    cause = {**MISTAKE, "message": "Dockerfile:2: no flag (did you mean --from?)"}
    with pytest.raises(CliError) as raised:
        check({"state": "failed", "number": 1, "dockerfile": "Dockerfile", "cause": cause})
    assert raised.value.hint == ""
