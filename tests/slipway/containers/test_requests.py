from __future__ import annotations

from typing import Any

import pytest

from slipway.accounts.errors import InvalidName
from slipway.containers.errors import EnvTooLarge, LimitTooHigh
from slipway.containers.names import ADJECTIVES, NOUNS, random_long_name, random_name
from slipway.containers.requests import ContainerRequest, check, limits, parse_signal
from slipway.projects.models import Project
from workers.errors import InvalidSpec
from workers.messages import Limits


def request(**fields: Any) -> ContainerRequest:
    return ContainerRequest(image="busybox", **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": "web.1_a-b"},
        {"command": ("sh", "-c", "exit 3"), "entrypoint": ()},
        {"env": ("A=", "B=x=y", "C=ü")},
        {"user": "root"},
        {"user": "1000:65535"},
        {"working_dir": "/srv/app"},
        {"hostname": "web-1"},
        {"stop_signal": "int"},
        {"labels": {"a.b/c": "d"}},
    ],
)
def test_a_request_that_can_work_passes(fields: dict[str, Any]) -> None:
    check(request(**fields))


@pytest.mark.parametrize("name", ["", "a", "-web", "a b", "a/b", "x" * 65, "web\n", "ä" * 3])
def test_a_name_docker_would_refuse_is_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        check(request(name=name))


@pytest.mark.parametrize(
    "fields",
    [
        {"env": ("NOVALUE",)},
        {"env": ("=x",)},
        {"env": ("A B=x",)},
        {"env": ("A=\0",)},
        {"command": ("a\0b",)},
        {"command": ("x" * (128 << 10),)},
        {"command": ("x" * 100_000,) * 6},
        {"user": "a b"},
        {"user": "65536"},
        {"user": "root:root:root"},
        {"working_dir": "srv"},
        {"hostname": "a_b"},
        {"hostname": "-a"},
        {"stop_signal": "SIGNOPE"},
        {"labels": {"": "x"}},
        {"labels": {f"k{number}": "" for number in range(101)}},
        {"command": ("\ud800",)},
    ],
)
def test_a_value_that_cannot_work_names_its_field(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec) as caught:
        check(request(**fields))
    assert caught.value.facts["field"] == next(iter(fields))


@pytest.mark.parametrize("env", [("A=" + "x" * (1 << 20),), tuple(f"V{n}={'x' * 1000}" for n in range(300))])
def test_a_megabyte_of_environment_is_refused_as_such(env: tuple[str, ...]) -> None:
    with pytest.raises(EnvTooLarge, match="256 KiB"):
        check(request(env=env))


@pytest.mark.parametrize(("text", "name"), [("9", "SIGKILL"), ("term", "SIGTERM"), ("SIGUSR1", "SIGUSR1")])
def test_signals_are_read_as_people_write_them(text: str, name: str) -> None:
    assert parse_signal(text) == name


@pytest.mark.parametrize("text", ["", "0", "999", "SIG", "²"])
def test_other_text_is_no_signal(text: str) -> None:
    with pytest.raises(InvalidSpec):
        parse_signal(text)


def test_limits_are_the_usual_ones_within_the_projects_maximum() -> None:
    assert limits(request(), Project()) == Limits()
    small = Project(memory_bytes_max=64 << 20, cpu_millis_max=500, pids_max=50)
    assert limits(request(), small) == Limits(64 << 20, 500, 50)
    assert limits(request(memory_bytes=8 << 20, cpu_millis=100, pids=5), small) == Limits(8 << 20, 100, 5)


@pytest.mark.parametrize(("field", "value"), [("memory_bytes", 1), ("cpu_millis", 0), ("pids", -1)])
def test_limits_too_low_to_work_are_refused(field: str, value: int) -> None:
    with pytest.raises(InvalidSpec):
        limits(request(**{field: value}), Project())


@pytest.mark.parametrize("field", ["memory_bytes", "cpu_millis", "pids"])
def test_limits_above_the_projects_are_refused(field: str) -> None:
    with pytest.raises(LimitTooHigh):
        limits(request(**{field: 1 << 50}), Project())


def test_random_names_are_valid_names() -> None:
    assert len(set(ADJECTIVES)) * len(set(NOUNS)) == len(ADJECTIVES) * len(NOUNS) > 4000
    for _ in range(50):
        check(request(name=random_name()))
        check(request(name=random_long_name()))
