"""Push, the blobs: end-4 to end-6, end-11, end-13, and the end of an upload."""

from __future__ import annotations

import re
from uuid import UUID

import pytest

from tests.distribution.errors import absent, refused
from tests.registry_client import RegistryClient, Reply, digest_of

DATA = bytes(range(251)) * 60
THIRD = len(DATA) // 3
CHUNKS = (DATA[:THIRD], DATA[THIRD : 2 * THIRD], DATA[2 * THIRD :])
BAD = digest_of(b"other bytes")
OCTETS = "application/octet-stream"


def begin(client: RegistryClient, path: str) -> str:
    """Where the upload is (end-4a)."""
    reply = client.call("POST", f"/v2/{path}/blobs/uploads/")
    assert (reply.status, reply.body) == (202, b"")
    assert "oci-chunk-min-length" not in reply.headers  # a chunk may be of any size here
    location = reply.headers["location"]
    assert UUID(location.rpartition("/")[2])
    return location


def patch(client: RegistryClient, location: str, chunk: bytes, first: int) -> Reply:
    return client.call(
        "PATCH",
        location,
        chunk,
        content_type=OCTETS,
        content_range=f"{first}-{first + len(chunk) - 1}",
    )


def created(client: RegistryClient, reply: Reply, data: bytes, digest: str) -> None:
    """The upload is a blob, and its address says where."""
    assert (reply.status, reply.headers["docker-content-digest"]) == (201, digest), reply
    assert client.call("GET", reply.headers["location"]).body == data


@pytest.fixture(params=["sha256", "sha512"])
def digest(request: pytest.FixtureRequest) -> str:
    return digest_of(DATA, request.param)


class PushBlobs:
    @pytest.mark.parametrize("data", [DATA, b"", b"{}"])
    def test_end_4b_takes_a_blob_with_the_post(self, client: RegistryClient, path: str, data: bytes) -> None:
        for algorithm in ("sha256", "sha512"):
            wanted = digest_of(data, algorithm)
            reply = client.call(
                "POST", f"/v2/{path}/blobs/uploads/?digest={wanted}", data, content_type=OCTETS
            )
            created(client, reply, data, wanted)

    def test_end_6_takes_a_blob_at_once(self, client: RegistryClient, path: str, digest: str) -> None:
        location = begin(client, path)
        reply = client.call("PUT", f"{location}?digest={digest}", DATA, content_type=OCTETS)
        created(client, reply, DATA, digest)

    @pytest.mark.parametrize("in_the_put", [False, True])
    def test_end_5_takes_chunks_in_order(
        self, client: RegistryClient, path: str, digest: str, in_the_put: bool
    ) -> None:
        location, sent = begin(client, path), 0
        for chunk in CHUNKS[:-1] if in_the_put else CHUNKS:
            reply = patch(client, location, chunk, sent)
            sent += len(chunk)
            assert (reply.status, reply.headers["range"]) == (202, f"0-{sent - 1}")
            location = reply.headers["location"]
        if in_the_put:
            last = f"{sent}-{len(DATA) - 1}"
            reply = client.call("PUT", f"{location}?digest={digest}", CHUNKS[-1], content_range=last)
        else:
            reply = client.call("PUT", f"{location}?digest={digest}")
        created(client, reply, DATA, digest)

    def test_end_5_takes_a_stream_without_length_or_range(
        self, client: RegistryClient, path: str, digest: str
    ) -> None:
        reply = client.call("PATCH", begin(client, path), list(CHUNKS), content_type=OCTETS)
        assert (reply.status, reply.headers["range"]) == (202, f"0-{len(DATA) - 1}")
        created(client, client.call("PUT", f"{reply.headers['location']}?digest={digest}"), DATA, digest)

    @pytest.mark.parametrize("method", ["PATCH", "PUT"])
    def test_a_chunk_out_of_order_is_refused_and_the_upload_goes_on(
        self, client: RegistryClient, path: str, digest: str, method: str
    ) -> None:
        location = begin(client, path)
        query = f"?digest={digest}" if method == "PUT" else ""
        late = client.call(method, location + query, CHUNKS[1], content_range=f"{THIRD}-{2 * THIRD - 1}")
        refused(late, 416, "BLOB_UPLOAD_INVALID")  # the first chunk begins with 0
        assert patch(client, location, CHUNKS[0], 0).status == 202
        for first in (0, 2 * THIRD, THIRD - 1, THIRD + 1):
            wrong = client.call(
                method, location + query, CHUNKS[1], content_range=f"{first}-{first + THIRD - 1}"
            )
            refused(wrong, 416, "BLOB_UPLOAD_INVALID")
        state = client.call("GET", location)
        assert (state.status, state.headers["range"], state.body) == (204, f"0-{THIRD - 1}", b"")
        location = state.headers["location"]
        assert patch(client, location, CHUNKS[1], THIRD).status == 202
        done = client.call("PUT", f"{location}?digest={digest}", CHUNKS[2])
        created(client, done, DATA, digest)

    def test_a_chunk_is_as_long_as_its_range(self, client: RegistryClient, path: str) -> None:
        wrong = client.call("PATCH", begin(client, path), CHUNKS[0], content_range=f"0-{THIRD}")
        refused(wrong, 400, "SIZE_INVALID")

    def test_end_13_tells_where_to_go_on(self, client: RegistryClient, path: str) -> None:
        location = begin(client, path)
        for sent in (0, THIRD):
            if sent:
                patch(client, location, CHUNKS[0], 0)
            state = client.call("GET", location)
            assert (state.status, state.body) == (204, b"")
            assert re.fullmatch(rf"0-{max(0, sent - 1)}", state.headers["range"])
            assert UUID(state.headers["location"].rpartition("/")[2])

    def test_an_upload_is_cancelled(self, client: RegistryClient, path: str, digest: str) -> None:
        location = begin(client, path)
        patch(client, location, CHUNKS[0], 0)
        gone = client.call("DELETE", location)
        assert (gone.status, gone.body) == (204, b"")
        unknown(client, location, digest)

    def test_an_upload_is_over_once_it_is_a_blob(
        self, client: RegistryClient, path: str, digest: str
    ) -> None:
        location = begin(client, path)
        assert client.call("PUT", f"{location}?digest={digest}", DATA).status == 201
        unknown(client, location, digest)

    def test_an_upload_is_known_in_its_repository_alone(
        self, client: RegistryClient, path: str, sibling: str, digest: str
    ) -> None:
        client.push_blob(sibling, b"so that it exists")
        unknown(client, begin(client, path).replace(path, sibling), digest)

    @pytest.mark.parametrize("how", ["post", "put", "chunks", "last chunk", "stream"])
    def test_bytes_of_another_digest_are_refused_whichever_way_they_come(
        self, client: RegistryClient, path: str, how: str
    ) -> None:
        if how == "post":
            reply = client.call("POST", f"/v2/{path}/blobs/uploads/?digest={BAD}", DATA)
        else:
            location, rest = begin(client, path), DATA
            if how in ("chunks", "last chunk"):
                patch(client, location, CHUNKS[0], 0)
                rest = DATA[THIRD:] if how == "last chunk" else b""
            elif how == "stream":
                client.call("PATCH", location, list(CHUNKS))
                rest = b""
            reply = client.call("PUT", f"{location}?digest={BAD}", rest)
        refused(reply, 400, "DIGEST_INVALID")
        absent(client.call("HEAD", f"/v2/{path}/blobs/{BAD}"))
        absent(client.call("HEAD", f"/v2/{path}/blobs/{digest_of(DATA)}"))

    @pytest.mark.parametrize("given", ["", "sha256:abc", f"md5:{'0' * 32}", f"sha256:{'G' * 64}"])
    def test_what_is_no_digest_is_refused(self, client: RegistryClient, path: str, given: str) -> None:
        reply = client.call("PUT", f"{begin(client, path)}?digest={given}", DATA)
        refused(reply, 400, "DIGEST_INVALID")

    def test_a_blob_may_be_pushed_again(self, client: RegistryClient, path: str) -> None:
        for _ in range(2):
            client.push_blob(path, DATA)
        assert client.call("GET", f"/v2/{path}/blobs/{digest_of(DATA)}").body == DATA

    @pytest.mark.parametrize("name", ["UPPER/case/x", "a/b/c_", "one", "a/b"])
    def test_no_upload_begins_where_there_is_no_name(self, client: RegistryClient, name: str) -> None:
        reply = client.call("POST", f"/v2/{name}/blobs/uploads/")
        refused(reply, 400, "NAME_INVALID")

    # ------------------------------------------------------------------- end-11

    def test_end_11_mounts_a_blob(self, client: RegistryClient, path: str, sibling: str, digest: str) -> None:
        assert client.call("POST", f"/v2/{sibling}/blobs/uploads/?digest={digest}", DATA).status == 201
        reply = client.call("POST", f"/v2/{path}/blobs/uploads/?mount={digest}&from={sibling}")
        created(client, reply, DATA, digest)
        assert reply.headers["location"] == f"/v2/{path}/blobs/{digest}"
        assert client.call("HEAD", f"/v2/{path}/blobs/{digest}").status == 200

    @pytest.mark.parametrize("source", ["known", "unknown", "itself", "nonsense", ""])
    def test_end_11_begins_an_upload_where_nothing_can_be_mounted(
        self, client: RegistryClient, path: str, sibling: str, source: str
    ) -> None:
        client.push_blob(sibling, b"something else")
        named = {"known": sibling, "unknown": f"{sibling}-unknown", "itself": path}.get(source, source)
        query = f"mount={digest_of(DATA)}" + (f"&from={named}" if named else "")
        reply = client.call("POST", f"/v2/{path}/blobs/uploads/?{query}")
        assert reply.status == 202
        done = client.call("PUT", f"{reply.headers['location']}?digest={digest_of(DATA)}", DATA)
        created(client, done, DATA, digest_of(DATA))


def unknown(client: RegistryClient, location: str, digest: str) -> None:
    """There is no such upload, whatever is asked of it."""
    for method, query in (("GET", ""), ("PATCH", ""), ("PUT", f"?digest={digest}"), ("DELETE", "")):
        body = DATA if method in ("PATCH", "PUT") else b""
        refused(client.call(method, location + query, body), 404, "BLOB_UPLOAD_UNKNOWN")
