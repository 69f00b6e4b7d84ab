"""What a node keeps of a job: its command until it has ended, its outcome for a while after.

A command may hold secrets. On disk it is sealed with a key that lies in the run directory, in memory on most
systems: neither a copy of the disk nor a backup of the node gives them away. After a reboot the key is gone,
and what it sealed is dropped; the platform sends every job again that has not ended.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from workers import sealing
from workers.content import write_durably
from workers.engine.places import Places
from workers.messages import (
    BakeImage,
    BuildImage,
    Event,
    ImportImage,
    PruneBuildCache,
    PullImage,
    PushImage,
    RemoveImage,
    decode_command,
    decode_event,
    encode,
)

JobCommand = ImportImage | BakeImage | RemoveImage | PullImage | PushImage | BuildImage | PruneBuildCache
_NONCE = 12
log = structlog.get_logger(__name__)


class JobFiles:
    """Safe to share between threads."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._cipher = ChaCha20Poly1305(_ensure_key(places.job_key))

    def store(self, job: str, command: JobCommand | None, outcome: Event | None) -> None:
        """In place of what was there, durably. Raise ``NoSpace``."""
        body = {
            "sealed": command and self._seal(job, encode(command)),
            "outcome": outcome and encode(outcome),
        }
        write_durably(self._places.job(job), json.dumps(body).encode())

    def load(self, job: str) -> tuple[JobCommand | None, Event | None]:
        """Neither when there is no such job, or its command was sealed before a reboot."""
        try:
            body = json.loads(self._places.job(job).read_text())
        except FileNotFoundError:
            return None, None
        command = self._command(job, body)
        return command, decode_event(body["outcome"]) if body["outcome"] else None

    def _command(self, job: str, body: dict[str, str | None]) -> JobCommand | None:
        sealed, text = body.get("sealed"), body.get("command")  # in clear: by an earlier version of us
        if sealed:
            text = self._open(job, sealed)
        command = decode_command(text) if text else None
        assert command is None or isinstance(command, JobCommand)  # noqa: S101 - ours
        return command

    def _seal(self, job: str, text: str) -> str:
        nonce = os.urandom(_NONCE)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, text.encode(), job.encode())).decode()

    def _open(self, job: str, sealed: str) -> str | None:
        data = base64.b64decode(sealed)
        try:
            return self._cipher.decrypt(data[:_NONCE], data[_NONCE:], job.encode()).decode()
        except InvalidTag:
            log.info("job_sealed_before_reboot", job=job)
            return None


def _ensure_key(path: Path) -> bytes:
    """Of this boot. The first of two who make it wins."""
    if not path.exists():
        key = base64.b64encode(ChaCha20Poly1305.generate_key()).decode()
        sealing.write_secretly(path, key, replace=False)
    return base64.b64decode(path.read_text())
