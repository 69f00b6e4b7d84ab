"""systemd units of one installation, as text: what `make up` starts, from the boot on.

Pure but for what the caller passes in. tests/slipway/operations compares the commands with `make up`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway.operations.errors import CannotInstall

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./\[\]~-]+")

# No mount namespace of their own, so nothing that would make one (Private*, Protect*): containers' file
# systems are mounted here and must be seen by worker, agent and shims alike.
_NODE = """\
User=root
Delegate=yes
KillMode=mixed
OOMPolicy=continue
LimitNOFILE=1048576
TasksMax=infinity
UMask=0077
"""
_HARDENED = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
KillMode=mixed
UMask=0077
"""


@dataclass(frozen=True)
class Installation:
    """Everything the units depend on."""

    root: Path
    """The checkout."""
    python: Path
    data: Path
    run: Path
    instance: str
    node: str
    port: int
    user: str
    environment_file: Path
    local_postgres: bool

    @property
    def prefix(self) -> str:
        return self.instance if self.instance.startswith("slipway") else f"slipway-{self.instance}"

    @property
    def runtime_directory(self) -> str:
        """Relative to /run, as systemd wants it. Raise ``CannotInstall``."""
        if self.run.parts[:2] != ("/", "run") or len(self.run.parts) < 3:
            raise CannotInstall(f"SLIPWAY_RUN={self.run}: services need a directory below /run.")
        return str(self.run.relative_to("/run"))


def units(of: Installation) -> dict[str, str]:
    """By file name."""
    parts = {
        "redis": _redis(of),
        "prepare": _prepare(of),
        "agent": _agent(of),
        "worker": _worker(of),
        "observer": _observer(of),
        "web": _web(of),
    }
    made = {f"{of.prefix}-{name}.service": text for name, text in parts.items()}
    return {f"{of.prefix}.target": _target(of, list(made)), **made}


def environment(variables: Mapping[str, str]) -> str:
    """The text of the environment file: ``SLIPWAY_`` variables, quoted as systemd reads them."""
    lines = []
    for name, value in sorted(variables.items()):
        if "\n" in value or "\0" in value:
            raise CannotInstall(f"{name} holds a line break, which an environment file cannot.")
        escaped = re.sub(r'([\\"$`])', r"\\\1", value)
        lines.append(f'{name}="{escaped}"')
    return "\n".join([*lines, ""])


# --------------------------------------------------------------------------- one function per unit


def _target(of: Installation, services: list[str]) -> str:
    return f"""\
[Unit]
Description=Slipway ({of.instance})
Wants={" ".join(services)}

[Install]
WantedBy=multi-user.target
"""


def _redis(of: Installation) -> str:
    home = of.run / "redis"
    command = (
        *(
            "/usr/bin/redis-server",
            "--port",
            "0",
            "--unixsocket",
            home / "redis.sock",
            "--unixsocketperm",
            "770",
        ),
        *("--dir", of.data / "redis", "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--maxmemory-policy", "noeviction"),
    )
    directories = (
        f"ExecStartPre=+/usr/bin/install -d -m 0711 {of.data} {of.run}\n"
        f"ExecStartPre=+/usr/bin/install -d -m 0700 -o {of.user} -g {of.user} {of.data}/redis\n"
        # What the contract names; the socket itself is bound in a directory of its own user.
        f"ExecStartPre=+/usr/bin/ln -sfn redis/redis.sock {of.run}/redis.sock\n"
    )
    body = f"""\
{_user(of)}{directories}ExecStart={_line(*command)}
RuntimeDirectory={of.runtime_directory}/redis
RuntimeDirectoryMode=0711
ReadWritePaths=-{of.data}/redis
PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
{_hardened(of)}"""
    return _service(of, "Redis", body, after=())


def _prepare(of: Installation) -> str:
    """Keys, schema, static files and the node's registration; quick when there is nothing to do."""
    platform = of.data / "platform"
    inner = f"{platform}/keys {platform / 'tmp'}"
    body = f"""\
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=600
{_user(of)}{_environment(of)}ExecStartPre=+/usr/bin/install -d -m 0700 -o {of.user} -g {of.user} {platform}
ExecStartPre=/usr/bin/install -d -m 0700 {inner}
ExecStart={_line(of.python, of.root / "manage.py", "prepare")}
ExecStartPost=+/usr/bin/env HOME=/root {_line(of.python, of.root / "manage.py", "register_node")}
WorkingDirectory={of.root}
UMask=0077
"""
    return _service(of, "keys, database and node", body, after=("redis",), restarts=False)


def _agent(of: Installation) -> str:
    return _service(
        of, "agent of the node", _node_body(of, "-m", "workers.agent"), after=("redis", "prepare")
    )


def _worker(of: Installation) -> str:
    command = (
        *("-m", "celery", "-A", "workers.app", "worker", "--pool", "threads", "-Q", f"node.{of.node}"),
        *("--hostname", f"{of.instance}@{of.node}", "--loglevel", "INFO"),
        *("--without-gossip", "--without-mingle"),
    )
    return _service(of, "worker of the node", _node_body(of, *command), after=("redis", "prepare"))


def _node_body(of: Installation, *command: str) -> str:
    """Celery imports from where it runs: a directory nobody else may put anything into."""
    work = of.run / "work"
    return f"""\
{_NODE}{_environment(of)}ExecStartPre=/usr/bin/install -d -m 0700 {work}
ExecStart=/usr/bin/env --chdir={work} {_line(of.python, *command)}
RuntimeDirectory={of.runtime_directory}
RuntimeDirectoryMode=0711
RuntimeDirectoryPreserve=yes
TimeoutStopSec=30
"""


def _observer(of: Installation) -> str:
    body = f"""\
{_user(of)}{_environment(of)}ExecStart={_line(of.python, of.root / "manage.py", "observe")}
{_platform_body(of)}"""
    return _service(of, "observer", body, after=("redis", "prepare"))


def _web(of: Installation) -> str:
    command = (
        *(of.python, "-m", "uvicorn", "slipway.asgi:application", "--http", "slipway.serving:Protocol"),
        *("--host", "127.0.0.1", "--port", of.port),
        *("--no-access-log", "--no-server-header", "--timeout-graceful-shutdown", "3"),
    )
    body = f"""\
{_user(of)}{_environment(of)}ExecStart={_line(*command)}
{_platform_body(of)}"""
    return _service(of, "console and REST", body, after=("redis", "prepare"))


def _platform_body(of: Installation) -> str:
    return f"""\
WorkingDirectory={of.root}
ReadWritePaths=-{of.data}/platform
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
TimeoutStopSec=15
{_hardened(of)}"""


# --------------------------------------------------------------------------- what they share


def _service(of: Installation, what: str, body: str, *, after: tuple[str, ...], restarts: bool = True) -> str:
    needed = [f"{of.prefix}-{name}.service" for name in after]
    order = ["network.target", *needed, *(["postgresql.service"] if of.local_postgres else [])]
    # Redis may come and go, everybody waits for it; nobody starts before the schema and the keys are there.
    requires = [name for name in needed if name.endswith("-prepare.service")]
    wants = [name for name in needed if name not in requires]
    lines = [f"Description=Slipway: {what} ({of.instance})", f"PartOf={of.prefix}.target"]
    lines += [f"After={' '.join(order)}"]
    lines += [f"Requires={' '.join(requires)}"] if requires else []
    lines += [f"Wants={' '.join(wants)}"] if wants else []
    lines += ["StartLimitIntervalSec=0"] if restarts else []
    restart = "Type=exec\nRestart=always\nRestartSec=1\n" if restarts else ""
    return (
        "[Unit]\n"
        + "\n".join(lines)
        + f"\n\n[Service]\n{restart}{body}\n[Install]\nWantedBy={of.prefix}.target\n"
    )


def _user(of: Installation) -> str:
    return f"User={of.user}\nGroup={of.user}\nEnvironment=HOME={of.data / 'platform'}\n"


def _environment(of: Installation) -> str:
    path = f"{of.python.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return (
        f"EnvironmentFile={of.environment_file}\n"
        f"Environment=PATH={path} PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1\n"
        f"Environment=PYTHONPATH={of.root}:{of.root / 'platform'}\n"
    )


def _hardened(of: Installation) -> str:
    homes = ("/home", "/root", "/run/user")
    inside = any(Path(home) in path.parents for home in homes for path in (of.root, of.python, of.data))
    return _HARDENED.format(home="read-only" if inside else "yes")


def _line(*words: object) -> str:
    """A command line as systemd splits it; ``%`` and ``$`` are its own."""
    return " ".join(_word(str(word)) for word in words)


def _word(word: str) -> str:
    word = word.replace("%", "%%").replace("$", "$$")
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
