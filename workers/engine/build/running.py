"""RUN: its command line, heredocs, mounts and environment. Pure."""

from __future__ import annotations

import posixpath
from dataclasses import replace

from workers.engine.build.defaults import DEFAULT_SHELL
from workers.engine.build.paths import absolute
from workers.engine.build.scopes import proxy_environment
from workers.engine.build.state import StageState
from workers.engine.build.steps import (
    BindMount,
    CacheMount,
    ContextRoot,
    InlineFile,
    Mount,
    Root,
    RunStep,
    ScratchRoot,
    SecretMount,
    SshMount,
    TmpfsMount,
)
from workers.engine.dockerfile import instructions as typed
from workers.engine.dockerfile.errors import Mistake
from workers.engine.dockerfile.lexer import parse_heredoc
from workers.engine.dockerfile.mounts import MountOptions, parse_mount

_SCRIPTS = "/dev/pipes"
_SECRETS = "/run/secrets"
_LONGEST_SUMMARY = 100


def run(state: StageState, instruction: typed.Run) -> RunStep:
    """Raise ``Mistake``."""
    words, script, summary = _command(instruction)
    if not any(words):
        raise Mistake("RUN needs a command", instruction.keyword)
    shell = state.defaults.shell or DEFAULT_SHELL
    argv = (*shell, " ".join(words)) if instruction.shell and script is None else words
    shown = replace(state.lexicon, keep_quotes=True, keep_unknown=True)
    name = state.numbered(state.displayed(instruction.source + summary, shown))
    created_by = f"RUN {_history(state, argv)} # buildkit"
    state.record(created_by, empty_layer=False)
    state.budget.count(8 * len(state.env))
    request = state.request
    return RunStep(
        *state.common(instruction, name, created_by, empty_layer=False),
        argv=argv,
        env=tuple(state.lines.values()),
        proxy_env=proxy_environment(request.build_args),
        arguments=tuple(state.arguments),
        working_dir=state.defaults.working_dir or "/",
        user=state.defaults.user,
        mounts=_mounts(state, instruction),
        script=script,
        network=request.network if instruction.network in (None, "default") else instruction.network,
        security=instruction.security or "sandbox",
        devices=instruction.devices,
        extra_hosts=request.extra_hosts,
        shm_bytes=request.shm_bytes,
        ulimits=request.ulimits,
        hostname=request.hostname,
    )


def _command(instruction: typed.Run) -> tuple[tuple[str, ...], InlineFile | None, str]:
    """The words, the script a heredoc is, and what to display of it."""
    words, heredocs = instruction.words, instruction.heredocs
    if not heredocs:
        return words, None, ""
    first = heredocs[0]
    if len(words) == 1 and parse_heredoc(words[0]) is not None:
        summary = f" ({_summary(first.content)})"
        data = first.chomped
        if data.startswith("#!"):
            name = posixpath.basename(first.name) or "script"
            return (f"{_SCRIPTS}/{name}",), InlineFile(name, data, 0o755), summary
        return (data,), None, summary
    # The shell reads these itself, line ends, tabs and all.
    parts = [" ".join(words), *(heredoc.content + heredoc.name for heredoc in heredocs)]
    return ("\n".join(parts),), None, ""


def _summary(text: str) -> str:
    lines = text.strip().splitlines() or [""]
    return lines[0][:_LONGEST_SUMMARY] + ("..." if len(lines) > 1 else "")


def _history(state: StageState, argv: tuple[str, ...]) -> str:
    declared = [f"{name}={state.env.get(name, value)}" for name, value in state.arguments.items()]
    return " ".join([f"|{len(declared)}", *declared, *argv] if declared else argv)


# --------------------------------------------------------------------------- mounts


def _mounts(state: StageState, instruction: typed.Run) -> tuple[Mount, ...]:
    mounts = []
    for number, text in enumerate(instruction.mounts):
        options = parse_mount(text, lambda value: state.expand(value, instruction))
        try:
            mounts.append(_mount(state, options, number))
        except Mistake as mistake:
            raise Mistake(mistake.message, mistake.near or text, suggestion=mistake.suggestion) from None
    return tuple(mounts)


def _mount(state: StageState, options: MountOptions, number: int) -> Mount:
    owner = {"uid": options.uid or 0, "gid": options.gid or 0}
    if options.type == "secret":
        return _secret(state, options, owner)
    if options.type == "ssh":
        return SshMount(
            options.id or "default",
            absolute(_directory(state), options.target or f"/run/buildkit/ssh_agent.{number}"),
            options.required,
            0o600 if options.mode is None else options.mode,
            **owner,
        )
    target = absolute(_directory(state), options.target)
    if target == "/":
        raise Mistake(f"nothing can be mounted at {options.target[:40]!r}, the root itself", options.target)
    if options.type == "tmpfs":
        return TmpfsMount(target, options.size)
    source = absolute("/", options.source)
    if options.type == "bind":
        return BindMount(target, _root(state, options, ContextRoot()), source, options.read_only)
    return CacheMount(
        target,
        options.id or posixpath.normpath(options.target),
        options.sharing,
        _root(state, options, ScratchRoot()),
        source,
        options.read_only,
        0o755 if options.mode is None else options.mode,
        **owner,
    )


def _secret(state: StageState, options: MountOptions, owner: dict[str, int]) -> SecretMount:
    identity = options.id or options.source or posixpath.basename(options.target)
    target: str | None = absolute(_directory(state), options.target) if options.target else None
    if not options.env and target is None:
        target = f"{_SECRETS}/{posixpath.basename(identity)}"
    mode = 0o400 if options.mode is None else options.mode
    return SecretMount(identity, target, options.env or None, options.required, mode, **owner)


def _root(state: StageState, options: MountOptions, default: Root) -> Root:
    if not options.source_of:
        return default
    return state.stages.root_of(options.source_of, state.index)


def _directory(state: StageState) -> str:
    return state.defaults.working_dir or "/"
