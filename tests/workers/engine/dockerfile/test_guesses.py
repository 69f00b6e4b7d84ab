"""What was probably meant."""

import pytest

from workers.engine.dockerfile.errors import nearest

KNOWN = ("RUN", "COPY", "EXPOSE", "ENTRYPOINT", "HEALTHCHECK", "build")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("RUM", "RUN"),
        ("RNU", "RUN"),
        ("run", "RUN"),
        ("EXPOES", "EXPOSE"),
        ("ENTRYPONT", "ENTRYPOINT"),
        ("HELATHCHEK", "HEALTHCHECK"),
        ("biuld", "build"),
        ("CPY", "COPY"),
        ("RUN", ""),
        ("X", ""),
        ("SOMETHING", ""),
        ("", ""),
        ("R" * 100, ""),
    ],
)
def test_the_nearest_word(word: str, meant: str) -> None:
    assert nearest(word, KNOWN) == meant


def test_only_so_many_words_are_compared() -> None:
    assert nearest("wordd", (f"other{number}" for number in range(10**12))) == ""
