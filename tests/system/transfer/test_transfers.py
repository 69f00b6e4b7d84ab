"""Images go to a real registry and come back the same."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests import archives
from tests.archives import E, tar
from tests.registries import PASSWORD, USER, Asked, DebianRegistry, Fault, door
from tests.system.storage.rigs import OTHER, SCOPE, load
from tests.system.transfer.rigs import LOCAL, Seen, a_name, files, noise, pull, push, some_image
from workers.engine import images, saving
from workers.engine.images import UPSTREAM, ImageStore
from workers.errors import (
    AddressRefused,
    NoSuchManifest,
    RegistryDenied,
    RegistryNotAllowed,
    RegistryUnreachable,
)
from workers.messages import RegistryAccess
from workers.oci.descriptor import Platform


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_an_image_goes_out_and_comes_back_the_same(
    store: ImageStore, node: ImageStore, registry: DebianRegistry, compression: str
) -> None:
    image = some_image(store)
    name = a_name(registry.host)
    pushed = push(store, image, name, compression=compression)
    assert (pushed.existed, pushed.mounted, pushed.uploaded) == (0, 0, 2)
    seen = Seen()
    pulled = pull(node, name, watcher=seen)
    assert pulled.image.image_id == image.image_id
    assert pulled.image.config_text == image.config_text
    assert pulled.origin.digest == pulled.image.manifest_digest == pushed.manifest_digest
    assert not pulled.origin.cached
    assert files(node, pulled.image) == files(store, image)
    assert images.get(node, SCOPE, image.image_id) == pulled.image
    assert seen.last == [("done", True)] * 2
    assert pushed.size == sum(layer.size for layer in pulled.image.layers) + len(
        pulled.image.manifest.encode() + pulled.image.config_text.encode()
    )


def test_the_second_push_only_asks(store: ImageStore, registry: DebianRegistry) -> None:
    image = some_image(store)
    first = push(store, image, a_name(registry.host))
    name = a_name(registry.host)
    with door(registry.host) as front:
        again = push(store, image, name.replace(registry.host, front.host))
        assert (again.existed, again.mounted, again.uploaded) == (0, 0, 2)  # another name: another registry
        repeated = push(store, image, name.replace(registry.host, front.host))
        assert (repeated.existed, repeated.mounted, repeated.uploaded) == (2, 0, 0)
        assert front.count("PATCH", "") == 0
    assert repeated.manifest_digest == again.manifest_digest == first.manifest_digest


def test_layers_are_mounted_from_where_the_scope_pushed_them_before(
    store: ImageStore, registry: DebianRegistry
) -> None:
    base = tar([E("base", noise(5000))])
    first = load(store, archives.docker_save([base]))
    second = load(store, archives.docker_save([base, tar([E("top", noise(100))])]))
    push(store, first, a_name(registry.host))
    pushed = push(store, second, a_name(registry.host))
    assert (pushed.existed, pushed.mounted, pushed.uploaded) == (0, 1, 1)


def test_where_others_pushed_a_layer_is_told_to_nobody(store: ImageStore, registry: DebianRegistry) -> None:
    data = archives.docker_save([tar([E("base", noise(5000))])])
    with door(registry.host) as front:
        push(store, load(store, data, OTHER), f"{front.host}/secret/name:1", scope=OTHER)
        pushed = push(store, load(store, data), f"{front.host}/team/web:1")
        assert not any("from=secret" in each.path for each in front.asked)
    assert (pushed.mounted, pushed.uploaded) == (0, 1)


def test_an_image_pulled_and_pushed_on_keeps_its_digest(
    store: ImageStore, node: ImageStore, registry: DebianRegistry
) -> None:
    image = some_image(store)
    name, copy = a_name(registry.host), a_name(registry.host)
    push(store, image, name)
    pulled = pull(node, name)
    pushed = push(node, pulled.image, copy)
    assert (pushed.existed, pushed.mounted, pushed.uploaded) == (0, 2, 0)
    assert pushed.manifest_digest == pulled.image.manifest_digest


def test_skopeo_reads_what_was_pushed(store: ImageStore, registry: DebianRegistry) -> None:
    image = some_image(store)
    name = a_name(registry.host)
    pushed = push(store, image, name)
    command = ["skopeo", "inspect", "--tls-verify=false", f"docker://{name}"]
    shown = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert shown["Digest"] == pushed.manifest_digest
    assert len(shown["Layers"]) == 2


@pytest.mark.parametrize("form", ["v2s2", "oci"])
def test_what_skopeo_pushed_is_the_same_image(
    store: ImageStore, node: ImageStore, registry: DebianRegistry, form: str, tmp_path: Path
) -> None:
    image, name = some_image(store), a_name(registry.host)
    (tmp_path / "saved.tar").write_bytes(
        b"".join(saving.save(store, SCOPE, image.image_id, "docker", ["web:1"]).pieces)
    )
    copy = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"--format={form}"]
    subprocess.run([*copy, f"docker-archive:{tmp_path}/saved.tar", f"docker://{name}"], check=True)
    pulled = pull(node, name).image
    if form == "v2s2":
        assert pulled.image_id == image.image_id
    assert files(node, pulled) == files(store, image)


def test_pull_by_digest_is_given_that_and_nothing_else(
    store: ImageStore, node: ImageStore, registry: DebianRegistry
) -> None:
    name = a_name(registry.host)
    pushed = push(store, some_image(store), name)
    push(store, some_image(store), name)
    pinned = f"{name.rpartition(':')[0]}@{pushed.manifest_digest}"
    pulled = pull(node, pinned)
    assert pulled.image.manifest_digest == pushed.manifest_digest
    with pytest.raises(NoSuchManifest):
        pull(node, f"{name.rpartition(':')[0]}@sha256:{'0' * 64}")


def test_the_image_for_the_platform_is_chosen_from_an_index(
    store: ImageStore, node: ImageStore, registry: DebianRegistry
) -> None:
    name = a_name(registry.host)
    repository = name.rpartition(":")[0]
    entries = []
    for architecture in ("arm64", "amd64"):
        layer = tar([E(architecture, noise(100))])
        text = archives.config([archives.sha256(layer)]).replace(b'"amd64"', f'"{architecture}"'.encode())
        image = load(store, archives.docker_save([layer], text=text))
        pushed = push(store, image, f"{repository}:{architecture}")
        manifest = images.get(store, SCOPE, image.image_id)
        pulled_text = _manifest_text(registry, repository, pushed.manifest_digest)
        entries.append(
            archives.descriptor(
                archives.MANIFEST, pulled_text, platform={"os": "linux", "architecture": architecture}
            )
        )
        assert manifest.config.platform.architecture == architecture
    index = json.dumps({"schemaVersion": 2, "mediaType": archives.INDEX, "manifests": entries}).encode()
    _put_manifest(registry, name, index, archives.INDEX)
    pulled = pull(node, name)
    assert list(files(node, pulled.image)[0]) == ["amd64"]
    assert pulled.origin.index_digest == archives.sha256(index)
    assert pulled.origin.digest == entries[1]["digest"]
    other = pull(node, name, platform=Platform("linux", "arm64"))
    assert list(files(node, other.image)[0]) == ["arm64"]
    assert "may not start" in other.warnings[0]
    with door(registry.host) as front:  # known by the digest of the index alone
        again = pull(node, name.replace(registry.host, front.host))
        assert again.origin.cached
        assert [each.method for each in front.asked] == ["HEAD"]


def _manifest_text(registry: DebianRegistry, repository: str, digest: str) -> bytes:
    path = repository.partition("/")[2]
    return _curl("-H", f"Accept: {archives.MANIFEST}", f"http://{registry.host}/v2/{path}/manifests/{digest}")


def _put_manifest(registry: DebianRegistry, name: str, text: bytes, media_type: str) -> None:
    path, _, tag = name.partition("/")[2].rpartition(":")
    _curl("-X", "PUT", "-H", f"Content-Type: {media_type}", "--data-binary", "@-",
          f"http://{registry.host}/v2/{path}/manifests/{tag}", text=text)  # fmt: skip


def _curl(*arguments: str, text: bytes = b"") -> bytes:
    done = subprocess.run(["curl", "-sSf", *arguments], check=True, capture_output=True, input=text)
    return done.stdout


# --------------------------------------------------------------------------- who is let in


def test_a_registry_with_a_password_lets_in_whoever_has_it(
    store: ImageStore, node: ImageStore, closed_registry: DebianRegistry
) -> None:
    image, name = some_image(store), a_name(closed_registry.host)
    access = RegistryAccess(USER, PASSWORD, plain_http=True, allow_private=True)
    push(store, image, name, access=access)
    assert pull(node, name, access=access).image.image_id == image.image_id
    for wrong in (LOCAL, RegistryAccess(USER, "guess", plain_http=True, allow_private=True)):
        with pytest.raises(RegistryDenied) as refused:
            pull(store, name, access=wrong)
        assert "guess" not in str(refused.value)


def test_tokens_are_fetched_for_what_is_wanted_and_again_when_they_expire(
    store: ImageStore, node: ImageStore, registry: DebianRegistry
) -> None:
    image = some_image(store)
    access = RegistryAccess(USER, PASSWORD, plain_http=True, allow_private=True)
    with door(registry.host, users={USER: PASSWORD}, token_uses=3) as front:
        name = a_name(front.host)
        push(store, image, name, access=access)
        assert pull(node, name, access=access).image.image_id == image.image_id
        repository = name.partition("/")[2].rpartition(":")[0]
        asked = [each for each in front.asked if each.path.startswith("/token")]
        assert len(asked) > 3
        assert f"scope=repository%3A{repository.replace('/', '%2F')}%3Apull%2Cpush" in asked[0].path
        assert all(each.headers["Authorization"].startswith("Basic ") for each in asked)
        with pytest.raises(RegistryDenied, match="wants credentials"):
            pull(store, name, scope=OTHER)


def test_credentials_do_not_go_where_a_registry_redirects_to(
    store: ImageStore, node: ImageStore, closed_registry: DebianRegistry, registry: DebianRegistry
) -> None:
    image = some_image(store)
    access = RegistryAccess(USER, PASSWORD, plain_http=True, allow_private=True)
    name = a_name(closed_registry.host)
    push(store, image, name, access=access)
    push(store, image, name.replace(closed_registry.host, registry.host))
    with door(registry.host) as elsewhere, door(closed_registry.host) as front:

        def plan(asked: Asked) -> Fault | None:
            is_blob = asked.method == "GET" and "/blobs/" in asked.path
            return Fault(307, {"Location": f"http://{elsewhere.host}{asked.path}"}) if is_blob else None

        front.plan = plan
        front.users = {USER: PASSWORD}
        # The door drops credentials on their way through; the registry behind it wants some.
        front.upstream = registry.host
        pulled = pull(node, name.replace(closed_registry.host, front.host), access=access)
        assert pulled.image.image_id == image.image_id
        assert elsewhere.count("GET", "/blobs/") == 3
        assert not any("Authorization" in each.headers for each in elsewhere.asked)


# --------------------------------------------------------------------------- where it may lead


def test_private_networks_are_out_of_reach(
    store: ImageStore, node: ImageStore, registry: DebianRegistry
) -> None:
    name = a_name(registry.host)
    push(store, some_image(store), name)
    for host in (registry.host, f"localhost:{registry.port}"):
        with pytest.raises(AddressRefused, match="private or local network"):
            pull(node, name.replace(registry.host, host), access=RegistryAccess(plain_http=True))
    assert images.image_ids(node, SCOPE) == ()


def test_a_registry_that_is_not_allowed_is_not_even_asked(node: ImageStore, registry: DebianRegistry) -> None:
    with door(registry.host) as front, pytest.raises(RegistryNotAllowed, match=front.host):
        pull(node, f"{front.host}/team/web:1", access=replace(LOCAL, denied=True))
    assert front.asked == []


def test_a_registry_that_is_not_there_is_named(node: ImageStore) -> None:
    with pytest.raises(RegistryUnreachable, match=r"127\.0\.0\.1 cannot be reached: Connection refused"):
        pull(node, "127.0.0.1:9/team/web:1")


def test_a_mirror_is_asked_first_and_without_credentials(
    store: ImageStore, node: ImageStore, registry: DebianRegistry, closed_registry: DebianRegistry
) -> None:
    image, name = some_image(store), a_name(closed_registry.host)
    push(store, image, name.replace(closed_registry.host, registry.host))
    with door(registry.host) as mirror:
        access = RegistryAccess(USER, PASSWORD, plain_http=True, mirrors=(f"http://{mirror.host}",))
        pulled = pull(node, name, access=access)
        assert pulled.origin.reference == name
        assert not any("Authorization" in each.headers for each in mirror.asked)
    with pytest.raises(AddressRefused):  # the mirror is gone, the registry itself is private
        pull(store, name, scope=OTHER, access=access)


def test_a_mirror_that_lacks_a_layer_is_helped_out(
    store: ImageStore, node: ImageStore, registry: DebianRegistry
) -> None:
    image, name = some_image(store), a_name(registry.host)
    push(store, image, name)
    with door(registry.host) as mirror:
        mirror.plan = lambda asked: Fault(404) if "/blobs/" in asked.path else None
        access = RegistryAccess(plain_http=True, allow_private=True, mirrors=(f"http://{mirror.host}",))
        assert files(node, pull(node, name, access=access).image) == files(store, image)


# --------------------------------------------------------------------------- the cache


def test_what_anybody_may_have_is_fetched_once(
    store: ImageStore, node: ImageStore, registry: DebianRegistry
) -> None:
    image = some_image(store)
    with door(registry.host) as front:
        name = a_name(front.host)
        push(store, image, name)
        first = pull(node, name, shared_scope=UPSTREAM)
        assert images.image_ids(node, UPSTREAM) == (image.image_id,)
        front.asked.clear()
        known, seen = first.image.manifest_digest, Seen()
        second = pull(node, name, scope=OTHER, shared_scope=UPSTREAM, known_digest=known, watcher=seen)
        assert front.asked == []
        assert [(each.digest, each.total) for each in seen.reports[-1]] == [
            (layer.digest, layer.size) for layer in first.image.layers
        ]
        assert seen.last == [("exists", True)] * len(first.image.layers)
        assert (second.origin.cached, second.origin.stale) == (True, None)
        assert second.image == first.image
        seen = Seen()
        third = pull(node, name, scope="c" * 32, shared_scope=UPSTREAM, watcher=seen)
        assert [each.method for each in front.asked] == ["HEAD"]
        assert seen.last == [("exists", True)] * len(first.image.layers)
        assert third.origin.cached


def test_what_needed_credentials_stays_with_its_scope(
    store: ImageStore, node: ImageStore, closed_registry: DebianRegistry
) -> None:
    image, name = some_image(store), a_name(closed_registry.host)
    access = RegistryAccess(USER, PASSWORD, plain_http=True, allow_private=True)
    push(store, image, name, access=access)
    pull(node, name, access=access, shared_scope=UPSTREAM)
    assert images.image_ids(node, UPSTREAM) == ()


@pytest.mark.parametrize("status", [429, 503])
def test_the_cache_helps_out_when_upstream_gives_nothing(
    store: ImageStore, node: ImageStore, registry: DebianRegistry, status: int
) -> None:
    image = some_image(store)
    with door(registry.host) as front:
        name = a_name(front.host)
        push(store, image, name)
        held = pull(node, name, shared_scope=UPSTREAM).image.manifest_digest
        body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your limit."}]}'
        front.plan = lambda asked: Fault(status, {}, body)
        seen = Seen()
        pulled = pull(node, name, scope=OTHER, shared_scope=UPSTREAM, fallback_digest=held, watcher=seen)
        assert {state for state, _ in seen.last} == {"exists"}
        assert pulled.origin.cached
        assert "You have reached your limit." in (pulled.origin.stale or "")
        assert images.image_ids(node, OTHER) == (image.image_id,)


def test_layers_are_shared_with_the_cache_and_the_scope_itself_only(
    store: ImageStore, node: ImageStore, registry: DebianRegistry
) -> None:
    """A manifest that names somebody's layer does not give it: the registry must have the bytes."""
    secret = some_image(store, (5000,))
    name = a_name(registry.host)
    push(store, secret, name)
    victim = pull(node, name, scope=OTHER).image
    (layer,) = victim.layers
    # The thief's registry serves manifest and config, and pretends to have the layer.
    with door(registry.host) as evil:
        evil.plan = lambda asked: Fault(404) if asked.method == "GET" and layer.digest in asked.path else None
        with pytest.raises(Exception, match="404"):
            pull(node, name.replace(registry.host, evil.host))
        assert images.image_ids(node, SCOPE) == ()
        # For the scope that has it, nothing is fetched.
        again = pull(node, name.replace(registry.host, evil.host), scope=OTHER)
        assert again.image.image_id == victim.image_id


def test_a_layer_of_the_scopes_own_does_not_get_into_the_cache_by_being_named(
    store: ImageStore, node: ImageStore, registry: DebianRegistry
) -> None:
    private = tar([E("private", noise(3000))])
    mine, name = load(store, archives.docker_save([private])), a_name(registry.host)
    push(store, mine, name)
    pull(node, name)  # for SCOPE alone
    top = tar([E("top", noise(100))])
    theirs, other = load(store, archives.docker_save([private, top])), a_name(registry.host)
    push(store, theirs, other)
    pulled = pull(node, other, shared_scope=UPSTREAM)
    assert len(pulled.image.layers) == 2
    assert images.image_ids(node, UPSTREAM) == ()
