from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import archives
from workers.errors import InvalidManifest
from workers.oci.config import parse_config
from workers.oci.descriptor import Platform, parse_document
from workers.oci.manifest import Index, Manifest, choose, compose, parse_manifest, require_image

TEXT = archives.config([archives.sha256(b"layer")])
GOOD: dict[str, Any] = json.loads(archives.manifest(TEXT, [b"layer"]))
AMD64 = Platform("linux", "amd64")

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


def index(*entries: dict[str, object]) -> Index:
    document = parse_manifest(json.dumps({"schemaVersion": 2, "manifests": list(entries)}).encode())
    assert isinstance(document, Index)
    return document


def entry(data: bytes, **platform: str) -> dict[str, object]:
    return archives.descriptor(archives.MANIFEST, data, **({"platform": platform} if platform else {}))


def test_a_manifest_names_its_config_and_layers() -> None:
    manifest = parse_manifest(json.dumps(GOOD).encode())
    assert isinstance(manifest, Manifest)
    assert str(manifest.config.digest) == archives.sha256(TEXT)
    assert [layer.size for layer in manifest.layers] == [5]
    require_image(manifest)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"schemaVersion": 1}, "schema 1"),
        ({"schemaVersion": None}, "schemaVersion"),
        ({"mediaType": "text/html"}, "calls itself"),
        ({"manifests": []}, "at once"),
        ({"layers": {}}, "layers must be a list"),
        ({"config": None}, "manifest.config must be an object"),
        ({"layers": [{**GOOD["layers"][0], "size": -1}]}, r"layers\[0\].size"),
        ({"layers": [{**GOOD["layers"][0], "size": True}]}, r"layers\[0\].size"),
        ({"layers": [{**GOOD["layers"][0], "digest": "sha256:../.."}]}, r"layers\[0\].digest"),
        ({"layers": [{**GOOD["layers"][0], "mediaType": "x"}]}, "no media type"),
    ],
)
def test_a_wrong_member_is_named(change: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidManifest, match=why):
        parse_manifest(json.dumps({**GOOD, **change}).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidManifest):
        parse_manifest(data)


@pytest.mark.parametrize("value", ["NaN", "-Infinity", '"\\ud800"', '["a", {"\\udfff": 1}]'])
def test_what_no_other_reader_of_json_takes_is_refused(value: str) -> None:
    with pytest.raises(InvalidManifest, match="is no JSON"):
        parse_document(b'{"a": ' + value.encode() + b"}", "config")


def test_a_member_given_twice_is_refused() -> None:
    with pytest.raises(InvalidManifest, match="'layers' is given twice"):
        parse_manifest(b'{"schemaVersion": 2, "layers": [], "layers": []}')


@given(st.sampled_from(sorted(GOOD)), any_json)
def test_whatever_a_member_is_only_the_right_error_comes(name: str, value: object) -> None:
    with contextlib.suppress(InvalidManifest):
        parse_manifest(json.dumps({**GOOD, name: value}).encode())


def test_an_artifact_is_no_image() -> None:
    body = {**GOOD, "config": {**GOOD["config"], "mediaType": "application/vnd.oci.empty.v1+json"}}
    manifest = parse_manifest(json.dumps(body).encode())
    assert isinstance(manifest, Manifest)
    with pytest.raises(InvalidManifest, match="no container image"):
        require_image(manifest)


def test_the_platform_decides_and_attestations_never_win() -> None:
    attestation = entry(b"attestation", os="unknown", architecture="unknown")
    document = index(attestation, entry(b"arm", os="linux", architecture="arm64"),
                     entry(b"amd", os="linux", architecture="amd64"))  # fmt: skip
    assert str(choose(document, AMD64).digest) == archives.sha256(b"amd")


def test_a_missing_platform_is_named_with_those_there_are() -> None:
    document = index(entry(b"arm", os="linux", architecture="arm64", variant="v8"))
    with pytest.raises(InvalidManifest, match=r"linux/amd64.*linux/arm64/v8"):
        choose(document, AMD64)


def test_the_plain_variant_wins() -> None:
    document = index(entry(b"v3", os="linux", architecture="amd64", variant="v3"),
                     entry(b"plain", os="linux", architecture="amd64"))  # fmt: skip
    assert str(choose(document, AMD64).digest) == archives.sha256(b"plain")


def test_a_composed_manifest_reads_back() -> None:
    manifest = parse_manifest(json.dumps(GOOD).encode())
    assert isinstance(manifest, Manifest)
    assert parse_manifest(compose(manifest.config, manifest.layers)) == manifest


def test_a_config_keeps_what_to_run() -> None:
    data = archives.config(
        [archives.sha256(b"layer")],
        Entrypoint=["/bin/web"], Cmd=["--port", "80"], Env=["A=1"], User="www", WorkingDir="/srv",
        StopSignal="SIGQUIT", ExposedPorts={"80/tcp": {}}, Volumes={"/data": {}}, Labels={"a": "b"},
    )  # fmt: skip
    config = parse_config(data)
    assert (config.entrypoint, config.command, config.env) == (("/bin/web",), ("--port", "80"), ("A=1",))
    assert (config.user, config.working_dir, config.stop_signal) == ("www", "/srv", "SIGQUIT")
    assert (config.exposed_ports, config.volumes, config.labels) == (("80/tcp",), ("/data",), {"a": "b"})
    assert [each.created_by for each in config.history] == ["step 0"]


@pytest.mark.parametrize(
    ("run", "why"),
    [
        ({"Env": ["A"]}, "NAME=value"),
        ({"Env": ["=A"]}, "NAME=value"),
        ({"Env": ["A=\0"]}, "NAME=value"),
        ({"Cmd": "sh"}, "list of texts"),
        ({"Cmd": ["a\0b"]}, "NUL"),
        ({"User": 5}, "User must be text"),
        ({"User": "a\0"}, "User holds a NUL"),
        ({"WorkingDir": "/\0"}, "WorkingDir holds a NUL"),
        ({"StopSignal": "\0"}, "StopSignal holds a NUL"),
        ({"Labels": {"a": 1}}, "must be text"),
    ],
)
def test_a_config_nothing_could_run_from_is_refused(run: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidManifest, match=why):
        parse_config(archives.config([], **run))


@given(any_json, st.sampled_from(["config", "rootfs", "history", "os", "created"]))
def test_whatever_a_config_holds_only_the_right_error_comes(value: object, name: str) -> None:
    body = {**json.loads(TEXT), name: value}
    with contextlib.suppress(InvalidManifest):
        parse_config(json.dumps(body))


def test_a_cache_of_buildkit_is_called_so() -> None:
    kind = "application/vnd.buildkit.cacheconfig.v0"
    layer = archives.descriptor("application/vnd.oci.image.layer.v1.tar+gzip", b"layer")
    with pytest.raises(InvalidManifest, match="cache of BuildKit's"):
        choose(index(layer, archives.descriptor(kind, b"cache")), AMD64)
    manifest = parse_manifest(json.dumps({**GOOD, "config": archives.descriptor(kind, b"cache")}).encode())
    assert isinstance(manifest, Manifest)
    with pytest.raises(InvalidManifest, match="cache of BuildKit's"):
        require_image(manifest)
