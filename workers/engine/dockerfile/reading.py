"""Nodes -> typed instructions. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from workers.engine.dockerfile import instructions as typed
from workers.engine.dockerfile.durations import parse_duration
from workers.engine.dockerfile.errors import Mistake, nearest
from workers.engine.dockerfile.expansion import SPACES
from workers.engine.dockerfile.flags import SEVERAL, SWITCH, TEXT, Flags, read_flags
from workers.engine.dockerfile.lexer import Heredoc, join_marks, parse_heredoc
from workers.engine.dockerfile.locations import Location
from workers.engine.dockerfile.mounts import check_mount
from workers.engine.dockerfile.parser import Node, parse_line, parse_tree, unknown
from workers.errors import InvalidDockerfile

_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*")
_MILLISECOND = 1_000_000
_COPY_FLAGS = {"chown": TEXT, "chmod": TEXT, "link": SWITCH, "exclude": SEVERAL}
FLAGS: dict[str, dict[str, str]] = {
    "FROM": {"platform": TEXT},
    "RUN": {"mount": SEVERAL, "network": TEXT, "security": TEXT, "device": SEVERAL},
    "COPY": {**_COPY_FLAGS, "from": TEXT, "parents": SWITCH},
    "ADD": {**_COPY_FLAGS, "checksum": TEXT, "keep-git-dir": SWITCH, "unpack": SWITCH},
    "HEALTHCHECK": dict.fromkeys(("interval", "timeout", "start-period", "start-interval", "retries"), TEXT),
}


def parse(source: str | bytes, filename: str = "Dockerfile") -> typed.Dockerfile:
    """Read a Dockerfile. Raise ``InvalidDockerfile``, whatever the bytes; execute nothing."""
    tree = parse_tree(decode(source, filename), filename)
    arguments: list[typed.Arg] = []
    stages: list[tuple[typed.From, list[typed.Instruction]]] = []
    for node in tree.nodes:
        instruction = read(node)
        if isinstance(instruction, typed.From):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, typed.Arg):
            arguments.append(instruction)
        else:
            message = f"{node.name} stands above the first FROM, where only ARG may stand"
            raise Mistake(message, node.keyword).at(node.location)
    if not stages:
        raise Mistake("there is no FROM").at(tree.nodes[-1].location)
    return typed.Dockerfile(
        filename,
        tuple(arguments),
        tuple(typed.Stage(index, start, tuple(rest)) for index, (start, rest) in enumerate(stages)),
        tree.escape,
        tree.directives,
        tuple(node.location for node in tree.nodes if node.empty_continuation),
    )


def decode(source: str | bytes, filename: str) -> str:
    """Text, or ``InvalidDockerfile`` if the bytes are not UTF-8."""
    data = source.encode(errors="surrogatepass") if isinstance(source, str) else source
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        message = f"{filename}:{line}: the file is not UTF-8 text"
        raise InvalidDockerfile(message, file=filename, line=line) from None


def parse_trigger(text: str, escape: str, location: Location) -> typed.Instruction:
    """An ONBUILD trigger of an image, placed at the FROM that brought it. Raise ``InvalidDockerfile``."""
    instruction = read(parse_line(text, escape, location))
    if isinstance(instruction, typed.From | typed.OnBuild | typed.Maintainer):
        raise Mistake(f"the image's ONBUILD trigger {text[:80]!r} is not allowed").at(location)
    return instruction


def read(node: Node) -> typed.Instruction:
    """Raise ``InvalidDockerfile``."""
    try:
        reader = _READERS.get(node.name)
        if reader is None:
            raise unknown(node.keyword)
        return reader(node, read_flags(node, FLAGS.get(node.name, {})))
    except Mistake as mistake:
        raise mistake.at(node.location) from None


# --------------------------------------------------------------------------- one by one


def _from(node: Node, flags: Flags) -> typed.Instruction:
    words = node.arguments
    if len(words) == 3 and words[1].lower() == "as":
        if not _STAGE_NAME.fullmatch(words[2].lower()):
            raise Mistake(
                f"{words[2][:60]!r} is no name for a stage: it begins with a letter and holds letters, "
                "digits, '_', '-' and '.'",
                words[2],
            )
        alias, keyword = words[2], words[1]
    elif len(words) == 1:
        alias = keyword = ""
    else:
        near = words[1] if len(words) > 1 else ""
        raise Mistake("FROM takes an image, and a name for the stage after AS: FROM image AS name", near)
    return typed.From(*_base(node), words[0], alias, keyword, flags.texts.get("platform", ""))


def _base(node: Node) -> tuple[str, Location, str, tuple[str, ...]]:
    return node.keyword, node.location, node.line.strip(SPACES), node.comments


def _pairs(kind: type[typed.Pairs]) -> Callable[[Node, Flags], typed.Instruction]:
    def reader(node: Node, _flags: Flags) -> typed.Instruction:
        _some(node)
        triples = zip(*[iter(node.arguments)] * 3, strict=True)
        pairs = tuple(typed.Pair(name, value, spaced=not mark) for name, value, mark in triples)
        if any(not pair.name for pair in pairs):
            raise Mistake(f"{node.name} has a value without a name", "=")
        return kind(*_base(node), pairs)

    return reader


def _arg(node: Node, _flags: Flags) -> typed.Instruction:
    _some(node)
    pairs = []
    for word in node.arguments:
        name, equals, value = word.partition("=")
        if not name:
            raise Mistake("ARG has a value without a name", word)
        pairs.append(typed.Pair(name, value if equals else None))
    return typed.Arg(*_base(node), tuple(pairs))


def _run(node: Node, flags: Flags) -> typed.Instruction:
    mounts = flags.several.get("mount", ())
    for mount in mounts:
        check_mount(mount)
    for name, known in (("network", ("default", "none", "host")), ("security", ("sandbox", "insecure"))):
        value = flags.texts.get(name)
        if value is not None and value not in known:
            raise Mistake(
                f"--{name} is one of {', '.join(known)}, not {value[:40]!r}",
                value,
                suggestion=nearest(value, known),
            )
    return typed.Run(
        *_base(node),
        node.arguments,
        not node.json,
        node.heredocs,
        mounts,
        flags.texts.get("network"),
        flags.texts.get("security"),
        flags.several.get("device", ()),
    )


def _command(kind: type[typed.Command]) -> Callable[[Node, Flags], typed.Instruction]:
    def reader(node: Node, _flags: Flags) -> typed.Instruction:
        return kind(*_base(node), node.arguments, not node.json)

    return reader


def _copy(node: Node, flags: Flags) -> typed.Instruction:
    words = node.arguments if node.json else join_marks(node.arguments)
    if len(words) < 2:
        raise Mistake(
            f"{node.name} needs at least one source and a destination, and "
            f"{'only one path is' if words else 'nothing is'} given"
        )
    heredocs, paths = [], []
    bodies = {heredoc.name: heredoc for heredoc in node.heredocs}
    for word in words[:-1]:
        found = bodies.get(begun.name) if (begun := _heredoc(word)) else None
        if found is not None:
            heredocs.append(found)
        else:
            paths.append(word)
    if not node.json and _heredoc(words[-1]):
        raise Mistake(f"the destination of {node.name} cannot be a heredoc", words[-1])
    texts, switches = flags.texts, flags.switches
    if "$" in texts.get("from", ""):
        message = "variables are not expanded in --from; name a stage: FROM …$VAR… AS name"
        raise Mistake(message, texts["from"])
    return typed.Copy(
        *_base(node),
        tuple(paths),
        tuple(heredocs),
        words[-1],
        source_of=texts.get("from", ""),
        chown=texts.get("chown", ""),
        chmod=texts.get("chmod", ""),
        checksum=texts.get("checksum", ""),
        exclude=flags.several.get("exclude", ()),
        link=switches.get("link", False),
        parents=switches.get("parents", False),
        keep_git_dir=switches.get("keep-git-dir"),
        unpack=switches.get("unpack"),
    )


def _heredoc(word: str) -> Heredoc | None:
    try:
        return parse_heredoc(word)
    except Mistake:
        return None


def _text(kind: type[typed.Text]) -> Callable[[Node, Flags], typed.Instruction]:
    def reader(node: Node, _flags: Flags) -> typed.Instruction:
        _some(node)
        return kind(*_base(node), node.arguments[0])

    return reader


def _words(kind: type[typed.Words]) -> Callable[[Node, Flags], typed.Instruction]:
    def reader(node: Node, _flags: Flags) -> typed.Instruction:
        _some(node)
        words = tuple(word.strip(SPACES) for word in node.arguments)
        if not all(words):
            raise Mistake(f"{node.name} has an empty argument", '""')
        return kind(*_base(node), tuple(sorted(words)) if kind is typed.Expose else words)

    return reader


def _shell(node: Node, _flags: Flags) -> typed.Instruction:
    _some(node)
    if not node.json:
        raise Mistake('SHELL needs its arguments in JSON form: SHELL ["/bin/bash", "-c"]', node.arguments[0])
    return typed.Shell(*_base(node), node.arguments)


def _health(node: Node, flags: Flags) -> typed.Instruction:
    _some(node)
    kind, command = node.arguments[0].upper(), node.arguments[1:]
    if kind == "NONE":
        if command or node.flags:
            raise Mistake("HEALTHCHECK NONE takes nothing more", node.arguments[0])
        return typed.Health(*_base(node), ("NONE",))
    if kind != "CMD":
        near = node.arguments[0]
        raise Mistake(
            f"HEALTHCHECK takes CMD or NONE, not {near[:40]!r}",
            near,
            suggestion=nearest(near, ("CMD", "NONE")),
        )
    if not command:
        raise Mistake("HEALTHCHECK CMD needs a command", node.arguments[0])
    times = {
        name.replace("-", "_"): _time(name, value) for name, value in flags.texts.items() if name != "retries"
    }
    test = ("CMD" if node.json else "CMD-SHELL", *command)
    return typed.Health(*_base(node), test, times, _retries(flags.texts.get("retries", "0")))


def _time(name: str, value: str) -> int:
    duration = parse_duration(value)
    if 0 < duration < _MILLISECOND:
        raise Mistake(f"--{name} is at least 1ms", value)
    return duration


def _retries(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise Mistake(f"--retries is a number of at least 0, not {value[:40]!r}", value)
    return int(value)


def _on_build(node: Node, _flags: Flags) -> typed.Instruction:
    if node.child is None:
        raise Mistake("ONBUILD needs an instruction after it")
    if node.child.name == "ONBUILD":
        raise Mistake("ONBUILD cannot stand after ONBUILD", node.child.keyword)
    if node.child.name in ("FROM", "MAINTAINER"):
        raise Mistake(f"{node.child.name} cannot stand after ONBUILD", node.child.keyword)
    read(node.child)
    trigger = re.sub(r"(?i)^\s*ONBUILD\s*", "", node.line, count=1)
    for heredoc in node.heredocs:
        trigger += "\n" + heredoc.content + heredoc.name
    return typed.OnBuild(*_base(node), trigger)


def _some(node: Node) -> None:
    if not any(node.arguments):
        raise Mistake(f"{node.name} needs an argument", node.keyword)


_READERS: dict[str, Callable[[Node, Flags], typed.Instruction]] = {
    "ADD": _copy,
    "ARG": _arg,
    "CMD": _command(typed.Cmd),
    "COPY": _copy,
    "ENTRYPOINT": _command(typed.Entrypoint),
    "ENV": _pairs(typed.Env),
    "EXPOSE": _words(typed.Expose),
    "FROM": _from,
    "HEALTHCHECK": _health,
    "LABEL": _pairs(typed.Label),
    "MAINTAINER": _text(typed.Maintainer),
    "ONBUILD": _on_build,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _text(typed.StopSignal),
    "USER": _text(typed.User),
    "VOLUME": _words(typed.Volume),
    "WORKDIR": _text(typed.Workdir),
}
