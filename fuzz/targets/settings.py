"""Settings: whatever the file and the environment hold, settings within their ranges or one clear error."""

from __future__ import annotations

import tempfile
import tomllib  # noqa: F401 - settings import it late, and it is to be instrumented
from pathlib import Path

from shipwrightd import config
from shipwrightd.errors import ConfigError
from shipwrightd.text import visible

INSTRUMENTED = ("shipwrightd.config", "tomllib._parser", "tomllib._re")
_TEMPORARY = tempfile.TemporaryDirectory(prefix="shipwrightd-fuzz-")
FOLDER = Path(_TEMPORARY.name)
FILE = FOLDER / "shipwrightd" / "config.toml"
FILE.parent.mkdir()
KEYS = ("log_level", "rescan_s", "settle_s", "watch")
LONGEST = 256
SEEDS = (
    b'log_level = "debug"\nrescan_s = 0.5\nsettle_s = 3\nwatch = false\n',
    b"rescan_s = 61\nsettle_s = true\nwatch = 1\nlog_level = []\n\xff0\xff-1\xffyes\xffloud",
    b'[table]\nkey = "value"\n[[list]]\nx = 1979-05-27T07:32:00Z\n\xff1e9\xffnan\xff\xffWARNING',
    b'"a\\u0000b" = """\nmany\nlines"""\n\xffinf\xff0x1\xff\xc3\xa9',
)
WORDS = (*(key.encode() for key in KEYS), b" = ", b"true", b"nan", b"inf", b"1e999", b'"""', b"'''", b"[[", b"\xff")


def check(data: bytes) -> None:
    """Load settings from a real file; what follows a byte 0xFF is the environment's."""
    content, *given = data.split(b"\xff", len(KEYS))
    env = {"XDG_CONFIG_HOME": str(FOLDER)}
    for key, value in zip(KEYS, given, strict=False):
        env[f"SHIPWRIGHTD_{key.upper()}"] = value.decode("utf-8", "surrogateescape")
    FILE.write_bytes(content)
    try:
        found = config.load(env)
    except ConfigError as error:
        assert str(error) == visible(str(error)), "a message acts on the terminal"
        assert error.hint
        assert str(error).encode()
        return
    least, most = config.SECONDS
    assert found.log_level in config.LOG_LEVELS
    assert least <= found.rescan_s <= most
    assert least <= found.settle_s <= most
    assert isinstance(found.watch, bool)
    assert config.load(env) == found
