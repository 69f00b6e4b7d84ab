"""What the fake server answers with."""

from __future__ import annotations

from typing import Any

WEB = "/projects/acme/web"
ID = "ab" * 32
TIMES = {"created_at": "2026-01-02T03:04:05Z", "started_at": None, "ended_at": None}
ME = {"user": {"username": "ada"}, "token": {"name": "t", "scopes": ["read"]}, "roles": {"acme": "owner"}}


def container(**more: Any) -> dict[str, Any]:
    row = {"id": ID, "name": "calm_brig", "project": "acme/web", "image": "busybox", "state": "exited"}
    row |= {
        "desired": "running",
        "pending": False,
        "run": 1,
        "exit_code": 0,
        "oom_killed": False,
        "cause": None,
    }
    row |= {"address": None, "started_at": "2026-01-02T03:04:05Z", "finished_at": "2026-01-02T03:04:06Z"}
    return {**row, **more}


def job(state: str, **more: Any) -> dict[str, Any]:
    row = {"id": "c" * 32, "kind": "image.import", "subject": "web:1", "state": state, "detail": ""}
    return {**row, "done": 0, "total": 0, "cause": None, "created_by": "ada", **TIMES, **more}
