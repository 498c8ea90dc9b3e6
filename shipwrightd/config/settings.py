"""Where things are and how the daemon behaves; with `config_files` alone in reading environment and settings files.

Flags win over the environment, the environment over the user's file, that over
the system's, and all over the defaults below. Each value remembers where it came from.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd.config import files as config_files
from shipwrightd.config.keys import KEYS, NAMES, PLACES, Key, RefusedError, Text, nearest, refusal, unknown
from shipwrightd.errors import ConfigError
from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shipwrightd.config.files import File

HINT = "correct it there, or remove it for the default; `shipwrightd config show` says where each value comes from"


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
    metrics: str = ""  # HOST:PORT to serve figures for monitors at; empty for off
    hook_command: tuple[str, ...] = ()  # run when an error stands; empty for none
    hook_url: str = ""  # told when an error stands; empty for none
    hook_after_s: float = 60.0  # how long an error must stand for that


DEFAULTS = Settings()


@dataclass(frozen=True, slots=True)
class Value:
    """A setting with where it came from."""

    key: str
    value: object
    kind: str  # flag | environment | file | default
    name: str = ""  # of the flag, the variable or the file


@dataclass(frozen=True, slots=True)
class Resolved:
    """All settings; where something is wrong with one, the next weaker value stands in for it."""

    values: Sequence[Value]
    problems: Sequence[str]
    files: Sequence[File]  # all places that were looked at, the strongest first

    @property
    def places(self) -> Config:
        """Return home and database. Raises ConfigError when a path means nothing, which `problems` says, too."""
        return _places({value.key: value for value in self.values})

    @property
    def settings(self) -> Settings:
        """Return what may change while the daemon runs."""
        names = {field.name for field in fields(Settings)}
        return Settings(**{value.key: value.value for value in self.values if value.key in names})  # type: ignore[arg-type]


def locate(home: str | None = None, db: str | None = None, env: Mapping[str, str] | None = None) -> Config:
    """Return home and database. Neither has to exist.

    Raises ConfigError for a path that means nothing and for a settings file, which may name them, that
    cannot be read. Other settings are not judged: they are none of a reader's business.
    """
    env = os.environ if env is None else env
    layers = _given({"home": home, "db": db}, env)
    known = {name for layer in layers for name in layer.values}
    files = [] if known >= {"home", "db"} else [config_files.read(path) for path in config_files.paths(env)]
    problems = [problem for file in files for problem in _unusable(file)]
    found = {key.name: _pick(key, (*layers, *map(_Layer.of, files)), problems) for key in PLACES}
    if problems:
        raise ConfigError("; ".join(problems), hint=HINT)
    return _places(found)


def names_home(home: str | None, env: Mapping[str, str] | None = None) -> bool:
    """Tell whether somebody said which home, with the flag, in the environment or in a file."""
    return next(value.kind for value in resolve({"home": home}, env).values if value.key == "home") != "default"


def passed_on(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that a daemon started elsewhere needs in order to find the settings that hold here.

    Secrets are not among them: what starts a daemon is a file that everybody may read. See `kept_back`.
    """
    env = os.environ if env is None else env
    names = [key.variable for key in KEYS if key not in PLACES and not key.secret]
    return {name: env[name] for name in (*names, "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS") if env.get(name)}


def kept_back(env: Mapping[str, str] | None = None) -> list[str]:
    """Return the variables that are set and not passed on, for they may be secrets."""
    env = os.environ if env is None else env
    return [key.variable for key in KEYS if key.secret and env.get(key.variable)]


def load(flags: Mapping[str, object] | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """Return the settings. ConfigError names every problem at once, each with what is allowed."""
    found = resolve(flags, env)
    if found.problems:
        raise ConfigError("; ".join(found.problems), hint=HINT)
    return found.settings


def resolve(flags: Mapping[str, object] | None = None, env: Mapping[str, str] | None = None) -> Resolved:
    """Return every setting with where it comes from, and all that is wrong with any, overridden or not.

    `flags` holds what stood on the command line, None for what did not.
    """
    env = os.environ if env is None else env
    files = [config_files.read(path) for path in config_files.paths(env)]
    problems = [problem for file in files for problem in _judge(file)]
    layers = (*_given(flags or {}, env), *map(_Layer.of, files))
    found = {key.name: _pick(key, layers, problems) for key in KEYS}
    try:
        places = _places(found)
    except ConfigError as error:
        problems.append(error.message)
    else:
        found["home"] = replace(found["home"], value=str(places.home))
        found["db"] = replace(found["db"], value=str(places.db))
    return Resolved(tuple(found.values()), tuple(problems), tuple(files))


def strays(env: Mapping[str, str]) -> list[str]:
    """Return what to say of variables that look like ours and set nothing."""
    known = {key.variable: key.name for key in KEYS}
    named = sorted(name for name in env if name.startswith("SHIPWRIGHTD_") and name not in known)
    alike = {name: nearest(name, tuple(known)) for name in named}
    return [f"{name} is no setting" + (f", perhaps {alike[name]}" if alike[name] else "") for name in named]


def _judge(file: File) -> Iterable[str]:
    """Say what is wrong with a file as a whole."""
    yield from _unusable(file)
    for name in file.table:
        if name not in NAMES:
            yield unknown(name, file.path)


def _unusable(file: File) -> Iterable[str]:
    """Say why nothing is taken from a file."""
    if file.problem:
        yield file.problem
    if file.open_to:
        yield f"settings are not taken from a file that others can write to: {file.open_to}"


@dataclass(frozen=True, slots=True)
class _Layer:
    """Values from one place."""

    kind: str
    values: Mapping[str, object]
    path: str = ""

    @classmethod
    def of(cls, file: File) -> _Layer:
        """Return what a file sets; nothing that others may have put there."""
        return cls("file", {} if file.open_to else file.table, str(file.path))

    def name(self, key: Key) -> str:
        """Return what the user knows the value's origin by."""
        if self.kind == "file":
            return self.path
        return key.variable if self.kind == "environment" else key.spelled(self.values[key.name])

    def place(self, key: Key) -> str:
        """Return the same, as it is said in a message."""
        return f"{key.name} in {self.path}" if self.kind == "file" else self.name(key)


def _given(flags: Mapping[str, object], env: Mapping[str, str]) -> tuple[_Layer, _Layer]:
    """Return what command line and environment set; an empty variable counts as none."""
    written = {k: Text(v) if isinstance(v, str) else v for k, v in flags.items() if v is not None}
    variables = {key.name: Text(env[key.variable]) for key in KEYS if env.get(key.variable)}
    return _Layer("flag", written), _Layer("environment", variables)


def _pick(key: Key, layers: Iterable[_Layer], problems: list[str]) -> Value:
    """Return the strongest valid value, and add to the problems what is wrong with any."""
    picked: Value | None = None
    for layer in layers:
        if key.name not in layer.values:
            continue
        raw = layer.values[key.name]
        try:
            value = key.parse(raw)
        except RefusedError:
            problems.append(refusal(key, layer.place(key), raw))
            continue
        picked = picked or Value(key.name, value, layer.kind, layer.name(key))
    return picked or Value(key.name, getattr(DEFAULTS, key.name, None), "default")


def _places(found: Mapping[str, Value]) -> Config:
    root = _absolute(str(found["home"].value or "~/.shipwright"))
    chosen = found["db"].value
    database = _absolute(str(chosen)) if chosen else root / "shipwrightd" / "shipwright.db"
    try:
        str(database).encode()
    except UnicodeEncodeError as error:
        message = f"the path of the database is no UTF-8, and SQLite opens no other: {str(database)!a}"
        raise ConfigError(message, hint="name another place with --db or SHIPWRIGHTD_DB") from error
    return Config(root, database)


def _absolute(path: str) -> Path:
    try:
        return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 - resolve() would follow symlinks
    except RuntimeError as error:
        message = f"cannot tell what {visible(path)} means: {visible(str(error))}"
        raise ConfigError(message, hint="give a full path") from error


def settings_path(env: Mapping[str, str] | None = None) -> Path:
    """Return where the user's settings file is looked for, the system's where the user has no home."""
    return config_files.paths(os.environ if env is None else env)[0]


def warn_if_shipwrights_own(db: Path, home: Path) -> str | None:
    """Return a warning when the database has the name of Shipwright's own: Shipwright acts on it."""
    if os.path.realpath(db) != os.path.realpath(home / "shipwright.db"):
        return None
    return (
        f"{db} is where Shipwright 2.2 to 3.0 keeps a database of its own: while a file of that name exists, "
        'it takes the remaining budget for "unlimited" and adds its tables. Harmless with Shipwright 1, '
        "else choose another place with --db"
    )
