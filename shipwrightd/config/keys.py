"""Every setting: its name, flag, allowed values, and how a value is parsed. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOG_LEVELS = ("debug", "info", "warning", "error")
SECONDS = (0.1, 60.0)  # range of rescan_s and settle_s
HOOK_AFTER_S = (0.0, 86_400.0)
SWITCH = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)
ADDRESS = re.compile(r"(?:\[(?=[^]]*:)[:.-]*[0-9A-Za-z][0-9A-Za-z:.-]*\]|[.-]*[0-9A-Za-z][0-9A-Za-z.-]*):([0-9]+)")
LAST_PORT = 65_535
SHOWN = 500  # characters of a refused value


class Text(str):
    """A value written as text, in a variable or after a flag; a plain str is a string in a file."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Key:
    """One setting."""

    name: str
    flag: str  # of `run`
    allowed: str
    parse: Callable[[object], object]  # raises ValueError or OverflowError for a value that is not allowed
    secret: bool = False  # its value appears in no message

    @property
    def variable(self) -> str:
        """Return the environment variable that sets it."""
        return f"SHIPWRIGHTD_{self.name.upper()}"


def _path(value: object) -> str:
    """Return a path; in a file it must be absolute."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    if not isinstance(value, Text) and not value.startswith(("/", "~")):
        raise ValueError
    return str(value)


def _level(value: object) -> str:
    if not isinstance(value, str) or value.lower() not in LOG_LEVELS:
        raise ValueError
    return value.lower()


def _between(least: float, most: float) -> Callable[[object], float]:
    def number(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, Text | int | float):
            raise ValueError  # noqa: TRY004 - as any other wrong value
        if not least <= (found := float(value)) <= most:  # nan is not
            raise ValueError
        return found

    return number


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, Text) and value.lower() in SWITCH:
        return SWITCH[value.lower()]
    raise ValueError


def _address(value: object) -> str:
    """Return HOST:PORT, an IPv6 host in brackets, or an empty text for off."""
    found = ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if value != "" and not (found and int(found[1]) <= LAST_PORT):
        raise ValueError
    return str(value)


def _command(value: object) -> tuple[str, ...]:
    """Return a command and its arguments, empty for none."""
    import shlex  # noqa: PLC0415 - seldom needed

    words = shlex.split(value) if isinstance(value, Text) else value
    if not isinstance(words, list) or not all(isinstance(word, str) and "\0" not in word for word in words):
        raise ValueError
    if words[:1] == [""]:
        raise ValueError
    return tuple(words)


def _url(value: object) -> str:
    """Return an http or https URL with a host, or an empty text for none."""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError
    parts = urlsplit(value)
    if value and not (parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0):
        raise ValueError
    return str(value)


PLACES = (
    Key("home", "--home", "a path; in a file one that begins with / or ~", _path),
    Key("db", "--db", "a path; in a file one that begins with / or ~", _path),
)
KEYS = (
    *PLACES,
    Key("log_level", "--log-level", " ".join(LOG_LEVELS), _level),
    Key("rescan_s", "--rescan", f"seconds from {SECONDS[0]:g} to {SECONDS[1]:g}", _between(*SECONDS)),
    Key("settle_s", "--settle", f"seconds from {SECONDS[0]:g} to {SECONDS[1]:g}", _between(*SECONDS)),
    Key("watch", "--watch", "true false", _switch),
    Key("metrics", "--metrics", "HOST:PORT, or empty for off", _address),
    Key(
        "hook_command",
        "--hook-command",
        "a list of strings, the program first; as a variable or flag one text that is split as a shell does",
        _command,
        secret=True,
    ),
    Key("hook_url", "--hook-url", "a URL that begins with http:// or https://", _url, secret=True),
    Key("hook_after_s", "--hook-after", f"seconds from {HOOK_AFTER_S[0]:g} to {HOOK_AFTER_S[1]:g}",
        _between(*HOOK_AFTER_S)),
)  # fmt: skip
NAMES = tuple(key.name for key in KEYS)


def unknown(name: str, path: object) -> str:
    """Return that a name in a file is not a setting, and which one may be meant."""
    shown = visible(name)[:SHOWN]
    return f"unknown setting {shown} in {path}{perhaps(name, NAMES)} (known: {', '.join(NAMES)})"


def perhaps(name: str, names: Sequence[str]) -> str:
    """Return the most similar name as the end of a message, empty if none is similar."""
    import difflib  # noqa: PLC0415 - seldom needed

    return "".join(f", perhaps {similar}" for similar in difflib.get_close_matches(name, names, n=1))


def as_toml(value: object) -> str:
    """Return a value in TOML."""
    if isinstance(value, bool | str | list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=str)  # TOML writes these alike
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)


def masked(key: str, value: object) -> object:
    """Return a value that may be shown: of a URL only scheme and host, since the rest may be a secret.

    Webhooks of chat services have theirs in the path.
    """
    if key != "hook_url" or not value:
        return value
    parts = urlsplit(str(value))
    user = "***@" if parts.username is not None or parts.password is not None else ""
    host = parts.netloc.rpartition("@")[2]
    rest = parts.path.strip("/") or parts.query or parts.fragment
    return f"{parts.scheme}://{user}{host}/{'***' if rest else ''}"
