"""How `completion` is written on the command line, and what it tells the scripts of the commands there are."""

from __future__ import annotations

import sys
from enum import Enum, StrEnum
from typing import Annotated, Any

import typer

from shipwrightd.cli.completion_scripts import SCRIPTS, Command, Option, Takes
from shipwrightd.config.keys import LOG_LEVELS
from shipwrightd.dashboard.api import PATHS
from shipwrightd.export.tables import TABLES

FILES = {"FILE": "file", "DIR": "folder"}
WORDS = {"--table": tuple(TABLES), "--log-level": tuple(LOG_LEVELS), "PATH": tuple(PATHS)}
HELP = ("-h", "--help")


class Shell(StrEnum):
    """What a script can be had for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    context: typer.Context, shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish")]
) -> None:
    """Write a script that has the shell complete commands.

    It completes commands, options and their values, and starts no process for
    it. Write it again after an update.
    """
    sys.stdout.write(SCRIPTS[shell.value](described(context.find_root().command)))


def described(command: Any, path: str = "") -> Command:  # noqa: ANN401 - typer brings its own click, or uses click's
    """Return what a script has to know of a command and all below it."""
    params = [param for param in command.params if not getattr(param, "hidden", False)]
    arguments = [_takes(param) for param in params if param.param_type_name == "argument"]
    options = [_option(param) for param in params if param.param_type_name == "option"]
    below = getattr(command, "commands", {})
    return Command(
        path=path,
        about=str(command.help or "").partition("\n")[0].rstrip("."),
        options=(*options, Option(HELP, "show the help")),
        argument=arguments[0] if arguments else None,
        holds=tuple(described(held, f"{path} {name}".strip()) for name, held in below.items()),
    )


def _option(param: Any) -> Option:  # noqa: ANN401 - likewise
    names = (*param.opts, *param.secondary_opts)
    return Option(tuple(names), param.help or "", None if _is_flag(param) else _takes(param))


def _is_flag(param: Any) -> bool:  # noqa: ANN401 - likewise
    return bool(param.is_flag or getattr(param, "is_bool_flag", False) or param.secondary_opts)


def _takes(param: Any) -> Takes:  # noqa: ANN401 - likewise
    metavar = str(param.metavar or "")
    words = WORDS.get(param.opts[0]) or WORDS.get(metavar) or _choices(param)
    return Takes(metavar or "one of", words, FILES.get(metavar, "word"))


def _choices(param: Any) -> tuple[str, ...]:  # noqa: ANN401 - likewise
    """Return the values of an option that is declared by an enumeration."""
    declared = getattr(getattr(param, "type_descriptor", None), "annotation", None)
    if isinstance(declared, type) and issubclass(declared, Enum):
        return tuple(str(member.value) for member in declared)
    return tuple(map(str, getattr(getattr(param, "type", None), "choices", ())))
