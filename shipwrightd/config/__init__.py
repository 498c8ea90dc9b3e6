"""Resolves the settings and where each comes from.

Flags override the environment, the environment the user's file, that the
system's, and all of them the defaults below.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd.config import files as config_files
from shipwrightd.config.keys import KEYS, NAMES, PLACES, SHOWN, Key, Text, as_toml, perhaps, unknown
from shipwrightd.errors import ConfigError
from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shipwrightd.config.files import File

HINT = "correct it there, or remove it for the default; `shipwrightd config show` says where each value comes from"


@dataclass(frozen=True, slots=True)
class Config:
    """Shipwright's folder and the database; both paths are absolute."""

    home: Path
    db: Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings that may change while the daemon runs: SIGHUP reloads them."""

    log_level: str = "info"
    rescan_s: float = 2.0  # between two passes over all sources
    settle_s: float = 2.0  # how long to wait after a rewrite before reading the file
    watch: bool = True  # file-system events on or off
    metrics: str = ""  # HOST:PORT to serve metrics at; empty for off
    hook_command: tuple[str, ...] = ()  # run when an error persists; empty for none
    hook_url: str = ""  # notified when an error persists; empty for none
    hook_after_s: float = 60.0  # how long an error must persist for that


DEFAULTS = Settings()


@dataclass(frozen=True, slots=True)
class Value:
    """The value of a setting, and where it comes from."""

    key: str
    value: object
    kind: str  # flag | environment | file | default
    name: str = ""  # of the flag, the variable or the file


@dataclass(frozen=True, slots=True)
class Resolved:
    """All settings; an invalid value is replaced by the next weaker one."""

    values: Sequence[Value]
    problems: Sequence[str]
    files: Sequence[File]  # all paths, the strongest first

    @property
    def places(self) -> Config:
        """Return home and database. Raises ConfigError for an invalid path, which is in `problems` as well."""
        return _places({value.key: value for value in self.values})

    @property
    def settings(self) -> Settings:
        """Return the settings that may change while the daemon runs."""
        names = {field.name for field in fields(Settings)}
        return Settings(**{value.key: value.value for value in self.values if value.key in names})  # type: ignore[arg-type]


def locate(home: str | None = None, db: str | None = None, env: Mapping[str, str] = os.environ) -> Config:
    """Return home and database. Neither has to exist.

    Raises ConfigError for an invalid path, and for a settings file that may name them and cannot be read.
    Other settings are not checked: a reader does not need them.
    """
    flags = {"home": home, "db": db}
    known = {value.key for value in _given(flags, env)}
    files = [] if known >= flags.keys() else [config_files.read(path) for path in config_files.paths(env)]
    problems = [problem for file in files for problem in _unusable(file)]
    given = _given(flags, env, files)
    found = {key.name: _pick(key, given, problems) for key in PLACES}
    if problems:
        raise ConfigError("; ".join(problems), hint=HINT)
    return _places(found)


def names_home(home: str | None, env: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the home is set by a flag, a variable or a file."""
    return next(value.kind for value in resolve({"home": home}, env).values if value.key == "home") != "default"


def passed_on(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the variables that a service needs to have the settings of this environment.

    Secrets are left out, as everybody can read a unit. See `kept_back`.
    """
    names = [key.variable for key in KEYS if key not in PLACES and not key.secret]
    return {name: env[name] for name in (*names, "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS") if env.get(name)}


def kept_back(env: Mapping[str, str] = os.environ) -> list[str]:
    """Return the variables that are set but not passed on, because they may be secrets."""
    return [key.variable for key in KEYS if key.secret and env.get(key.variable)]


def load(flags: Mapping[str, object] | None = None, env: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings. ConfigError names every problem at once, each with what is allowed."""
    found = resolve(flags, env)
    if found.problems:
        raise ConfigError("; ".join(found.problems), hint=HINT)
    return found.settings


def resolve(flags: Mapping[str, object] | None = None, env: Mapping[str, str] = os.environ) -> Resolved:
    """Return every setting with where it comes from, and all problems, also of overridden values.

    `flags` has the values from the command line, None for those not given.
    """
    files = [config_files.read(path) for path in config_files.paths(env)]
    problems = []
    for file in files:
        problems += [*_unusable(file), *(unknown(name, file.path) for name in file.table if name not in NAMES)]
    given = _given(flags or {}, env, files)
    found = {key.name: _pick(key, given, problems) for key in KEYS}
    try:
        places = _places(found)
    except ConfigError as error:
        problems.append(error.message)
    else:
        found["home"] = replace(found["home"], value=str(places.home))
        found["db"] = replace(found["db"], value=str(places.db))
    return Resolved(tuple(found.values()), tuple(problems), tuple(files))


def strays(env: Mapping[str, str]) -> list[str]:
    """Return messages about variables that look like a setting but are none."""
    known = [key.variable for key in KEYS]
    named = sorted(name for name in env if name.startswith("SHIPWRIGHTD_") and name not in known)
    return [f"{name} is not a setting{perhaps(name, known)}" for name in named]


def _unusable(file: File) -> Iterable[str]:
    """Yield why no settings are read from a file."""
    if file.problem:
        yield file.problem
    if file.open_to:
        yield f"settings are not read from a file that other users can write to: {file.open_to}"


def _given(flags: Mapping[str, object], env: Mapping[str, str], files: Iterable[File] = ()) -> list[Value]:
    """Return all values as they were given, the strongest first; an empty variable counts as none."""
    given = []
    for key in KEYS:
        if (flag := flags.get(key.name)) is not None:
            spelled = key.flag.replace("--", "--no-", 1) if flag is False else key.flag
            given.append(Value(key.name, Text(flag) if isinstance(flag, str) else flag, "flag", spelled))
        if variable := env.get(key.variable):
            given.append(Value(key.name, Text(variable), "environment", key.variable))
    for file in files:
        if not file.open_to:
            given += [Value(name, value, "file", str(file.path)) for name, value in file.table.items()]
    return given


def _pick(key: Key, given: Iterable[Value], problems: list[str]) -> Value:
    """Return the strongest valid value, and add the problems of all values."""
    valid = []
    for value in given:
        if value.key != key.name:
            continue
        try:
            valid.append(replace(value, value=key.parse(value.value)))
        except (ValueError, OverflowError):
            place = f"{key.name} in {value.name}" if value.kind == "file" else value.name
            shown = "not valid" if key.secret else visible(as_toml(value.value))[:SHOWN]
            problems.append(f"{place} is {shown}, allowed: {key.allowed}")
    return valid[0] if valid else Value(key.name, getattr(DEFAULTS, key.name, None), "default")


def _places(found: Mapping[str, Value]) -> Config:
    root = _absolute(str(found["home"].value or "~/.shipwright"))
    chosen = found["db"].value
    database = _absolute(str(chosen)) if chosen else root / "shipwrightd" / "shipwright.db"
    try:
        str(database).encode()
    except UnicodeEncodeError as error:
        message = f"SQLite cannot open a path that is not UTF-8: {str(database)!a}"
        raise ConfigError(message, hint="choose another path with --db or SHIPWRIGHTD_DB") from error
    return Config(root, database)


def _absolute(path: str) -> Path:
    try:
        return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - resolve() would follow symlinks
    except RuntimeError as error:
        message = f"invalid path {visible(path)}: {visible(str(error))}"
        raise ConfigError(message, hint="give a full path") from error


def warn_if_shipwrights_own(db: Path, home: Path) -> str | None:
    """Return a warning if the database is at the path of Shipwright's own database, which Shipwright uses."""
    if os.path.realpath(db) != os.path.realpath(home / "shipwright.db"):
        return None
    return (
        f"Shipwright 2.2 to 3.0 keeps a database of its own at {db}: while a file of that name exists, "
        'it takes the remaining budget for "unlimited" and adds its tables. Harmless with Shipwright 1; '
        "otherwise choose another path with --db"
    )
