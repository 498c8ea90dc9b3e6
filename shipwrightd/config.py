"""Where things are and how the daemon behaves; alone in reading the environment and the settings file.

Flags win over the environment, the environment over the file
`~/.config/shipwrightd/config.toml`, the file over the defaults below.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd import guard
from shipwrightd.errors import ConfigError
from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG_LEVELS = ("debug", "info", "warning", "error")
SECONDS = (0.1, 60.0)  # range of both settings that are seconds
FLAGS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


@dataclass(frozen=True, slots=True)
class Config:
    """The two places everything else follows from; both absolute."""

    home: Path
    db: Path


@dataclass(frozen=True, slots=True)
class Settings:
    """What may change while the daemon runs: SIGHUP reads it again."""

    log_level: str = "info"
    rescan_s: float = 2.0  # between two looks at every source, whatever the events say
    settle_s: float = 2.0  # how long a file that shrank must rest before it is believed
    watch: bool = True  # file-system events on or off


def locate(home: str | None = None, db: str | None = None, env: Mapping[str, str] | None = None) -> Config:
    """Return home and database: flag, else environment, else default. Neither has to exist."""
    env = os.environ if env is None else env
    empty = [flag for flag, value in (("--home", home), ("--db", db)) if value == ""]
    if empty:
        raise ConfigError(f"{' and '.join(empty)} is empty", hint="give a path, or leave the option out")
    root = _absolute(Path(home or env.get("SHIPWRIGHTD_HOME") or "~/.shipwright"))
    chosen = db or env.get("SHIPWRIGHTD_DB")
    return Config(root, _absolute(Path(chosen)) if chosen else root / "shipwrightd" / "shipwright.db")


def _absolute(path: Path) -> Path:
    try:
        return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100 - resolve() would follow symlinks
    except RuntimeError as error:
        raise ConfigError(f"cannot tell what {path} means: {error}", hint="give a full path") from error


def warn_if_shipwrights_own(db: Path, home: Path) -> str | None:
    """Return a warning when the database has the name of Shipwright's own: Shipwright acts on it."""
    if os.path.realpath(db) != os.path.realpath(home / "shipwright.db"):
        return None
    return (
        f"{db} is where Shipwright 2.2 to 3.0 keeps a database of its own: while a file of that name exists, "
        'it takes the remaining budget for "unlimited" and adds its tables. Harmless with Shipwright 1, '
        "else choose another place with --db"
    )


def settings_path(env: Mapping[str, str] | None = None) -> Path:
    """Return where the settings file is looked for."""
    env = os.environ if env is None else env
    base = env.get("XDG_CONFIG_HOME", "")
    folder = Path(base) if Path(base).is_absolute() else _absolute(Path("~/.config"))
    return folder / "shipwrightd" / "config.toml"


def load(env: Mapping[str, str] | None = None) -> Settings:
    """Return the settings. ConfigError names every problem at once, each with what is allowed."""
    env = os.environ if env is None else env
    path = settings_path(env)
    reader = _Reader(_read_toml(path), path, env)
    settings = Settings(
        log_level=reader.choice("log_level", Settings().log_level),
        rescan_s=reader.seconds("rescan_s", Settings().rescan_s),
        settle_s=reader.seconds("settle_s", Settings().settle_s),
        watch=reader.flag("watch", default=Settings().watch),
    )
    if reader.problems:
        raise ConfigError("; ".join(reader.problems), hint="correct it there, or remove it for the default")
    return settings


def _read_toml(path: Path) -> dict[str, object]:
    import tomllib  # noqa: PLC0415 - only for who reads settings: `status` does not

    try:
        guard.check_settings(path)
        return tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        return {}
    except OSError as error:
        message = f"cannot read the settings {path}: {error.strerror}"
        raise ConfigError(message, hint="check its owner and mode") from error
    except ValueError as error:  # no TOML, or no UTF-8
        message = f"the settings {path} are not TOML: {visible(str(error))}"
        raise ConfigError(message, hint="correct the line, or remove the file") from error


class _Reader:
    """Takes each setting from environment or file and collects what is wrong with them."""

    def __init__(self, table: dict[str, object], path: Path, env: Mapping[str, str]) -> None:
        self._table = table
        self._path = path
        self._env = env
        known = [field.name for field in fields(Settings)]
        self.problems = [
            f"unknown setting {visible(key)} in {path}, known: {', '.join(known)}" for key in table if key not in known
        ]

    def choice(self, key: str, default: str) -> str:
        """Return one of the log levels."""
        value, place = self._find(key)
        if value is None:
            return default
        if isinstance(value, str) and value.lower() in LOG_LEVELS:
            return value.lower()
        self._refuse(place, value, " ".join(LOG_LEVELS))
        return default

    def seconds(self, key: str, default: float) -> float:
        """Return a number of seconds within its range."""
        value, place = self._find(key)
        if value is None:
            return default
        least, most = SECONDS
        number = _number(value, text=place == _variable(key))
        if number is not None and least <= number <= most:
            return number
        self._refuse(place, value, f"seconds from {least:g} to {most:g}")
        return default

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value, place = self._find(key)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        if place == _variable(key) and str(value).lower() in FLAGS:
            return FLAGS[str(value).lower()]
        self._refuse(place, value, "true false")
        return default

    def _find(self, key: str) -> tuple[object, str]:
        """Return the value given for the key, None if there is none, and what the user knows it by."""
        variable = _variable(key)
        if self._env.get(variable):
            return self._env[variable], variable
        return self._table.get(key), f"{key} in {self._path}"

    def _refuse(self, place: str, value: object, allowed: str) -> None:
        self.problems.append(f"{place} is {visible(_spelled(value))}, allowed: {allowed}")


def _variable(key: str) -> str:
    return f"SHIPWRIGHTD_{key.upper()}"


def _spelled(value: object) -> str:
    """Return a value as it is written in TOML."""
    if isinstance(value, bool | str | list | dict):
        import json  # noqa: PLC0415 - seldom needed; TOML spells these alike

        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _number(value: object, *, text: bool) -> float | None:
    """Return the number that a value stands for; with `text`, as from a variable, it may be written out."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or (isinstance(value, str) and not text):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None
