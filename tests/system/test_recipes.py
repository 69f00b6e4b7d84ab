"""Programs from Debian's packages, baked and run for real: needs a package mirror, so only in the soak."""

from __future__ import annotations

import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.system.rigs import SCOPE, Rig, open_rig, until
from workers.engine import containers, images, importing, recipes
from workers.engine.images import Image
from workers.errors import RuntimeFailed
from workers.messages import ContainerStarted, Limits, StopContainer

pytestmark = pytest.mark.soak
LIMITS = Limits(memory_bytes=512 << 20, pids=200)
PASSWORD = 'a "quoted" \\ secret'


@pytest.fixture(scope="module")
def baker() -> Iterator[Rig]:
    try:
        rig = open_rig("crun")
    except RuntimeFailed:
        rig = open_rig("runc")
    with tempfile.TemporaryFile(dir="/var/tmp") as archive:
        tags = recipes.bake("debian", archive, lambda *_: None, print)
        archive.seek(0)
        imported = importing.import_archive(rig.engine.images, archive, scope=SCOPE, references=["debian"])
    assert (
        tags[0]
        == images.get(rig.engine.images, SCOPE, imported.image_id).config.labels[
            "org.opencontainers.image.version"
        ]
    )
    yield replace(rig, image_id=imported.image_id)
    rig.close()


Baked = Callable[[str], Rig]


@pytest.fixture(scope="module")
def baked(baker: Rig) -> Iterator[Baked]:
    """A rig whose containers are made of a program's image."""
    made: dict[str, Rig] = {}

    def bake(name: str) -> Rig:
        if name not in made:
            made[name] = replace(baker, image_id=install(baker, name).image_id)
        return made[name]

    yield bake
    for rig in made.values():
        rig.tidy()


def install(baker: Rig, name: str) -> importing.Imported:
    return recipes.install(
        baker.engine.images,
        recipes.PROGRAMS[name],
        images.get(baker.engine.images, SCOPE, baker.image_id),
        scope=SCOPE,
        repository=name,
        tag="latest",
        say=print,
        check=lambda: None,
    )


def image(rig: Rig) -> Image:
    return images.get(rig.engine.images, SCOPE, rig.image_id)


def address(rig: Rig) -> str:
    address = rig.last(ContainerStarted).address
    assert address is not None
    return address


def said(rig: Rig, container: str, text: str, times: int = 1) -> None:
    until(
        lambda: sum(text in line for line in rig.lines(container)) >= times,
        lambda: "\n".join(rig.lines(container)),
    )


@pytest.mark.parametrize("name", recipes.PROGRAMS)
def test_a_second_bake_gives_the_same_bytes_on_the_same_base(baker: Rig, baked: Baked, name: str) -> None:
    program, base = image(baked(name)), image(baker)
    assert program.layers[:-1] == base.layers
    assert install(baker, name).image_id == program.image_id


def test_python_runs_what_it_is_given_and_installs_packages(baked: Baked) -> None:
    rig = baked("python")
    assert rig.result("python", "-c", "print(6 * 7)", limits=LIMITS) == (0, ["42"])
    code, lines = rig.result("python", "-m", "pip", "list", limits=LIMITS)
    assert (code, lines[0].split()) == (0, ["Package", "Version"])
    script = "import ctypes, sqlite3, ssl; print(len(ssl.create_default_context().get_ca_certs()) > 50)"
    assert rig.result("python", "-c", script, limits=LIMITS) == (0, ["True"])


def test_node_runs_what_it_is_given_and_has_npm(baked: Baked) -> None:
    rig = baked("node")
    assert rig.result("node", "-e", "console.log(6 * 7)", limits=LIMITS) == (0, ["42"])
    code, lines = rig.result("npm", "--version", limits=LIMITS, user="node")
    assert (code, lines[0].count(".")) == (0, 2)


def test_redis_answers_others_of_its_project_and_keeps_its_data(baked: Baked) -> None:
    rig = baked("redis")
    server = rig.run(limits=LIMITS)
    at = address(rig)
    said(rig, server, "Ready to accept connections")
    assert rig.result("redis-cli", "-h", at, "set", "key", "value", limits=LIMITS) == (0, ["OK"])
    containers.stop(rig.engine, StopContainer(server, 2, 30.0), rig.events.append)
    rig.end(server)
    said(rig, server, "DB saved on disk")
    rig.run(container=server, generation=3, run=2, limits=LIMITS)
    at = address(rig)
    said(rig, server, "Ready to accept connections", times=2)
    assert rig.result("redis-cli", "-h", at, "get", "key", limits=LIMITS) == (0, ["value"])


def test_redis_asks_for_the_password_it_was_given(baked: Baked) -> None:
    rig = baked("redis")
    server = rig.run(limits=LIMITS, env=(f"REDIS_PASSWORD={PASSWORD}",))
    at = address(rig)
    said(rig, server, "Ready to accept connections")
    assert rig.result("redis-cli", "-h", at, "ping", limits=LIMITS)[1][:1] == [
        "NOAUTH Authentication required."
    ]
    env = (f"REDISCLI_AUTH={PASSWORD}",)
    assert rig.result("redis-cli", "-h", at, "ping", limits=LIMITS, env=env) == (0, ["PONG"])


def test_postgres_makes_its_cluster_at_the_first_start_only(baked: Baked) -> None:
    rig = baked("postgres")
    server = rig.run(limits=LIMITS, env=(f"POSTGRES_PASSWORD={PASSWORD}", "POSTGRES_DB=shop"))
    at = address(rig)
    said(rig, server, "database system is ready to accept connections", times=2)

    def ask(query: str, password: str = PASSWORD) -> tuple[int | None, list[str]]:
        psql = ("psql", "-h", at, "-U", "postgres", "-d", "shop", "-Atc", query)
        return rig.result(*psql, limits=LIMITS, env=(f"PGPASSWORD={password}",))

    assert ask("create table orders as select 42 as number") == (0, ["SELECT 1"])
    code, lines = ask("select 1", password="wrong")
    assert (code, "password authentication failed" in lines[-1]) == (2, True)
    containers.stop(rig.engine, StopContainer(server, 2, 30.0), rig.events.append)
    assert rig.end(server).exit_code == 0
    rig.run(container=server, generation=3, run=2, limits=LIMITS, env=(f"POSTGRES_PASSWORD={PASSWORD}",))
    at = address(rig)
    said(rig, server, "database system is ready to accept connections", times=3)
    assert ask("select number from orders") == (0, ["42"])
    assert sum("initdb" in line or "creating" in line for line in rig.lines(server)) > 0


def test_postgres_without_a_password_says_what_it_needs(baked: Baked) -> None:
    code, lines = baked("postgres").result(limits=LIMITS)
    assert (code, "POSTGRES_PASSWORD" in lines[-1]) == (1, True)


def test_nginx_serves_and_logs_to_the_containers_log(baked: Baked) -> None:
    rig = baked("nginx")
    server = rig.run(limits=LIMITS)
    url = f"http://{address(rig)}/"
    said(rig, server, "start worker process")
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert b"Welcome to nginx" in answer.read()
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{url}missing", timeout=10)
    said(rig, server, '"GET / HTTP/1.1" 200')
    said(rig, server, "No such file or directory")
    containers.stop(rig.engine, StopContainer(server, 2, 30.0), rig.events.append)
    assert rig.end(server).exit_code == 0


def test_no_image_holds_a_key_that_all_its_users_would_share(baked: Baked) -> None:
    for name in recipes.PROGRAMS:
        rig = baked(name)
        for layer in image(rig).layers:
            found = [*rig.places.layer(layer.diff_id).glob("etc/ssl/private/*")]
            assert [path for path in found if path.is_file()] == [], name
