"""The entry point of the program: arguments in, exit code out, errors on one line.

A plain `status` runs without typer, because monitoring calls it often.
"""

# ruff: noqa: PLC0415, T201 - what is not needed is not loaded; help goes to stderr

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING

from shipwrightd import errors
from shipwrightd.text import warn

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130
PIPE_CLOSED = 141  # as a shell reports a program ended by SIGPIPE


def main() -> None:
    """Run the command line and exit."""
    open_closed_streams()
    code = guarded(sys.argv[1:])
    flush_streams()
    sys.exit(code)


def open_closed_streams() -> None:
    """Open /dev/null for each standard stream that was closed from the start.

    Otherwise the next file opened, such as the database, would get its number, and what is written to it.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, open(number, mode, closefd=False, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):  # as on stderr, characters that the encoding lacks become escapes
        sys.stdout.reconfigure(errors="backslashreplace")


def flush_streams() -> None:
    """Flush the output; if its reader is gone, drop it, or Python would print an error and change the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def guarded(arguments: Sequence[str]) -> int:
    """Run a command; every error that a user can cause ends as one line on stderr and an exit code."""
    try:
        code = run(arguments)
        sys.stdout.flush()
    except errors.ShipwrightdError as error:
        return complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as `head`, has what it wanted
        return PIPE_CLOSED
    except OSError as error:
        where = f"cannot use {error.filename}: " if error.filename else ""
        hint = " - check its owner, mode and medium" if error.filename else ""
        return complain(f"{where}{error.strerror or error}{hint}", errors.PathError.exit_code)
    except Exception as error:
        code = database_trouble(error)
        if not code:
            raise  # a bug of ours: we need its traceback
        return complain(f"the database: {error}", code)
    return code


def complain(message: str, code: int) -> int:
    """Print on one line what is wrong, and return the code."""
    warn(message)
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
    if arguments[:1] == ["status"]:
        from shipwrightd.cli import status

        options = status.plain_options(arguments[1:])
        if options is not None:
            return status.show(**options)
    return run_typer(arguments)


def run_typer(arguments: Sequence[str]) -> int:
    """Parse the arguments with typer, run the command, and return its exit code."""
    import typer

    from shipwrightd.cli.app import COMPLETE_VARIABLE, app, complete_for_shells

    if COMPLETE_VARIABLE in os.environ:
        complete_for_shells()
    wrong_usage: type[Exception] = typer.BadParameter.__mro__[1]  # typer brings its own click, or uses click's
    output = sys.stdout
    try:
        code = typer.main.get_command(app).main(list(arguments), "shipwrightd", standalone_mode=False)
    except wrong_usage as error:
        return complain_of_usage(error, arguments)
    except typer.Abort:
        return INTERRUPTED
    except SystemExit as ended:  # typer treats a closed pipe as a failure
        sys.stdout = output
        if isinstance(ended.__context__, BrokenPipeError):
            raise ended.__context__ from None
        raise
    return code if isinstance(code, int) else 0


def complain_of_usage(error: Exception, arguments: Sequence[str]) -> int:
    """Print what is wrong with the command line, and where its help is; return the exit code."""
    import re

    context = getattr(error, "ctx", None)
    path = context.command_path if context else " ".join(["shipwrightd", *arguments[:1]])
    if type(error).__name__ == "NoArgsIsHelpError" and context:
        with contextlib.suppress(OSError):
            print(context.get_help(), file=sys.stderr)
        return errors.USAGE
    message = getattr(error, "format_message", error.__str__)()
    if type(error).__name__ == "NoSuchOption":
        message = unknown(getattr(error, "option_name", ""), getattr(error, "possibilities", None))
    plain = re.sub("Value error, |, unable to parse string as an? [a-z]+", "", message).rstrip(".")
    return complain(f"{plain} - see `{path} --help`", errors.USAGE)


def unknown(option: str, possible: Sequence[str] | None) -> str:
    """Return that there is no such option, and which one may be meant; the dashes are not compared."""
    import difflib

    bare = {name.lstrip("-"): name for name in possible or ()}
    alike = [bare[name] for name in difflib.get_close_matches(option.lstrip("-"), bare)]
    return f"No such option: {option}" + (f", perhaps {' or '.join(alike)}" if alike else "")


if __name__ == "__main__":
    main()
