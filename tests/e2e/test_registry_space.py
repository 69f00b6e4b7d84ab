"""What is deleted from the registry is gone from the disk soon after, as its pages promise."""

from __future__ import annotations

import secrets
import time

from tests.e2e.test_registry_kills import ask, start
from tests.registry_client import digest_of, image_manifest
from tests.rest import until
from tests.stacks import RunningStack
from workers.oci.descriptor import OCI_MANIFEST


def test_the_last_manifest_frees_its_bytes_on_the_disk_within_a_minute(stack: RunningStack) -> None:
    path = f"{stack.project}/freed-{secrets.token_hex(4)}"
    layer, config = secrets.token_bytes(4 << 20), b'{"architecture": "amd64", "os": "linux"}'
    for data in (layer, config):
        assert ask(stack, "PUT", f"{start(stack, path)}?digest={digest_of(data)}", data)[0] == 201
    manifest = image_manifest(config, layer)
    address = f"/v2/{path}/manifests"
    assert ask(stack, "PUT", f"{address}/v1", manifest, Content_Type=OCI_MANIFEST)[0] == 201
    named = f"blobs/sha256/*/{digest_of(layer).removeprefix('sha256:')}.*"
    assert [each.stat().st_size for each in stack.data.rglob(named)] == [len(layer)]
    began = time.monotonic()
    assert ask(stack, "DELETE", f"{address}/{digest_of(manifest)}")[0] == 202
    until(lambda: not list(stack.data.rglob(named)) or None, 60, "the layer still lies on the disk")
    print(f"\ngone after {time.monotonic() - began:.1f} s")
