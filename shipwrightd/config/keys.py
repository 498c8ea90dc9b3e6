"""Every setting: its name, flag, allowed values, and how a value is parsed. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOG_LEVELS = ("debug", "info", "warning", "error")
SECONDS = (0.1, 60.0)  # range of rescan_s and settle_s
HOOK_AFTER_S = (0.0, 86_400.0)
SWITCH = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)
LAST_PORT = 65_535
SHOWN = 500  # characters of a refused value


class Text(str):
    """A value written as text, in a variable or after a flag; a plain str is a string in a file."""

    __slots__ = ()


class RefusedError(ValueError):
    """The value is not allowed."""


@dataclass(frozen=True, slots=True)
class Key:
    """One setting."""

    name: str
    flag: str  # of `run`
    allowed: str
    parse: Callable[[object], object]  # raises RefusedError
    secret: bool = False  # its value appears in no message

    @property
    def variable(self) -> str:
        """Return the environment variable that sets it."""
        return f"SHIPWRIGHTD_{self.name.upper()}"

    def spelled(self, flag_value: object) -> str:
        """Return the flag that gives a value: `--no-...` for a switch that is off."""
        return self.flag.replace("--", "--no-", 1) if flag_value is False else self.flag


def _path(value: object) -> str:
    """Return a path; in a file it must be absolute."""
    whole = isinstance(value, str) and value and "\0" not in value
    if not whole or not (isinstance(value, Text) or str(value).startswith(("/", "~"))):
        raise RefusedError
    return str(value)


def _level(value: object) -> str:
    if not isinstance(value, str) or value.lower() not in LOG_LEVELS:
        raise RefusedError
    return value.lower()


def _between(least: float, most: float) -> Callable[[object], float]:
    def number(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, Text | int | float):
            raise RefusedError
        try:
            found = float(value)
        except (ValueError, OverflowError):
            raise RefusedError from None
        if not least <= found <= most:  # nan is not
            raise RefusedError
        return found

    return number


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, Text) and value.lower() in SWITCH:
        return SWITCH[value.lower()]
    raise RefusedError


def _address(value: object) -> str:
    """Return HOST:PORT, an IPv6 host in brackets, or an empty text for off."""
    if not isinstance(value, str):
        raise RefusedError
    host, colon, port = value.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    named = bool(bare) and bare.isascii() and bare.replace(":", "").replace(".", "").replace("-", "").isalnum()
    bracketed = (":" in bare) == (bare is not host)
    counted = port.isascii() and port.isdecimal() and int(port[:6]) <= LAST_PORT
    if value and not (colon and named and bracketed and counted):
        raise RefusedError
    return str(value)


def _command(value: object) -> tuple[str, ...]:
    """Return a command and its arguments, empty for none."""
    import shlex  # noqa: PLC0415 - seldom needed

    if isinstance(value, Text):
        try:
            value = shlex.split(value)
        except ValueError:  # an unclosed quotation
            raise RefusedError from None
    if not isinstance(value, list) or not all(isinstance(word, str) and "\0" not in word for word in value):
        raise RefusedError
    if value and not value[0]:
        raise RefusedError
    return tuple(value)


def _url(value: object) -> str:
    """Return an http or https URL with a host, or an empty text for none."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - seldom needed

    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise RefusedError
    try:
        parts = urlsplit(value)
        whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise RefusedError from None
    if value and not whole:
        raise RefusedError
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


def refusal(key: Key, place: str, value: object) -> str:
    """Return what is wrong with a value and what is allowed."""
    shown = "not valid" if key.secret else visible(as_toml(value))[:SHOWN]
    return f"{place} is {shown}, allowed: {key.allowed}"


def unknown(name: str, path: object) -> str:
    """Return that a name in a file is not a setting, and which one may be meant."""
    alike = nearest(name, NAMES)
    perhaps = f", perhaps {alike}" if alike else ""
    return f"unknown setting {visible(name)[:SHOWN]} in {path}{perhaps} (known: {', '.join(NAMES)})"


def nearest(name: str, names: Sequence[str]) -> str:
    """Return the most similar name, or an empty text."""
    import difflib  # noqa: PLC0415 - seldom needed

    return next(iter(difflib.get_close_matches(name, names, n=1)), "")


def as_toml(value: object) -> str:
    """Return a value in TOML."""
    if isinstance(value, bool | str | list | tuple | dict):
        import json  # noqa: PLC0415 - seldom needed; TOML writes these alike

        return json.dumps(value, ensure_ascii=False, default=str)
    return f"{value:g}" if isinstance(value, float) and value.is_integer() else str(value)


def masked(key: str, value: object) -> object:
    """Return a value that may be shown: of a URL only scheme and host, since the rest may be a secret.

    Webhooks of chat services have theirs in the path.
    """
    if key != "hook_url" or not value:
        return value
    from urllib.parse import urlsplit  # noqa: PLC0415 - seldom needed

    parts = urlsplit(str(value))
    user = "***@" if parts.username is not None or parts.password is not None else ""
    host = parts.netloc.rpartition("@")[2]
    rest = parts.path.strip("/") or parts.query or parts.fragment
    return f"{parts.scheme}://{user}{host}/{'***' if rest else ''}"
