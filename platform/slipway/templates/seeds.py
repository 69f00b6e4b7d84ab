"""The templates an installation begins with: one for each recipe, and two ways to use them."""

from __future__ import annotations

from typing import Any

_PASSWORD = {"kind": "secret", "length": 24, "alphabet": "letters and digits", "required": True}

SEEDS: tuple[dict[str, Any], ...] = (
    {
        "slug": "redis",
        "name": "Redis",
        "category": "Databases",
        "icon": "database",
        "description": "A key-value store that asks its clients for a password.",
        "image": "redis:latest",
        "fields": [{"name": "REDIS_PASSWORD", "label": "Password", **_PASSWORD}],
        "ports": [{"container": 6379, "protocol": "tcp", "description": "Redis"}],
        "volumes": [{"path": "/data", "description": "Snapshots"}],
    },
    {
        "slug": "postgres",
        "name": "PostgreSQL",
        "category": "Databases",
        "icon": "database",
        "description": "A database with a user and a password of its own.",
        "image": "postgres:latest",
        "fields": [
            {
                "name": "POSTGRES_USER",
                "label": "User",
                "default": "postgres",
                "help": "Owns the database and may do everything.",
                "required": True,
            },
            {"name": "POSTGRES_PASSWORD", "label": "Password", **_PASSWORD},
            {"name": "POSTGRES_DB", "label": "Database", "help": "Else it is named like the user."},
        ],
        "ports": [{"container": 5432, "protocol": "tcp", "description": "PostgreSQL"}],
        "volumes": [{"path": "/var/lib/postgresql/data", "description": "The cluster"}],
        "memory_bytes": 512 << 20,
    },
    {
        "slug": "nginx",
        "name": "nginx",
        "category": "Web",
        "icon": "network",
        "description": "A web server with its first page; requests are in the container's log.",
        "image": "nginx:latest",
        "ports": [{"container": 80, "protocol": "tcp", "description": "HTTP"}],
        "volumes": [{"path": "/usr/share/nginx/html", "description": "What it serves"}],
    },
    {
        "slug": "python-http",
        "name": "Python HTTP server",
        "category": "Web",
        "icon": "network",
        "description": "Serves the files of /srv, as python -m http.server does.",
        "image": "python:latest",
        "command": ["python3", "-u", "-m", "http.server", "--directory", "/srv", "8000"],
        "ports": [{"container": 8000, "protocol": "tcp", "description": "HTTP"}],
        "volumes": [{"path": "/srv", "description": "What it serves"}],
    },
    {
        "slug": "debian-shell",
        "name": "Debian, kept running",
        "category": "Tools",
        "icon": "terminal-2",
        "description": "A Debian system that waits: something to look around in.",
        "image": "debian:latest",
        "command": ["sleep", "infinity"],
        "fields": [
            {"name": "TZ", "label": "Time zone", "default": "Etc/UTC", "help": "As Europe/Berlin."},
        ],
    },
)
