"""The programs there are recipes for: what is installed, and how its image is run."""

from __future__ import annotations

from pathlib import Path

from workers.engine.recipes.installs import Install

_ENTRYPOINT = "/usr/local/bin/docker-entrypoint.sh"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NGINX_SITE = """\
server {
    listen 80 default_server;
    listen [::]:80 default_server;
    root /usr/share/nginx/html;
    index index.html;
}
"""
_NGINX_LOGS = "access_log /dev/stdout;\n"


def _entrypoint(name: str) -> dict[str, object]:
    text = (Path(__file__).parent / "entrypoints" / name).read_text(encoding="utf-8")
    return {"write": _ENTRYPOINT, "text": text, "mode": 0o755}


PROGRAMS: dict[str, Install] = {
    "python": Install(
        title="Python",
        packages=("python3", "python3-pip", "python3-venv", "python-is-python3", "ca-certificates"),
        command=("python3",),
        env=("LANG=C.UTF-8", "PYTHON_VERSION={version}"),
        # The image is the environment: pip may install into it.
        after=({"remove": ["/usr/lib/python3*/EXTERNALLY-MANAGED"]},),
    ),
    "node": Install(
        title="Node.js",
        packages=("nodejs", "npm", "ca-certificates"),
        command=("node",),
        env=("NODE_VERSION={version}",),
        after=(
            {
                "run": [
                    "useradd",
                    "--uid",
                    "1000",
                    "--user-group",
                    "--create-home",
                    "--shell",
                    "/bin/bash",
                    "node",
                ]
            },
        ),
    ),
    "redis": Install(
        title="Redis",
        packages=("redis-server",),
        entrypoint=(_ENTRYPOINT,),
        # Whoever reaches it is in its project's network.
        command=("redis-server", "--bind", "* -::*", "--protected-mode", "no", "--dir", "/data"),
        env=("REDIS_VERSION={version}",),
        ports=("6379/tcp",),
        volumes=("/data",),
        working_dir="/data",
        after=(
            _entrypoint("redis.sh"),
            {"run": ["install", "-d", "-o", "redis", "-g", "redis", "/data"]},
        ),
    ),
    "postgres": Install(
        title="PostgreSQL",
        packages=("postgresql",),
        entrypoint=(_ENTRYPOINT,),
        command=("postgres", "-c", "listen_addresses=*", "-c", "jit=off"),
        env=(
            f"PATH={_PATH}:/usr/lib/postgresql/{{major}}/bin",
            "LANG=C.UTF-8",
            "PG_MAJOR={major}",
            "PGDATA=/var/lib/postgresql/data",
        ),
        ports=("5432/tcp",),
        volumes=("/var/lib/postgresql/data",),
        stop_signal="SIGINT",
        before=(
            {
                "write": "/etc/postgresql-common/createcluster.conf",
                "text": "create_main_cluster = false\n",
                "mode": 0o644,
            },
        ),
        after=(
            _entrypoint("postgres.sh"),
            {
                "run": [
                    "install",
                    "-d",
                    "-o",
                    "postgres",
                    "-g",
                    "postgres",
                    "-m",
                    "0700",
                    "/var/lib/postgresql/data",
                ]
            },
            {"run": ["install", "-d", "/docker-entrypoint-initdb.d"]},
        ),
        # The compiler of queries is four times as large as everything else, and off.
        left_out=(
            "/usr/lib/*/libLLVM*",
            "/usr/lib/llvm-*",
            "/usr/lib/postgresql/*/lib/bitcode/*",
            "/usr/lib/postgresql/*/lib/llvmjit*",
        ),
        depth=1,
    ),
    "nginx": Install(
        title="nginx",
        packages=("nginx",),
        command=("nginx", "-g", "daemon off;"),
        env=("NGINX_VERSION={version}",),
        ports=("80/tcp",),
        stop_signal="SIGQUIT",
        after=(
            {"remove": ["/etc/nginx/sites-enabled/default", "/var/log/nginx/*", "/var/www/html"]},
            {"write": "/etc/nginx/conf.d/default.conf", "text": _NGINX_SITE, "mode": 0o644},
            {"run": ["sed", "-i", "-E", "/^[[:space:]]*(access|error)_log /d", "/etc/nginx/nginx.conf"]},
            {"run": ["sed", "-i", "1i error_log /dev/stderr notice;", "/etc/nginx/nginx.conf"]},
            {"write": "/etc/nginx/conf.d/logs.conf", "text": _NGINX_LOGS, "mode": 0o644},
            {"run": ["nginx", "-t"]},
            {"link": "/var/log/nginx/access.log", "to": "/dev/stdout"},
            {"link": "/var/log/nginx/error.log", "to": "/dev/stderr"},
        ),
    ),
}
