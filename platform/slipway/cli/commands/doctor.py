"""`doctor`: whether this command can work here, line by line, and what to do where it cannot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import typer

from slipway.cli import API, VERSION, output
from slipway.cli.errors import CliError, Exit
from slipway.cli.session import JsonOption, Session, session_of

OK, WARNING, BAD = "ok", "warning", "bad"
SKEW_SECONDS = 30


@dataclass(frozen=True)
class Line:
    name: str
    status: str
    says: str
    fix: str = ""
    exit_code: int = field(default=Exit.ERROR)


def doctor(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """Look whether the server is reachable and ready, the token valid, versions and clocks agree."""
    session = session_of(ctx).heed(json=as_json)
    lines = []
    for line in examine(session):
        lines.append(line)
        if not session.json:
            _print(line)
    if session.json:
        output.print_json([asdict(line) for line in lines])
    if bad := [line for line in lines if line.status == BAD]:
        raise typer.Exit(bad[0].exit_code)


def _print(line: Line) -> None:
    mark = {OK: "✓", WARNING: "!", BAD: "✗"}[line.status]
    print(f"{mark} {output.clean(line.name):<11} {output.clean(line.says)}", flush=True)
    if line.fix:
        print(f"  {'':<11} {output.clean(line.fix)}", flush=True)


def examine(session: Session) -> Iterator[Line]:
    """Lines in the order in which one rests on the other; ends where nothing more can be told."""
    try:
        yield _context(session)
        alive, headers = _reachable(session)
        yield alive
        yield _ready(session)
        yield _clock(headers)
        yield _token(session)
        yield _version(session)
        yield from _nodes(session)
        yield _project(session)
    except CliError as error:
        name = {Exit.UNREACHABLE: "server", Exit.NOT_ALLOWED: "token"}.get(Exit(error.exit_code), "setup")
        yield Line(name, BAD, f"{error.message} ({error.code})", error.hint, error.exit_code)


def _context(session: Session) -> Line:
    from slipway.cli import config

    place, path = session.place, session.config_path
    if path.exists() and not config.is_private(path):
        fix = f"chmod 600 {path}"
        return Line("context", WARNING, f"{path} holds tokens, and others on this machine can read it.", fix)
    named = place in session.config.contexts.values() and session.context_name
    return Line("context", OK, f"{named or 'from SLIPWAY_URL'}: {place.url}")


def _reachable(session: Session) -> tuple[Line, Any]:
    before = time.monotonic()
    status, headers, _ = session.client.look("/healthz")
    spent = 1000 * (time.monotonic() - before)
    if status != 200:
        fix = "Check the address with `slipway contexts`."
        return Line("server", BAD, f"/healthz answered {status}: is this a Slipway?", fix), headers
    return Line("server", OK, f"answers after {spent:.0f} ms"), headers


def _ready(session: Session) -> Line:
    import json

    status, _, body = session.client.look("/readyz")
    if status == 200:
        return Line("ready", OK, "database and Redis answer the server")
    try:
        says = " ".join(f"{name}: {why}" for name, why in json.loads(body)["missing"].items())
    except (ValueError, KeyError, AttributeError, TypeError):
        says = f"/readyz answered {status}"
    return Line("ready", BAD, says, "The server's operator must mend that.", Exit.UNREACHABLE)


def _clock(headers: Any) -> Line:
    from email.utils import parsedate_to_datetime

    try:
        skew = time.time() - parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return Line("clock", WARNING, "The server does not tell its time.")
    if abs(skew) > SKEW_SECONDS:
        way = "ahead of" if skew > 0 else "behind"
        says = f"This machine's clock is {abs(skew):.0f} s {way} the server's; ages and expiries look wrong."
        return Line("clock", WARNING, says, "Synchronise both with NTP.")
    return Line("clock", OK, "agrees with the server's")


def _token(session: Session) -> Line:
    from slipway.cli.commands.signing_in import who

    me = session.client.get("/me")
    token = me.get("token") or {}
    scopes = " ".join(token.get("scopes", [])) or "none"
    bound = f", for {token['project']} only" if token.get("project") else ""
    ends = f", until {token['expires_at'][:16].replace('T', ' ')} UTC" if token.get("expires_at") else ""
    return Line("token", OK, f"valid: {who(me)}, scopes {scopes}{bound}{ends}")


def _version(session: Session) -> Line:
    theirs = str(session.client.get("/schema")["info"]["version"])
    ours = API.rpartition("v")[2]
    if theirs.split(".")[0] != ours:
        says = f"The server speaks version {theirs} of the API, this command {ours}."
        return Line("version", BAD, says, "Use the command of the server's release.")
    return Line("version", OK, f"API {theirs}, this command {VERSION}")


def _nodes(session: Session) -> Iterator[Line]:
    """Only administrators see any."""
    for node in session.client.items("/nodes"):
        facts = node["facts"]
        if not node["live"]:
            yield Line("node", WARNING, f"{node['name']} has not been heard of lately.", "Look at its agent.")
            continue
        told = [f"{name} {facts[name]}" for name in ("version", "runtime", "kernel") if facts.get(name)]
        yield Line("node", OK, ", ".join([f"{node['name']} is there", *told]))


def _project(session: Session) -> Line:
    try:
        path = session.project_path
        session.client.get(session.below())
    except CliError as error:
        return Line("project", WARNING, error.message, error.hint)
    return Line("project", OK, f"{path} where none is named")


def add_to(app: typer.Typer) -> None:
    app.command()(doctor)
