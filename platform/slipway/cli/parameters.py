"""All that we ask of typer's inside; a typer without it works as well, only slower or less exact.

typer checks values with pydantic, whose import costs more than everything else at the start of a command.
Our parameters are texts, numbers and switches: for those a function does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer._click.exceptions import UsageError
from typer._coercion import RuntimeParam
from typer.core import TyperCommand

from slipway.cli.errors import Exit


class PlainParam(RuntimeParam):
    """Coercion by a function that raises ``ValueError``."""

    def _coerce_value(self, value: Any, param: Any, ctx: Any) -> Any:
        try:
            return _PLAIN[self.annotation](value)
        except ValueError as error:
            message = f"{value!r} is not a valid {getattr(self.annotation, '__name__', 'value')}."
            raise typer.BadParameter(message, ctx=ctx, param=param) from error


_PLAIN: dict[Any, Callable[[Any], Any]] = {str: str, int: int, float: float, bool: bool, list[str]: list}


def lighten(command: Any) -> None:
    """Give every plain parameter of ``command`` and its subcommands a coercion without pydantic."""
    for param in command.params:
        _lighten(param)
    make_help_option = command.get_help_option

    def help_option(ctx: Any) -> Any:
        option = make_help_option(ctx)
        _lighten(option)
        return option

    command.get_help_option = help_option
    for each in getattr(command, "commands", {}).values():
        lighten(each)


def _lighten(param: Any) -> None:
    descriptor = getattr(param, "type_descriptor", None)
    if descriptor is not None and descriptor.annotation in _PLAIN and not descriptor.is_ranged:
        param._runtime_param = PlainParam(descriptor.parameter_info, descriptor.annotation)


class RunCommand(TyperCommand):
    """A command whose exit code is a container's: its own usage errors must be no code a program gives."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            error.exit_code = Exit.RUN_FAILED
            raise
