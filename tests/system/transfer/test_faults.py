"""What goes wrong between us and a registry, and what we make of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from tests import archives
from tests.archives import E, tar
from tests.registries import Asked, DebianRegistry, Door, Fault, Plan, door
from tests.system.storage.rigs import SCOPE, load
from tests.system.transfer.rigs import SOON, Seen, a_name, files, noise, pull, push, some_image
from workers.engine import images
from workers.engine.images import ImageStore
from workers.engine.transfer import uploads
from workers.errors import (
    DigestMismatch,
    InvalidManifest,
    RegistryError,
    RegistryLimited,
    RegistryUnreachable,
    SlipwayError,
)

BIG = (3_000_000, 2_000_000, 1000)


@pytest.fixture
def front(registry: DebianRegistry) -> Iterator[Door]:
    with door(registry.host) as front:
        yield front


def once_each(fault: Fault, concerns: Callable[[Asked], bool]) -> Plan:
    """``fault`` happens to the first of equal requests."""
    seen: set[tuple[str, str]] = set()
    lock = threading.Lock()

    def plan(asked: Asked) -> Fault | None:
        with lock:
            if not concerns(asked) or (asked.method, asked.path) in seen:
                return None
            seen.add((asked.method, asked.path))
            return fault

    return plan


def times(count: int, fault: Fault, concerns: Callable[[Asked], bool]) -> Plan:
    """``fault`` happens to the first ``count`` requests it concerns."""
    left = iter(range(count))
    return lambda asked: fault if concerns(asked) and next(left, None) is not None else None


def of_blobs(method: str) -> Callable[[Asked], bool]:
    return lambda asked: asked.method == method and "/blobs/" in asked.path


def nothing_is_left(store: ImageStore) -> bool:
    """Neither layers nor what was unpacked of them; leases are given back."""
    places = store.places
    with_layers = [*places.layer_ingest.iterdir(), *(places.layers / "sha256").iterdir()]
    return not with_layers and not images.sweep(store).busy


# --------------------------------------------------------------------------- pulls


def test_a_broken_connection_goes_on_where_it_broke(store: ImageStore, node: ImageStore, front: Door) -> None:
    image, name = some_image(store, BIG), a_name(front.host)
    push(store, image, name)
    front.plan = once_each(Fault(cut_answer=1_000_000), of_blobs("GET"))
    assert files(node, pull(node, name).image) == files(store, image)
    resumed = [each.headers["Range"] for each in front.asked if "Range" in each.headers]
    assert sorted(resumed) == ["bytes=1000000-", "bytes=1000000-"]


def test_a_registry_without_ranges_is_read_again_from_the_beginning(
    store: ImageStore, node: ImageStore, front: Door
) -> None:
    image, name = some_image(store, BIG), a_name(front.host)
    push(store, image, name)
    cut = once_each(Fault(cut_answer=1_000_000, without_ranges=True), of_blobs("GET"))
    front.plan = lambda asked: cut(asked) or Fault(without_ranges=True)
    assert files(node, pull(node, name).image) == files(store, image)


@pytest.mark.parametrize(
    "fault", [Fault(503), Fault(429, {"Retry-After": "0"}), Fault(cut_answer=10), Fault(drop_answer=True)],
    ids=["503", "429", "cut", "no answer"],
)  # fmt: skip
def test_what_fails_once_is_asked_for_again(
    store: ImageStore, node: ImageStore, front: Door, fault: Fault
) -> None:
    image, name = some_image(store), a_name(front.host)
    push(store, image, name)
    front.plan = once_each(fault, lambda asked: asked.method == "GET")
    assert files(node, pull(node, name).image) == files(store, image)


def test_a_registry_that_breaks_off_for_ever_is_named(
    store: ImageStore, node: ImageStore, front: Door
) -> None:
    name = a_name(front.host)
    push(store, some_image(store, BIG), name)
    front.plan = lambda asked: Fault(cut_answer=0) if of_blobs("GET")(asked) else None
    with pytest.raises(RegistryUnreachable, match="cannot be reached: the connection ended"):
        pull(node, name)
    assert nothing_is_left(node)


def test_a_registry_that_crawls_is_given_up(store: ImageStore, node: ImageStore, front: Door) -> None:
    """However often it sends a byte: it would keep others from their pulls."""
    name = a_name(front.host)
    push(store, some_image(store, BIG), name)
    silence = threading.Event()
    config = times(1, Fault(), of_blobs("GET"))
    held = Fault(hold=silence)
    front.plan = lambda asked: config(asked) or (held if of_blobs("GET")(asked) else None)
    with pytest.raises(RegistryUnreachable, match="next to nothing"):
        pull(node, name, patience=replace(SOON, crawl=0.3))
    silence.set()
    assert nothing_is_left(node)


def test_a_limit_is_named_at_once_when_it_lasts_for_long(node: ImageStore, front: Door) -> None:
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"100 pulls in 6 hours"}]}'
    front.plan = lambda asked: Fault(429, {"Retry-After": "21600"}, body)
    with pytest.raises(RegistryLimited, match="gives no more for a while: 100 pulls in 6 hours"):
        pull(node, a_name(front.host))
    assert front.count("GET", "/manifests/") == 1


def test_bytes_that_are_not_those_promised_leave_nothing(
    store: ImageStore, node: ImageStore, front: Door
) -> None:
    image, name = some_image(store, (1000, 70_000)), a_name(front.host)
    push(store, image, name)
    layer = pull(store, name, scope="f" * 32).image.layers[1]

    def plan(asked: Asked) -> Fault | None:
        is_layer = asked.method == "GET" and layer.digest in asked.path
        return Fault(200, {}, noise(layer.size)) if is_layer else None

    front.plan = plan
    with pytest.raises(DigestMismatch, match=layer.digest):
        pull(node, name)
    assert nothing_is_left(node)
    front.plan = lambda asked: (
        Fault(200, {}, noise(layer.size + 5))
        if asked.method == "GET" and layer.digest in asked.path
        else None
    )
    with pytest.raises(SlipwayError):
        pull(node, name)
    assert nothing_is_left(node)


def test_a_manifest_that_is_none_is_refused(node: ImageStore, front: Door) -> None:
    for body in (b"<html>", b'{"schemaVersion":1}', b"[]", b'{"schemaVersion":2,"layers":[{}]}'):
        front.plan = lambda asked, body=body: Fault(200, {}, body)  # type: ignore[misc]  # a plan all the same
        with pytest.raises(InvalidManifest):
            pull(node, a_name(front.host))


def test_a_manifest_of_another_digest_than_told_is_refused(
    store: ImageStore, node: ImageStore, front: Door
) -> None:
    name = a_name(front.host)
    push(store, some_image(store), name)
    told = {"Docker-Content-Digest": "sha256:" + "0" * 64}
    front.plan = lambda asked: Fault(200, told, b"{}") if "/manifests/" in asked.path else None
    with pytest.raises(RegistryError, match="served another manifest"):
        pull(node, name)


def test_redirects_without_end_end(node: ImageStore, front: Door) -> None:
    front.plan = lambda asked: Fault(302, {"Location": f"http://{front.host}{asked.path}x"})
    with pytest.raises(RegistryError, match="without end"):
        pull(node, a_name(front.host))


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://a/b", "http://[::1", "//", "http://u@h/"])
def test_a_redirect_to_what_is_no_registry_is_refused(node: ImageStore, front: Door, target: str) -> None:
    front.plan = lambda asked: Fault(307, {"Location": target})
    with pytest.raises(SlipwayError):
        pull(node, a_name(front.host))


# --------------------------------------------------------------------------- the end at any moment


class Enough(Exception):
    """Somebody has seen enough."""


@dataclass
class Impatient(Seen):
    """Ends the transfer when ``when`` is set."""

    when: threading.Event | None = None

    def check(self) -> None:
        if self.when is not None and self.when.is_set():
            raise Enough


def test_a_pull_ends_as_soon_as_it_is_not_wanted(store: ImageStore, node: ImageStore, front: Door) -> None:
    name = a_name(front.host)
    push(store, some_image(store, BIG), name)
    silence, unwanted = threading.Event(), threading.Event()
    holds = of_blobs("GET")
    front.plan = lambda asked: (
        Fault(hold=silence) if holds(asked) and front.count("GET", "/blobs/") > 1 else None
    )
    watcher = Impatient(when=unwanted)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            pull(node, name, watcher=watcher)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    deadline = time.monotonic() + 20
    while front.count("GET", "/blobs/") < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    unwanted.set()
    thread.join(10)  # far below the 20 s of silence the connections would be given
    assert not thread.is_alive()
    silence.set()
    assert [type(error) for error in raised] == [Enough]
    assert nothing_is_left(node)


def test_a_push_ends_as_soon_as_it_is_not_wanted(store: ImageStore, front: Door) -> None:
    image, name = some_image(store, BIG), a_name(front.host)
    unwanted = threading.Event()

    def plan(asked: Asked) -> Fault | None:
        if asked.method == "PUT":
            unwanted.set()
        return None

    front.plan = plan
    with pytest.raises(Enough):
        push(store, image, name, watcher=Impatient(when=unwanted))
    assert images.get(store, SCOPE, image.image_id).sources == ()


# --------------------------------------------------------------------------- pushes


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few megabytes are many blocks."""
    monkeypatch.setattr(uploads.blocks_of, "__defaults__", (256 << 10,))


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    "fault",
    [Fault(cut_request=100_000), Fault(drop_answer=True), Fault(503), Fault(429)],
    ids=["cut", "no answer", "503", "429"],
)
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_block_that_did_not_arrive_is_sent_again(
    store: ImageStore, node: ImageStore, front: Door, fault: Fault, method: str
) -> None:
    image, name = some_image(store, BIG), a_name(front.host)
    front.plan = times(2, fault, of_blobs(method))
    pushed = push(store, image, name)
    assert pushed.uploaded == 3
    front.plan = lambda asked: None
    assert files(node, pull(node, name).image) == files(store, image)


@pytest.mark.usefixtures("small_blocks")
def test_an_upload_the_registry_forgot_begins_anew(store: ImageStore, node: ImageStore, front: Door) -> None:
    image, name = some_image(store, (1_000_000,)), a_name(front.host)
    forgotten = once_each(Fault(404), lambda asked: True)
    front.plan = lambda asked: (
        forgotten(asked) if asked.method == "PATCH" and front.count("PATCH", "") == 3 else None
    )
    assert push(store, image, name).uploaded == 1
    assert front.count("POST", "/blobs/uploads/") == 3  # two for the layer, one for the config
    assert files(node, pull(node, name).image) == files(store, image)


def test_a_registry_that_takes_nothing_says_why(store: ImageStore, front: Door) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"quota exceeded: 10 GB of 10 GB"}]}'
    front.plan = lambda asked: Fault(403, {}, body) if asked.method == "POST" else None
    with pytest.raises(SlipwayError, match="quota exceeded: 10 GB of 10 GB"):
        push(store, some_image(store), a_name(front.host))


def test_one_layer_named_often_moves_once(store: ImageStore, node: ImageStore, front: Door) -> None:
    layer = tar([E("same", noise(1000))])
    image, name = load(store, archives.docker_save([layer] * 5)), a_name(front.host)
    pushed = push(store, image, name)
    assert pushed.uploaded == 1
    front.asked.clear()
    assert len(pull(node, name).image.layers) == 5
    assert front.count("GET", "/blobs/") == 2
