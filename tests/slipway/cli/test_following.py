"""Logs over connections that break."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from slipway.cli.client import Client
from slipway.cli.errors import Problem, Unreachable
from slipway.cli.following import Entry, Following, LogPrinter
from tests.slipway.cli.conftest import TOKEN
from tests.slipway.cli.server import Server, send, send_pieces

PATH = "/projects/acme/web/containers/web/logs"


def entry(number: int, **more: Any) -> dict[str, Any]:
    """The line ``number`` of a log whose lines are ten bytes long."""
    row = {"position": 10 * number, "next": 10 * number + 10, "time": f"t{number}", "stream": "stdout"}
    return {**row, "text": f"line {number}", "whole": True, **more}


def lines(*numbers: int) -> bytes:
    return b"".join(json.dumps(entry(number)).encode() + b"\n" for number in numbers)


@pytest.fixture
def client(server: Server) -> Client:
    return Client(server.url, TOKEN, timeout=5)


def texts(reading: Following) -> list[str]:
    return [each.text for batch in reading.batches() for each in batch]


def script(server: Server, *answers: tuple[list[bytes], bool] | int) -> list[dict[str, str]]:
    """Answer log requests one after the other; the queries that came."""
    queries: list[dict[str, str]] = []
    left: Iterator[tuple[list[bytes], bool] | int] = iter(answers)

    def answer(asked: Any, handler: Any) -> None:
        queries.append(asked.query)
        match next(left):
            case int(status):
                send(handler, {"code": "SOME_CODE", "detail": "No."}, status)
            case (pieces, whole):
                send_pieces(handler, pieces, whole=whole)

    server.on("GET", PATH.removeprefix("/api/v1"), answer)
    return queries


def test_a_follow_goes_on_behind_the_last_whole_line_it_had(server: Server, client: Client):
    torn = lines(2)[:20]
    queries = script(server, ([lines(0, 1), torn], False), ([lines(2)], False), ([lines(3)], True))
    reading = Following(client, PATH, follow=True, position=0, sleep=lambda _: None)
    assert texts(reading) == ["line 0", "line 1", "line 2", "line 3"]
    assert [query["position"] for query in queries] == ["0", "20", "30"]


def test_what_a_server_repeats_is_printed_once(server: Server, client: Client):
    script(server, ([lines(0, 1, 2)], False), ([lines(1, 2, 3)], True))
    assert texts(Following(client, PATH, follow=True, position=0, sleep=lambda _: None))[2:] == [
        "line 2",
        "line 3",
    ]


def test_the_last_lines_are_asked_for_until_the_first_of_them_has_come(server: Server, client: Client):
    queries = script(server, ([], False), ([lines(8)], False), ([lines(9)], True))
    reading = Following(client, PATH, follow=True, tail=2, sleep=lambda _: None)
    assert texts(reading) == ["line 8", "line 9"]
    assert [(query.get("tail"), query.get("position")) for query in queries] == [
        ("2", None),
        ("2", None),
        (None, "90"),
    ]


def test_a_gateway_without_a_server_is_waited_for_but_not_for_ever(server: Server, client: Client):
    script(server, 503, ([lines(0)], True))
    assert texts(Following(client, PATH, follow=True, sleep=lambda _: None)) == ["line 0"]
    script(server, 503, 503, 503, 503)
    with pytest.raises(Problem):
        texts(Following(client, PATH, follow=True, patience=-1, sleep=lambda _: None))


def test_a_refusal_ends_a_follow_at_once(server: Server, client: Client):
    script(server, ([lines(0)], False), 404)
    with pytest.raises(Problem):
        texts(Following(client, PATH, follow=True, sleep=lambda _: None))


def test_without_follow_a_log_that_breaks_off_is_an_error(server: Server, client: Client):
    script(server, ([lines(0)], False))
    with pytest.raises(Unreachable):
        texts(Following(client, PATH, position=0))


def parsed(number: int, **more: Any) -> Entry:
    return Entry.parse(json.dumps(entry(number, **more)).encode())


def test_a_line_in_parts_is_one_line_with_one_time():
    out, err = io.BytesIO(), io.BytesIO()
    printer = LogPrinter(out, err, timestamps=True)
    printer.print([parsed(0, text="long ", whole=False), parsed(1, stream="stderr"), parsed(2, text="line")])
    printer.print([parsed(3)])
    assert out.getvalue() == b"t0 long line\nt3 line 3\n"
    assert err.getvalue() == b"t1 line 1\n"


def test_json_keeps_all_of_an_entry_on_stdout():
    out, err = io.BytesIO(), io.BytesIO()
    LogPrinter(out, err, json=True).print([parsed(0, stream="stderr")])
    assert json.loads(out.getvalue()) == entry(0, stream="stderr")
    assert err.getvalue() == b""
