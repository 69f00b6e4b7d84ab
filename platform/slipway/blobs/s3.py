"""Blobs in a bucket that speaks S3: ``blobs/<key>``, and ``uploads/<upload>/<offset>`` on their way in.

An upload's pieces are objects of their own until it is whole: so they can be read again by a process that
did not see them, which parts of a multipart upload cannot. Then they are put together by the store itself
(a multipart upload whose parts are copies), without passing through here again.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from slipway.blobs.keys import key_for, require_key
from slipway.blobs.places import BucketPlace
from slipway.blobs.store import Stored, UploadBusy
from workers.errors import NodeError, NoSuchBlob
from workers.oci.digest import Digest

PIECE = 8 << 20
"""Bytes of an object of an upload: above the 5 MiB that all parts but the last must have."""
READ = 4 << 20


class StoreFailed(NodeError):
    """The bucket's server refused or did not answer."""

    code = "BLOB_STORE_FAILED"


def connect(place: BucketPlace) -> BucketStore:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=place.endpoint,
        region_name=place.region,
        aws_access_key_id=place.access_key,
        aws_secret_access_key=place.secret_key,
        config=Config(
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=32,
            retries={"max_attempts": 3, "mode": "standard"},
            # Other servers than the original do not all know the newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    return BucketStore(client, place.bucket, place.prefix)


class BucketStore:
    kind = "s3"
    is_near = False

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        self.client, self.bucket, self.prefix = client, bucket, prefix

    def append(self, upload: str, offset: int) -> PieceAppender:
        """The last piece, if it is a short one, is written anew with what comes behind it."""
        found = self._pieces(upload)
        if sum(size for _, size in found) != offset:
            raise UploadBusy("Another request has written to this upload or ended it; ask where it is.")
        if found and found[-1][1] < PIECE:
            start = found[-1][0]
            return PieceAppender(self, upload, start, self._get(self._piece(upload, start)))
        return PieceAppender(self, upload, offset, b"")

    def received(self, upload: str) -> int:
        return sum(size for _, size in self._pieces(upload))

    def pieces(self, upload: str, end: int) -> Iterator[bytes]:
        for start, _ in self._pieces(upload):
            if start < end:
                yield self._get(self._piece(upload, start))[: end - start]

    def keep(self, upload: str, digest: Digest, size: int, key: str | None = None) -> str:
        key = key_for(digest, key)
        target, found = f"{self.prefix}blobs/{key}", self._pieces(upload)
        if sum(length for _, length in found) != size:
            raise UploadBusy("Another request has written to this upload or ended it; ask where it is.")
        if not found:
            self._put(target, b"")
        elif len(found) == 1:
            self._call("copy_object", Key=target, CopySource=self._source(upload, found[0][0]))
        else:
            self._put_together(target, [self._source(upload, start) for start, _ in found])
        self.discard(upload)
        return key

    def _put_together(self, target: str, sources: list[dict[str, str]]) -> None:
        begun = self._call("create_multipart_upload", Key=target)["UploadId"]
        try:
            parts = []
            for number, source in enumerate(sources, 1):
                copied = self._call(
                    "upload_part_copy", Key=target, CopySource=source, UploadId=begun, PartNumber=number
                )
                parts.append({"ETag": copied["CopyPartResult"]["ETag"], "PartNumber": number})
            self._call(
                "complete_multipart_upload", Key=target, UploadId=begun, MultipartUpload={"Parts": parts}
            )
        except BaseException:
            self._call("abort_multipart_upload", Key=target, UploadId=begun)
            raise

    def discard(self, upload: str) -> None:
        for start, _ in self._pieces(upload):
            self._delete(self._piece(upload, start))

    def open(self, key: str) -> ObjectReader:
        name = f"{self.prefix}blobs/{require_key(key)}"
        size = self._size(name)
        if size is None:
            raise NoSuchBlob(f"The blob {key} is not in the bucket {self.bucket}.", key=key)
        return ObjectReader(self, name, size)

    def size(self, key: str) -> int | None:
        return self._size(f"{self.prefix}blobs/{require_key(key)}")

    def delete(self, key: str) -> None:
        self._delete(f"{self.prefix}blobs/{require_key(key)}")

    def blobs(self) -> Iterator[Stored]:
        start = f"{self.prefix}blobs/"
        for name, changed, _ in self._list(start):
            yield Stored(name.removeprefix(start), changed)

    def uploads(self) -> Iterator[Stored]:
        start = f"{self.prefix}uploads/"
        newest: dict[str, float] = {}
        for name, changed, _ in self._list(start):
            upload = name.removeprefix(start).partition("/")[0]
            newest[upload] = max(changed, newest.get(upload, 0.0))
        yield from (Stored(upload, changed) for upload, changed in newest.items())

    # ----------------------------------------------------------------------- objects

    def _piece(self, upload: str, start: int) -> str:
        if len(upload) != 32 or not upload.isalnum():
            raise ValueError(f"{upload[:60]!r} is no upload")
        return f"{self.prefix}uploads/{upload}/{start:020}"

    def _source(self, upload: str, start: int) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self._piece(upload, start)}

    def _pieces(self, upload: str) -> list[tuple[int, int]]:
        """Start and size of each, in order."""
        first = self._piece(upload, 0)[:-20]
        return [(int(name.removeprefix(first)), size) for name, _, size in self._list(first)]

    def _list(self, prefix: str) -> Iterator[tuple[str, float, int]]:
        more: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Prefix=prefix, **more)
            for each in page.get("Contents", ()):
                yield each["Key"], each["LastModified"].timestamp(), int(each["Size"])
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _get(self, name: str, **more: str) -> bytes:
        return bytes(self._call("get_object", Key=name, **more)["Body"].read())

    def _put(self, name: str, data: bytes) -> None:
        self._call("put_object", Key=name, Body=data)

    def _delete(self, name: str) -> None:
        self._call("delete_object", Key=name)

    def _size(self, name: str) -> int | None:
        try:
            return int(self._call("head_object", Key=name)["ContentLength"])
        except NoSuchBlob:
            return None

    def _call(self, operation: str, **arguments: Any) -> Any:
        """Raise ``NoSuchBlob``, ``StoreFailed``."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self.client, operation)(Bucket=self.bucket, **arguments)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
                raise NoSuchBlob(f"{arguments.get('Key')} is not in the bucket {self.bucket}.") from error
            raise StoreFailed(f"The bucket {self.bucket} refused {operation}: {error}") from error
        except BotoCoreError as error:
            raise StoreFailed(f"The bucket {self.bucket} does not answer: {error}") from error


class PieceAppender:
    """Gathers a piece and puts it when it is full; what is gathered at the end becomes a short one."""

    def __init__(self, store: BucketStore, upload: str, start: int, begun: bytes) -> None:
        self._store, self._upload = store, upload
        self._start = start
        self._gathered = bytearray(begun)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._gathered += data
        while len(self._gathered) >= PIECE:
            self._put(bytes(self._gathered[:PIECE]))
            del self._gathered[:PIECE]

    def close(self) -> None:
        if self._gathered:
            self._put(bytes(self._gathered))
            self._gathered.clear()

    def _put(self, data: bytes) -> None:
        self._store._put(self._store._piece(self._upload, self._start), data)
        self._start += len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ObjectReader:
    def __init__(self, store: BucketStore, name: str, size: int) -> None:
        self._store, self._name, self._size = store, name, size

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        if offset >= self._size or length <= 0:
            return b""
        last = min(offset + length, self._size) - 1
        return self._store._get(self._name, Range=f"bytes={offset}-{last}")

    def file_at_hand(self, offset: int, length: int) -> int | None:
        return None

    def close(self) -> None:
        """Nothing is held open between two reads."""
