"""structlog set-up: events to stderr, JSON unless somebody looks on. Called by the command line only."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from typing import TYPE_CHECKING, TextIO, cast

import structlog

from shipwrightd.text import visible

if TYPE_CHECKING:
    from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger


class _Stderr:
    """stderr as long as somebody takes it: a daemon whose log reader went away goes on without."""

    def write(self, text: str) -> None:
        """Write, or drop the text."""
        with contextlib.suppress(OSError, ValueError):  # broken or full; closed
            sys.stderr.write(text)

    def flush(self) -> None:
        """Flush, if that can be done."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()


STDERR = cast("TextIO", _Stderr())  # all of it that structlog uses


class _Forward(logging.Handler):
    """Hands what libraries log the standard way to structlog, so that stderr speaks one language."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the message under the name of who said it."""
        log = structlog.get_logger()
        log.log(record.levelno, "library_reported", library=record.name, message=record.getMessage())


def set_up(level: str) -> None:
    """Log from `level` on: debug, info, warning or error. May be called again to change it."""
    terminal = sys.stderr.isatty()
    shown: list[Processor] = (
        [_make_visible, structlog.dev.ConsoleRenderer(colors=_colours(), exception_formatter=_traceback)]
        if terminal
        else [structlog.processors.format_exc_info, _in_order, structlog.processors.JSONRenderer()]
    )
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *shown,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=STDERR),
        cache_logger_on_first_use=False,  # a later call changes the level of loggers in use
    )
    logging.basicConfig(level=max(threshold, logging.WARNING), handlers=[_Forward()], force=True)


def _make_visible(_log: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape control characters in values; JSON does so by itself, and repr() for what is no text."""
    return {key: visible(value) if isinstance(value, str) else value for key, value in event.items()}


def _colours() -> bool:
    """Tell whether the terminal has colours, and its user wants them."""
    return os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR")


def _traceback(out: TextIO, exc_info: ExcInfo) -> None:
    """Write a traceback without what data in its message could do."""
    text = io.StringIO()
    structlog.dev.plain_traceback(text, exc_info)
    out.write("\n".join(map(visible, text.getvalue().split("\n"))))


def _in_order(_log: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put first what a reader of the lines looks for first."""
    return {key: event[key] for key in ("timestamp", "level", "event")} | dict(event)
