"""Instructions that change the config only, one function each; RUN and COPY have modules of their own. Pure.

What stands in the history is what BuildKit writes, to the letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from workers.engine.build.copying import copy
from workers.engine.build.defaults import DEFAULT_SHELL, Healthcheck
from workers.engine.build.paths import absolute
from workers.engine.build.running import run
from workers.engine.build.state import StageState, with_variables
from workers.engine.build.steps import Step, WorkdirStep
from workers.engine.dockerfile import instructions as typed
from workers.engine.dockerfile.dump import quote
from workers.engine.dockerfile.durations import format_duration
from workers.engine.dockerfile.errors import Mistake
from workers.engine.dockerfile.ports import parse_ports

_SIGNAL = re.compile(
    r"(?:SIG)?(?:ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|SEGV|STKFLT|STOP"
    r"|SYS|TERM|TRAP|TSTP|TTIN|TTOU|UNUSED|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ"
    r"|RTMIN(?:\+(?:1[0-5]|[1-9]))?|RTMAX(?:-(?:1[0-4]|[1-9]))?)|[1-9][0-9]?",
    re.IGNORECASE,
)
_PORT_WEIGHT = 64
"""Characters of the budget; a range of ports is short to write and long to hold."""
_NOT_IN_ENVIRONMENT = frozenset({"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"})


def evaluate(state: StageState, instruction: typed.Instruction) -> Step:
    """The step it makes; ``state`` goes on behind it. Raise ``InvalidDockerfile``."""
    try:
        return _EVALUATE[type(instruction)](state, instruction)
    except Mistake as mistake:
        raise mistake.at(instruction.location) from None


def _env(state: StageState, instruction: typed.Env) -> Step:
    pairs = _expanded_pairs(state, instruction)
    lines = {name: state.set(name, value) for name, value in pairs}
    state.budget.count(len(state.defaults.env))
    state.change(env=with_variables(state.defaults.env, lines))
    return state.step(instruction, " ".join(["ENV", *(f"{name}={value}" for name, value in pairs)]))


def _label(state: StageState, instruction: typed.Label) -> Step:
    pairs = _expanded_pairs(state, instruction)
    state.budget.count(len(state.defaults.labels))
    state.change(labels=state.defaults.labels | dict(pairs))
    return state.step(instruction, " ".join(["LABEL", *(f"{name}={value}" for name, value in pairs)]))


def _expanded_pairs(state: StageState, instruction: typed.Pairs) -> list[tuple[str, str]]:
    """All of one instruction see the variables as they were before it."""
    return [
        (state.expand(pair.name, instruction), state.expand(pair.value or "", instruction))
        for pair in instruction.pairs
    ]


def _arg(state: StageState, instruction: typed.Arg) -> Step:
    shown = []
    for pair in instruction.pairs:
        value = state.request.build_args.get(pair.name)
        if value is None and pair.value is not None:
            value = state.expand(pair.value, instruction)
        elif value is None:
            value = state.scope.values.get(pair.name)
        if value is not None and pair.name not in _NOT_IN_ENVIRONMENT:
            state.set(pair.name, value)
        state.arguments[pair.name] = value or ""
        shown.append(pair.name if value is None else f"{pair.name}={value}")
    return state.step(instruction, "ARG " + " ".join(shown))


def _cmd(state: StageState, instruction: typed.Cmd) -> Step:
    words = _with_shell(state, instruction)
    state.cmd_set = True
    state.change(cmd=words)
    return state.step(instruction, f"CMD [{' '.join(map(quote, words))}]")


def _entrypoint(state: StageState, instruction: typed.Entrypoint) -> Step:
    words = _with_shell(state, instruction)
    # The base's CMD was meant for the base's entrypoint.
    state.change(entrypoint=words, cmd=state.defaults.cmd if state.cmd_set else None)
    return state.step(instruction, f"ENTRYPOINT [{' '.join(map(quote, words))}]")


def _with_shell(state: StageState, instruction: typed.Command) -> tuple[str, ...]:
    if not instruction.shell:
        return instruction.words
    if not state.defaults.shell:
        state.report.add(
            "JSONArgsRecommended",
            instruction.location,
            instruction.keyword,
            comments=instruction.comments,
        )
    return (*(state.defaults.shell or DEFAULT_SHELL), " ".join(instruction.words))


def _expose(state: StageState, instruction: typed.Expose) -> Step:
    ports: list[str] = []
    for word in instruction.words:
        for each in state.expanded(word, instruction).words:
            found = parse_ports(each)
            if found.odd_casing:
                state.report.add(
                    "ExposeProtoCasing", instruction.location, each, comments=instruction.comments
                )
            if found.mapping:
                state.report.add(
                    "ExposeInvalidFormat", instruction.location, each, comments=instruction.comments
                )
            ports += found.ports
            state.budget.count(_PORT_WEIGHT * len(found.ports))
    exposed = {*state.defaults.exposed_ports, *ports}
    state.budget.count(_PORT_WEIGHT * len(exposed))
    state.change(exposed_ports=tuple(sorted(exposed)))
    return state.step(instruction, f"EXPOSE [{' '.join(ports)}]")


def _health(state: StageState, instruction: typed.Health) -> Step:
    health = Healthcheck(instruction.test, retries=instruction.retries, **instruction.times)
    state.change(healthcheck=health)
    times = " ".join(
        f"{name}:{format_duration(nanoseconds)}"
        for name, nanoseconds in (
            ("Interval", health.interval),
            ("Timeout", health.timeout),
            ("StartPeriod", health.start_period),
            ("StartInterval", health.start_interval),
        )
    )
    test = " ".join(health.test)
    return state.step(instruction, f"HEALTHCHECK {{Test:[{test}] {times} Retries:{health.retries}}}")


def _maintainer(state: StageState, instruction: typed.Maintainer) -> Step:
    state.author = instruction.text
    return state.step(instruction, f"MAINTAINER {instruction.text}")


def _on_build(state: StageState, instruction: typed.OnBuild) -> Step:
    state.change(on_build=(*state.defaults.on_build, instruction.text))
    # BuildKit writes no history entry for it.
    return Step(*state.common(instruction, instruction.source, "", empty_layer=True))


def _shell(state: StageState, instruction: typed.Shell) -> Step:
    state.change(shell=instruction.words)
    return state.step(instruction, f"SHELL [{' '.join(instruction.words)}]")


def _stop_signal(state: StageState, instruction: typed.StopSignal) -> Step:
    signal = state.expand(instruction.text, instruction)
    if not _SIGNAL.fullmatch(signal):
        raise Mistake(f"{signal[:40]!r} is no signal; SIGTERM or 15 was expected", instruction.text)
    state.change(stop_signal=signal)
    return state.step(instruction, f"STOPSIGNAL {signal}")


def _user(state: StageState, instruction: typed.User) -> Step:
    user = state.expand(instruction.text, instruction)
    state.change(user=user)
    return state.step(instruction, f"USER {user}")


def _volume(state: StageState, instruction: typed.Volume) -> Step:
    paths = [state.expand(word, instruction) for word in instruction.words]
    if not all(paths):
        raise Mistake("a volume's path is empty when its variables are put in", instruction.words[0])
    state.change(volumes=tuple(sorted({*state.defaults.volumes, *paths})))
    return state.step(instruction, f"VOLUME [{' '.join(paths)}]")


def _workdir(state: StageState, instruction: typed.Workdir) -> Step:
    wanted = state.expand(instruction.text, instruction)
    if not state.workdir_set and not wanted.startswith("/"):
        state.report.add("WorkdirRelativePath", instruction.location, wanted, comments=instruction.comments)
    state.workdir_set = True
    path = absolute(state.defaults.working_dir, wanted)
    state.change(working_dir=path)
    name = state.numbered(state.displayed(instruction.source, state.lexicon))
    created_by = f"WORKDIR {path}"
    state.record(created_by, empty_layer=path == "/")
    if path == "/":
        return Step(*state.common(instruction, name, created_by, empty_layer=True))
    common = state.common(instruction, name, created_by, empty_layer=False)
    return WorkdirStep(*common, path=path, user=state.defaults.user)


_EVALUATE: dict[type[typed.Instruction], Callable[[StageState, Any], Step]] = {
    typed.Arg: _arg,
    typed.Cmd: _cmd,
    typed.Copy: copy,
    typed.Entrypoint: _entrypoint,
    typed.Env: _env,
    typed.Expose: _expose,
    typed.Health: _health,
    typed.Label: _label,
    typed.Maintainer: _maintainer,
    typed.OnBuild: _on_build,
    typed.Run: run,
    typed.Shell: _shell,
    typed.StopSignal: _stop_signal,
    typed.User: _user,
    typed.Volume: _volume,
    typed.Workdir: _workdir,
}
NUMBERED = (typed.Copy, typed.Run, typed.Workdir)
"""Instructions that are displayed with a number."""
