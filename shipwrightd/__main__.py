"""Where the program begins and ends: arguments in, exit code out, errors on one line.

`status` without anything unusual is run right here. typer takes three times
as long to load as the rest of `status` takes to run, and monitoring asks often.
"""

# ruff: noqa: PLC0415, T201 - what is not needed is not loaded; stderr is where complaints go

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from shipwrightd import errors
from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE = 2
INTERRUPTED = 130
PIPE_CLOSED = 141  # as a shell reports a program ended by SIGPIPE


def main() -> None:
    """Run the command line and exit."""
    sys.exit(guarded(sys.argv[1:]))


def guarded(arguments: Sequence[str]) -> int:
    """Run a command; whatever a user can cause ends as one line on stderr and an exit code."""
    try:
        code = run(arguments)
        sys.stdout.flush()
    except errors.ShipwrightdError as error:
        return complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, `head` for one, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return complain(f"{where}{error.strerror or error}", errors.PathError.exit_code)
    except Exception as error:
        code = database_trouble(error)
        if not code:
            raise  # a bug of ours: its traceback is what we need
        return complain(f"the database: {error}", code)
    return code


def complain(message: str, code: int) -> int:
    """Say on one line what is wrong, and return the code."""
    with contextlib.suppress(BrokenPipeError):
        print(f"shipwrightd: {visible(message)}", file=sys.stderr)
    return code


def database_trouble(error: Exception) -> int:
    """Return the exit code for an error of SQLite that the machine or the user caused, else 0."""
    apsw = sys.modules.get("apsw")
    if apsw is None:
        return 0
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return errors.LockedError.exit_code
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return errors.DatabaseError.exit_code
    unusable = (apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.PermissionsError)
    return errors.PathError.exit_code if isinstance(error, unusable) else 0


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name and return its exit code."""
    quick = status_arguments(arguments)
    if quick is not None:
        from shipwrightd import commands

        flags = {"as_json": "--json" in quick, "check": "--check" in quick}
        return commands.status(quick.get("--home"), quick.get("--db"), **flags)
    return run_typer(arguments)


def status_arguments(arguments: Sequence[str]) -> dict[str, str] | None:
    """Return the options of a plain `status`; None for all else, which typer judges and explains."""
    if not arguments or arguments[0] != "status":
        return None
    found: dict[str, str] = {}
    rest = iter(arguments[1:])
    for argument in rest:
        name, equals, value = argument.partition("=")
        if argument in {"--json", "--check"}:
            found[argument] = ""
        elif name in {"--home", "--db"}:
            found[name] = value if equals else next(rest, "")
            if not found[name] or found[name].startswith("-"):
                return None
        else:
            return None
    return found


def run_typer(arguments: Sequence[str]) -> int:
    """Let typer read the arguments and run the command."""
    import typer

    from shipwrightd.cli import app

    wrong_usage: type[Exception] = typer.BadParameter.__mro__[1]  # typer brings its own click, or uses click's
    try:
        code = typer.main.get_command(app).main(list(arguments), "shipwrightd", standalone_mode=False)
    except wrong_usage as error:
        return complain_of_usage(error)
    except typer.Abort:
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def complain_of_usage(error: Exception) -> int:
    """Say what is wrong with the command line, and where to read how it is right."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "shipwrightd"
    if type(error).__name__ == "NoArgsIsHelpError" and context:
        print(context.get_help(), file=sys.stderr)
        return USAGE
    message = getattr(error, "format_message", error.__str__)()
    return complain(f"{message.rstrip('.')} - see `{path} --help`", USAGE)


if __name__ == "__main__":
    main()
