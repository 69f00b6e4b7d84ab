"""Values from the environment, parsed; pure but for reading ``os.environ`` and the secret key's file.

Only ``settings.py`` uses this. A wrong value raises ``ImproperlyConfigured`` naming the variable, what it
holds and what would do.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_SWITCH = {
    "on": True,
    "1": True,
    "true": True,
    "yes": True,
    "off": False,
    "0": False,
    "false": False,
    "no": False,
}
SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    # FULL, not NORMAL: nodes forget events once they were applied, so a commit must survive power loss.
    "PRAGMA synchronous=FULL",
    "PRAGMA journal_size_limit=67108864",
    "PRAGMA cache_size=-8000",
    "PRAGMA temp_store=MEMORY",
)


def text(name: str, default: str) -> str:
    """An empty variable counts as unset."""
    return os.environ.get(name, "").strip() or default


def path(name: str, default: str | Path) -> Path:
    value = Path(text(name, str(default)))
    if not value.is_absolute():
        raise ImproperlyConfigured(f"{name}={value}: an absolute path is needed.")
    return value


def name(variable: str, default: str) -> str:
    """A name that is safe in Redis keys, queue names and paths."""
    value = text(variable, default)
    if not _NAME.fullmatch(value):
        raise ImproperlyConfigured(
            f"{variable}={value}: 1 to 32 of a-z, 0-9 and '-' are allowed, with no '-' at the ends."
        )
    return value


def switch(name: str, *, default: bool = False) -> bool:
    value = text(name, "on" if default else "off").lower()
    if value not in _SWITCH:
        raise ImproperlyConfigured(f"{name}={value}: on or off is needed.")
    return _SWITCH[value]


def integer(name: str, default: int, *, low: int, high: int) -> int:
    value = text(name, str(default))
    if not re.fullmatch(r"[0-9]{1,12}", value) or not low <= int(value) <= high:
        raise ImproperlyConfigured(f"{name}={value}: a number from {low} to {high} is needed.")
    return int(value)


def choice(name: str, default: str, *, among: tuple[str, ...]) -> str:
    value = text(name, default).lower()
    if value not in among:
        raise ImproperlyConfigured(f"{name}={value}: one of {', '.join(among)} is needed.")
    return value


def items(name: str, default: str) -> list[str]:
    return [item.strip() for item in text(name, default).split(",") if item.strip()]


def origin(name: str, default: str) -> str:
    """Scheme and host of a server: ``http://127.0.0.1:8000``."""
    value = text(name, default).rstrip("/")
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.netloc or url.path or url.query or url.username:
        raise ImproperlyConfigured(f"{name}={value}: http://host:port or https://host is needed.")
    return value


def registry_hosts(hosts: list[str], port: int, tls: bool) -> list[str]:
    """Our own registry as references name it: with TLS a proxy serves the usual port, else we do."""
    named = [host.removeprefix(".") for host in hosts if host != "*"] or ["localhost"]
    return named if tls else [f"{host}:{port}" for host in named]


def mirrors(name: str) -> dict[str, tuple[str, ...]]:
    """``docker.io=https://mirror.example.org``, several with commas, tried in their order."""
    found: dict[str, tuple[str, ...]] = {}
    for item in items(name, ""):
        host, equals, url = item.partition("=")
        if not equals or not host or urlsplit(url).scheme not in ("http", "https"):
            raise ImproperlyConfigured(f"{name}: {item}: registry=https://mirror is needed.")
        found[host] = (*found.get(host, ()), url.rstrip("/"))
    return found


def network(name: str, default: str) -> IPv4Network:
    value = text(name, default)
    try:
        parsed = IPv4Network(value)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise ImproperlyConfigured(
            f"{name}={value}: {error}; a network such as {default} is needed."
        ) from error
    if parsed.prefixlen > 24:
        raise ImproperlyConfigured(f"{name}={value}: at least a /24 is needed, one per project.")
    return parsed


def redis_url(name: str, default: str) -> str:
    value = text(name, default)
    if urlsplit(value).scheme not in ("unix", "redis", "rediss"):
        raise ImproperlyConfigured(
            f"{name}={value}: unix:///path, redis://host:port/0 or rediss://… is needed."
        )
    return value


def secret(name: str, default: Path) -> str:
    """The secret in a file; empty when the file does not exist (``slipway.keys.require`` reports it)."""
    file = path(name, default)
    try:
        value = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{name}: cannot read the secret key in {file}: {error}.") from error
    if len(value) < 50:
        raise ImproperlyConfigured(
            f"{name}: the secret key in {file} is too short. Remove the file and run `manage.py init_keys`."
        )
    return value


def former_secrets(name: str, default: Path) -> list[str]:
    """The secrets before the one in the file, newest first; none where they were never rotated."""
    file = path(name, default)
    former = file.with_name(f"{file.name}.former")
    try:
        return former.read_text(encoding="ascii").split()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{name}: cannot read the former keys in {former}: {error}.") from error


def database(name: str, default: str) -> dict[str, Any]:
    """Django's description of the database at a URL: ``sqlite:///<absolute path>`` or ``postgresql://…``."""
    value = text(name, default)
    url = urlsplit(value)
    options: dict[str, Any] = dict(parse_qsl(url.query, keep_blank_values=True))
    if url.scheme == "sqlite" and not url.netloc and url.path.startswith("/") and not options:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": unquote(url.path),
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                # Every transaction takes the write lock at once: none can fail halfway for want of it.
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": ";".join(SQLITE_PRAGMAS),
            },
        }
    if url.scheme in ("postgresql", "postgres") and url.path.strip("/"):
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(url.path.removeprefix("/")),
            "USER": unquote(url.username or ""),
            "PASSWORD": unquote(url.password or ""),
            # A host with slashes is the directory of a unix socket: postgresql://user@%2Frun%2Fpostgresql/name
            "HOST": options.pop("host", unquote(url.hostname or "")),
            "PORT": str(url.port or ""),
            "OPTIONS": {"connect_timeout": "5", **options},
            "CONN_MAX_AGE": 60,
            "CONN_HEALTH_CHECKS": True,
        }
    raise ImproperlyConfigured(
        f"{name}: sqlite:///absolute/path or postgresql://user:password@host:port/name is needed."
    )


@dataclass(frozen=True)
class Mail:
    """How mail leaves. ``sends`` is false where it only lands in the log or a directory."""

    backend: str
    host: str = ""
    port: int = 25
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    starttls: bool = False
    directory: str | None = None
    sends: bool = False


def mail(name: str) -> Mail:
    """``console:`` (the default), ``file:///directory``, ``smtp``, ``smtp+tls`` or ``smtps`` ``://user:password@host``."""
    value = text(name, "console:")
    url = urlsplit(value)
    backends = "django.core.mail.backends"
    if value == "console:":
        return Mail(f"{backends}.console.EmailBackend")
    if url.scheme == "file" and not url.netloc and url.path.startswith("/"):
        return Mail(f"{backends}.filebased.EmailBackend", directory=unquote(url.path))
    ports = {"smtp": 25, "smtp+tls": 587, "smtps": 465}
    if url.scheme in ports and url.hostname:
        return Mail(
            f"{backends}.smtp.EmailBackend",
            host=url.hostname,
            port=url.port or ports[url.scheme],
            user=unquote(url.username or ""),
            password=unquote(url.password or ""),
            tls=url.scheme == "smtps",
            starttls=url.scheme == "smtp+tls",
            sends=True,
        )
    raise ImproperlyConfigured(
        f"{name}: console:, file:///directory or smtp+tls://user:password@host:port "
        "(smtps:// and smtp:// likewise) is needed."
    )


@dataclass(frozen=True)
class Oidc:
    """The OpenID Connect provider people may sign in with; without an issuer there is none."""

    issuer: str = ""
    name: str = ""
    client: str = ""
    secret: str = field(default="", repr=False)

    @property
    def apps(self) -> list[dict[str, Any]]:
        """As allauth wants it."""
        if not self.issuer:
            return []
        app = {"provider_id": "sso", "name": self.name, "client_id": self.client, "secret": self.secret}
        return [{**app, "settings": {"server_url": self.issuer}}]

    @property
    def origins(self) -> list[str]:
        url = urlsplit(self.issuer)
        return [f"{url.scheme}://{url.netloc}"] if self.issuer else []


def oidc(prefix: str) -> Oidc:
    """``console:`` (the default), ``file:///directory``, or ``smtp``, ``smtp+tls``, ``smtps`` ``://…``."""
    issuer = text(f"{prefix}_ISSUER", "").rstrip("/")
    if not issuer:
        return Oidc()
    url = urlsplit(issuer)
    # What is fetched from there is trusted because of TLS.
    if url.scheme != "https" and url.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ImproperlyConfigured(f"{prefix}_ISSUER={issuer}: an https:// address is needed.")
    client = text(f"{prefix}_CLIENT_ID", "")
    if not client:
        raise ImproperlyConfigured(f"{prefix}_CLIENT_ID is needed beside {prefix}_ISSUER.")
    file = path(f"{prefix}_CLIENT_SECRET_FILE", "/etc/slipway/oidc-secret")
    try:
        secret_text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{prefix}_CLIENT_SECRET_FILE: cannot read {file}: {error}.") from error
    return Oidc(issuer, text(f"{prefix}_NAME", url.hostname or "single sign-on"), client, secret_text)
