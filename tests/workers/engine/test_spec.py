"""A container's config.json: Docker's choices, checked against golden files and rule by rule.

``UPDATE_GOLDEN=1 pytest`` writes the golden files anew; read the difference before committing it.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workers.engine.runtime import spec
from workers.engine.runtime.spec import Placement
from workers.engine.runtime.users import User
from workers.errors import InvalidSpec
from workers.messages import ContainerSpec, Limits, ProjectSlice
from workers.oci.config import ImageConfig
from workers.oci.descriptor import Platform

GOLDEN = Path(__file__).parents[2] / "golden" / "spec"
IMAGE = ImageConfig(
    Platform("linux", "amd64", ""),
    (),
    entrypoint=("/entry",),
    command=("serve", "--port", "80"),
    env=("PATH=/opt/bin:/bin", "LANG=C.UTF-8"),
    working_dir="/srv",
)
WISH = ContainerSpec(image_id="sha256:" + "0" * 64, image_scope="a" * 32, name="web", hostname="web")
PROJECT = ProjectSlice("b" * 32, 1_065_536, "10.87.1.0/24")
PLACE = Placement(
    bundle=Path("/run/slipway/node/containers/c0ffee"),
    userns=Path("/run/slipway/node/userns/1065536"),
    cgroup="/slipway/b/c0ffee",
    user=User(0, 0),
    runtime_compiles_seccomp=False,
    filter="ZmlsdGVy",
)


def build(wish: ContainerSpec = WISH, image: ImageConfig = IMAGE, place: Placement = PLACE) -> dict[str, Any]:
    return spec.build(wish, image, PROJECT, place)


CASES: dict[str, tuple[ContainerSpec, Placement]] = {
    "defaults": (WISH, PLACE),
    "everything": (
        replace(
            WISH,
            entrypoint=(),
            command=("sh", "-c", "id"),
            env=("LANG=de_DE.UTF-8", "EMPTY="),
            working_dir="/tmp/new",
            tty=True,
            read_only=True,
            no_new_privileges=False,
            limits=Limits(memory_bytes=64 << 20, cpu_millis=250, pids=20),
        ),
        replace(PLACE, user=User(1000, 1001, (4, 27), "/home/bob"), swap_limits=False, nofile_hard=4096),
    ),
    "runc": (WISH, replace(PLACE, runtime_compiles_seccomp=True, filter="")),
}


@pytest.mark.parametrize("name", CASES)
def test_config_is_as_the_golden_file_says(name: str) -> None:
    wish, place = CASES[name]
    built = build(wish, place=place)
    if "seccomp" in built["linux"]:  # depends on the machine; test_seccomp looks into it
        built["linux"]["seccomp"] = sorted(built["linux"]["seccomp"])
    path = GOLDEN / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(json.dumps(built, indent=2) + "\n")
    assert built == json.loads(path.read_text())


@pytest.mark.parametrize(
    ("entrypoint", "command", "expected"),
    [
        (None, None, ["/entry", "serve", "--port", "80"]),
        (None, ("status",), ["/entry", "status"]),
        (None, (), ["/entry"]),
        (("sh",), None, ["sh"]),
        (("sh", "-c"), ("id",), ["sh", "-c", "id"]),
        ((), ("id",), ["id"]),
    ],
)
def test_a_new_entrypoint_drops_the_images_command_and_a_new_command_keeps_its_entrypoint(
    entrypoint: tuple[str, ...] | None, command: tuple[str, ...] | None, expected: list[str]
) -> None:
    assert spec.arguments(replace(WISH, entrypoint=entrypoint, command=command), IMAGE) == expected


def test_nothing_to_run_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="Nothing to run"):
        spec.arguments(replace(WISH, entrypoint=(), command=()), IMAGE)


def test_the_users_variables_override_the_images_and_those_override_the_defaults() -> None:
    env = spec.environment(replace(WISH, env=("LANG=x", "A=1", "A=2", "HOSTNAME=mine")), IMAGE, "/root")
    assert dict(each.split("=", 1) for each in env) == {
        "PATH": "/opt/bin:/bin",
        "HOSTNAME": "mine",
        "LANG": "x",
        "A": "2",
        "HOME": "/root",
    }


def test_only_a_terminal_gets_a_term() -> None:
    plain = spec.environment(WISH, IMAGE, "/")
    terminal = spec.environment(replace(WISH, tty=True), IMAGE, "/")
    assert "TERM=xterm" in terminal
    assert not any(each.startswith("TERM=") for each in plain)


@pytest.mark.parametrize("entry", ["NOVALUE", "=value", "A=\0"])
def test_a_broken_variable_is_refused_by_its_text(entry: str) -> None:
    with pytest.raises(InvalidSpec, match="is not NAME=value"):
        build(replace(WISH, env=(entry,)))


def test_a_megabyte_of_environment_is_refused_with_its_size() -> None:
    env = tuple(f"V{number}=" + "x" * 100_000 for number in range(11))
    with pytest.raises(InvalidSpec, match="are allowed") as caught:
        build(replace(WISH, env=env))
    assert caught.value.facts["limit"] == 1 << 20
    assert int(caught.value.facts["size"] or 0) > 1 << 20


def test_a_single_argument_the_kernel_would_not_take_is_refused_with_its_size() -> None:
    with pytest.raises(InvalidSpec, match="the kernel takes") as caught:
        build(replace(WISH, command=("x" * 131_072,)))
    assert caught.value.facts == {"size": 131_073, "limit": 131_072}


@pytest.mark.parametrize("name", ["", "a" * 65, "-a", "a b", "ü", "a/b"])
def test_an_impossible_host_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidSpec, match="Host name"):
        build(replace(WISH, hostname=name))


def test_a_relative_working_directory_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="absolute"):
        build(replace(WISH, working_dir="srv"))


def test_open_files_never_exceed_what_the_node_itself_may_have() -> None:
    limits = build(place=replace(PLACE, nofile_hard=800))["process"]["rlimits"]
    assert limits == [{"type": "RLIMIT_NOFILE", "soft": 800, "hard": 800}]


def test_the_name_in_hosts_has_its_short_form_too() -> None:
    files = spec.files(replace(WISH, hostname="web.shop.acme"), "10.87.1.2", "nameserver 10.87.1.1\n")
    assert files["hosts"].endswith("10.87.1.2\tweb.shop.acme web\n")
    assert files["hostname"] == "web.shop.acme\n"
    assert files["resolv.conf"] == "nameserver 10.87.1.1\n"
