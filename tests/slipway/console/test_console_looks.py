"""Figures, states and causes, as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway.console import figures
from slipway.console.looks import container_cause, container_look
from slipway.console.stacks import _instruction
from slipway.containers.models import Container, State
from slipway.nodes.models import Node

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "—"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (4_466_925, "4.26 MiB"),
        (512 << 20, "512 MiB"),
        (3 << 50, "3 PiB"),
    ],
)
def test_sizes_are_binary_with_three_figures(size: int | None, text: str) -> None:
    assert figures.size_text(size) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512", 512 << 20),
        ("512 MiB", 512 << 20),
        ("1.5g", 3 << 29),
        ("64M", 64 << 20),
        ("2GB", 2 << 30),
        ("100b", 100),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert figures.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "much", "-5", "5 m m", "1e9"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        figures.parse_size(text)


@pytest.mark.parametrize(("text", "millis"), [("1", 1000), ("0.5", 500), ("250m", 250), ("2 CPU", 2000)])
def test_cpu_is_read_in_cores_or_thousandths(text: str, millis: int) -> None:
    assert figures.parse_cpu(text) == millis


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (4.25, "4.2 s"), (90, "1.5 min"), (9000, "2.5 h"), (345_600, "4.0 d")],
)
def test_durations_have_one_decimal(seconds: float, text: str) -> None:
    assert figures.duration_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "just now"),
        (59, "59 seconds ago"),
        (60, "1 minute ago"),
        (7300, "2 hours ago"),
        (9e7, "2 years ago"),
    ],
)
def test_ages_are_rounded_down(seconds: float, text: str) -> None:
    assert figures.age_text(NOW - timedelta(seconds=seconds), NOW) == text


def a_container(**fields: Any) -> Container:
    values = {
        "name": "web",
        "spec": {"limits": {"memory_bytes": 64 << 20}},
        "node": Node(name="local"),
        "created_at": NOW - timedelta(seconds=12),
        "run": 1,
        "started_at": NOW - timedelta(seconds=10),
        **fields,
    }
    return Container(**values)


@pytest.mark.parametrize(
    ("fields", "word", "tone"),
    [
        ({"observed": State.RUNNING}, "running", "ok"),
        ({"observed": State.EXITED, "exit_code": 0}, "exited (0)", "idle"),
        ({"observed": State.EXITED, "exit_code": 3}, "exited (3)", "bad"),
        ({"observed": State.EXITED, "exit_code": None}, "exited (unknown)", "bad"),
        ({"observed": State.RUNNING, "desired": State.REMOVING}, "removing", "busy"),
        ({"observed": State.DEAD}, "dead", "bad"),
    ],
)
def test_a_state_has_word_and_tone(fields: dict[str, Any], word: str, tone: str) -> None:
    look = container_look(a_container(**fields))

    assert (look.word, look.tone) == (word, tone)


ENDED = {"observed": State.EXITED, "finished_at": NOW - timedelta(seconds=8)}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({**ENDED, "exit_code": 0}, "Finished without an error after 2.0 s."),
        ({**ENDED, "exit_code": 3}, "Its process ended with exit code 3 after 2.0 s."),
        ({**ENDED, "exit_code": 143}, "Ended by SIGTERM after 2.0 s."),
        ({**ENDED, "exit_code": 250}, "Its process ended with exit code 250 after 2.0 s."),
        ({**ENDED, "exit_code": 137, "oom_killed": True}, "more memory than its limit of 64 MiB"),
        ({**ENDED, "exit_code": None}, "nobody saw how"),
        (
            {"observed": State.CREATED, "cause": {"code": "X", "message": "No such file: x"}},
            "No such file: x",
        ),
        ({"desired_generation": 1, "desired": State.RUNNING}, "Waiting for node local to start it"),
    ],
)
def test_a_cause_is_one_sentence(fields: dict[str, Any], text: str) -> None:
    cause = container_cause(a_container(**fields), NOW)

    assert cause is not None
    assert text in cause.text


def test_a_container_that_runs_needs_no_explanation() -> None:
    assert container_cause(a_container(observed=State.RUNNING), NOW) is None


@pytest.mark.parametrize(
    ("created_by", "keyword", "rest"),
    [
        ('/bin/sh -c #(nop)  CMD ["sh"]', "CMD", '["sh"]'),
        ("/bin/sh -c apt-get update", "RUN", "apt-get update"),
        ("COPY . /srv # buildkit", "COPY", ". /srv"),
        ("mmdebstrap bookworm", "", "mmdebstrap bookworm"),
        ("", "", ""),
    ],
)
def test_a_history_line_becomes_an_instruction(created_by: str, keyword: str, rest: str) -> None:
    assert _instruction(created_by) == (keyword, rest)
