"""Settings: whatever the file and the environment hold, settings within their ranges or one clear error."""

from __future__ import annotations

import tempfile
import tomllib  # noqa: F401 - settings import it late, and it is to be instrumented
from pathlib import Path

from shipwrightd import config
from shipwrightd.config.keys import HOOK_AFTER_S, KEYS, LOG_LEVELS, SECONDS, as_toml, masked
from shipwrightd.errors import ConfigError
from shipwrightd.text import visible

INSTRUMENTED = (
    "shipwrightd.config",
    "shipwrightd.config.files",
    "shipwrightd.config.keys",
    "tomllib._parser",
    "tomllib._re",
)
_TEMPORARY = tempfile.TemporaryDirectory(prefix="shipwrightd-fuzz-")
FOLDER = Path(_TEMPORARY.name)
FILE = FOLDER / "shipwrightd" / "config.toml"
FILE.parent.mkdir()
LONGEST = 256
SEEDS = (
    b'log_level = "debug"\nrescan_s = 0.5\nsettle_s = 3\nwatch = false\nmetrics = "[::1]:9"\nhook_after_s = 9\n',
    b'hook_command = ["sh", "-c", "true"]\nhook_url = "http://h:8/x?y"\nhome = "~/.shipwright"\ndb = "x.db"\n',
    b"rescan_s = 61\nsettle_s = true\nwatch = 1\nlog_level = []\n\xff\x000\xff\x01-1\xff\x02yes\xff\x03loud",
    b'[table]\nkey = "value"\n[[list]]\nx = 1979-05-27T07:32:00Z\n\xff\x001e9\xff\x01nan\xff\x02\xff\x04WARNING',
    b'"a\\u0000b" = """\nmany\nlines"""\n\xff\x05inf\xff\x060x1\xff\x07\xc3\xa9\xff\x08x\xff\x09http://[',
)
WORDS = (
    *(key.name.encode() for key in KEYS),
    *(b" = ", b"true", b"nan", b"inf", b"1e999", b'"""', b"'''", b"[[", b"\xff", b"\\u0000", b"\\u001b", b"http://"),
    *(b"https://", b"[::1]:", b"127.0.0.1:9100", b"~/", b"~nobody/", b'["', b"@"),
)


def check(data: bytes) -> None:
    """Load settings from a real file; behind each byte 0xFF stand a variable, by its number, and its value."""
    content, *given = data.split(b"\xff")
    env = {"XDG_CONFIG_HOME": str(FOLDER), "HOME": str(FOLDER)}
    for part in given:
        written = part[1:].replace(b"\0", b"")  # no variable can hold one
        env[KEYS[part[0] % len(KEYS) if part else 0].variable] = written.decode("utf-8", "surrogateescape")
    FILE.write_bytes(content)
    found = config.resolve(env=env)
    for problem in found.problems:
        assert problem == visible(problem), "a message acts on the terminal"
        assert problem.encode()
    for value in found.values:
        as_toml(value.value)
        masked(value.key, value.value)
    config.strays(env)
    try:
        settings = config.load(env=env)
    except ConfigError as error:
        assert found.problems
        assert error.hint
        return
    assert not found.problems
    assert settings == found.settings
    assert settings.log_level in LOG_LEVELS
    assert SECONDS[0] <= settings.rescan_s <= SECONDS[1]
    assert SECONDS[0] <= settings.settle_s <= SECONDS[1]
    assert HOOK_AFTER_S[0] <= settings.hook_after_s <= HOOK_AFTER_S[1]
    assert isinstance(settings.watch, bool)
    assert all(isinstance(word, str) for word in settings.hook_command)
    assert found.places.home.is_absolute()
    assert found.places.db.is_absolute()
