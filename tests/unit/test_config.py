"""Places and settings: which one wins, and how wrong ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipwrightd.config import Config, Settings, load, locate, settings_path, warn_if_shipwrights_own
from shipwrightd.errors import ConfigError
from shipwrightd.text import visible


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def write(env: dict[str, str], text: str) -> Path:
    path = settings_path(env)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_default_database_lies_below_the_home_that_was_chosen() -> None:
    assert locate("/a", None, {}) == Config(Path("/a"), Path("/a/shipwrightd/shipwright.db"))
    assert locate(None, None, {"SHIPWRIGHTD_HOME": "/b"}).db == Path("/b/shipwrightd/shipwright.db")


def test_flag_wins_over_environment_and_environment_over_default() -> None:
    env = {"SHIPWRIGHTD_HOME": "/b", "SHIPWRIGHTD_DB": "/b.db"}

    assert locate("/a", "/a.db", env) == Config(Path("/a"), Path("/a.db"))
    assert locate(None, None, env) == Config(Path("/b"), Path("/b.db"))
    assert locate(None, None, {}).home == Path("~/.shipwright").expanduser()


def test_empty_variable_counts_as_none_and_empty_flag_is_refused() -> None:
    assert locate(None, None, {"SHIPWRIGHTD_HOME": "", "SHIPWRIGHTD_DB": ""}) == locate(None, None, {})

    with pytest.raises(ConfigError, match="--home and --db is empty"):
        locate("", "", {})


def test_places_are_absolute_and_keep_their_symlinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)

    assert locate("link/../link", "x.db", {}) == Config(tmp_path / "link", tmp_path / "x.db")


def test_user_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot tell what ~nobody-here/x means"):
        locate("~nobody-here/x", None, {})


def test_database_in_shipwrights_own_place_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)

    assert "unlimited" in (warn_if_shipwrights_own(tmp_path / "link" / "shipwright.db", tmp_path) or "")
    assert warn_if_shipwrights_own(tmp_path / "shipwrightd" / "shipwright.db", tmp_path) is None


def test_without_a_file_the_defaults_hold(env: dict[str, str]) -> None:
    assert load(env) == Settings(log_level="info", rescan_s=2.0, settle_s=2.0, watch=True)


def test_file_sets_and_environment_wins(env: dict[str, str]) -> None:
    write(env, 'log_level = "debug"\nrescan_s = 5\nsettle_s = 0.5\nwatch = false\n')

    assert load(env) == Settings(log_level="debug", rescan_s=5.0, settle_s=0.5, watch=False)
    env |= {"SHIPWRIGHTD_LOG_LEVEL": "ERROR", "SHIPWRIGHTD_RESCAN_S": "1.5", "SHIPWRIGHTD_WATCH": "on"}
    assert load(env) == Settings(log_level="error", rescan_s=1.5, settle_s=0.5, watch=True)


def test_all_problems_are_told_at_once_on_one_line_with_what_is_allowed(env: dict[str, str]) -> None:
    path = write(env, 'log_level = "loud"\nrescan_s = 0\nwatch = "no"\nrescan = 1\n')
    env["SHIPWRIGHTD_SETTLE_S"] = "soon\n"

    with pytest.raises(ConfigError) as caught:
        load(env)

    assert caught.value.message.split("; ") == [
        f"unknown setting rescan in {path}, known: log_level, rescan_s, settle_s, watch",
        f'log_level in {path} is "loud", allowed: debug info warning error',
        f"rescan_s in {path} is 0, allowed: seconds from 0.1 to 60",
        'SHIPWRIGHTD_SETTLE_S is "soon\\n", allowed: seconds from 0.1 to 60',
        f'watch in {path} is "no", allowed: true false',
    ]
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "60.1", "true", "[]", '"2"', "1" + "0" * 400])
def test_seconds_out_of_range_are_refused(env: dict[str, str], value: str) -> None:
    write(env, f"rescan_s = {value}\n")

    with pytest.raises(ConfigError, match=r"rescan_s in .* allowed: seconds from 0\.1 to 60") as caught:
        load(env)

    assert f" is {value}, " in caught.value.message, "as it is written in the file"


@pytest.mark.parametrize("content", [b"rescan_s = = 2\n", b"\xff\n"])
def test_file_that_is_no_toml_is_refused_on_one_line(env: dict[str, str], content: bytes) -> None:
    write(env, "").write_bytes(content)

    with pytest.raises(ConfigError, match=r"^the settings .* are not TOML[^\n]*$"):
        load(env)


def test_file_that_cannot_be_read_is_refused(env: dict[str, str]) -> None:
    write(env, "").unlink()
    settings_path(env).mkdir()

    with pytest.raises(ConfigError, match="cannot read the settings"):
        load(env)


def test_relative_config_home_is_ignored() -> None:
    assert settings_path({"XDG_CONFIG_HOME": "x"}) == Path("~/.config/shipwrightd/config.toml").expanduser()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünï 漢", "plain ünï 漢"),
        ("\x1b[2J\x07\x9b\x7f", "\\x1b[2J\\x07\\x9b\\x7f"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\u202e\u2028\ufeff", "\\u202e\\u2028\\ufeff"),
        (b"\xff".decode(errors="surrogateescape"), "\\xff"),
    ],
)
def test_control_characters_become_visible(text: str, shown: str) -> None:
    assert visible(text) == shown
