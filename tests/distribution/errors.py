"""What every answer that is an error must look like."""

from __future__ import annotations

from tests.registry_client import Reply

CODES = frozenset(
    {
        "BLOB_UNKNOWN",
        "BLOB_UPLOAD_INVALID",
        "BLOB_UPLOAD_UNKNOWN",
        "DIGEST_INVALID",
        "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_INVALID",
        "MANIFEST_UNKNOWN",
        "NAME_INVALID",
        "NAME_UNKNOWN",
        "SIZE_INVALID",
        "UNAUTHORIZED",
        "DENIED",
        "UNSUPPORTED",
        "TOOMANYREQUESTS",
    }
)


def refused(reply: Reply, status: int, code: str) -> Reply:
    """The reply, which has that status, and that code in its first error; its form is the specification's."""
    assert reply.status == status, (reply.status, reply.body)
    assert reply.headers["content-type"].partition(";")[0] == "application/json"
    assert set(reply.json) == {"errors"}
    assert reply.json["errors"]
    for error in reply.json["errors"]:
        assert error["code"] in CODES
        assert isinstance(error.get("message", ""), str)
        assert set(error) <= {"code", "message", "detail"}
    assert reply.code == code, reply.body
    return reply


def absent(reply: Reply) -> None:
    """The answer to a HEAD for what is not there."""
    assert (reply.status, reply.body) == (404, b"")
