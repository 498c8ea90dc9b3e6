"""Places and settings: which one wins, and how wrong ones are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shipwrightd.config import (
    Config,
    Settings,
    Value,
    kept_back,
    load,
    locate,
    names_home,
    passed_on,
    resolve,
    warn_if_shipwrights_own,
)
from shipwrightd.config.files import paths, writers
from shipwrightd.config.keys import NAMES, masked
from shipwrightd.errors import ConfigError
from shipwrightd.text import visible


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Return an environment with a folder for the user's settings and one for the system's."""
    return {"XDG_CONFIG_HOME": str(tmp_path / "own"), "XDG_CONFIG_DIRS": str(tmp_path / "system")}


@pytest.fixture
def system(env: dict[str, str]) -> Path:
    """Return where the system's settings are; the file is not there yet."""
    path = Path(env["XDG_CONFIG_DIRS"]) / "shipwrightd" / "config.toml"
    path.parent.mkdir(parents=True)
    return path


def write(env: dict[str, str], text: str) -> Path:
    path = paths(env)[0]
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

    with pytest.raises(ConfigError, match=r'--home is "", allowed: a path.*; --db is "", allowed: a path'):
        locate("", "", {})


def test_places_are_absolute_and_keep_their_symlinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)

    assert locate("link/../link", "x.db", {}) == Config(tmp_path / "link", tmp_path / "x.db")


def test_user_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="invalid path ~nobody-here/x"):
        locate("~nobody-here/x", None, {})


def test_database_path_that_is_no_utf8_is_refused_and_such_a_home_is_not() -> None:
    with pytest.raises(ConfigError, match=r"SQLite cannot open a path that is not UTF-8: '/jos.udce9/") as caught:
        locate("/jos\udce9", None, {})
    assert "--db" in caught.value.hint
    assert str(locate("/jos\udce9", "/db/s.db", {}).db) == "/db/s.db"


def test_a_home_of_nobody_does_not_act_on_the_terminal() -> None:
    with pytest.raises(ConfigError, match=r"invalid path ~nobody\\x1b\[31m\\xff") as caught:
        locate(db="~nobody\x1b[31m\udcff", env={})
    assert str(caught.value) == visible(str(caught.value))


def test_database_in_shipwrights_own_place_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)

    assert "unlimited" in (warn_if_shipwrights_own(tmp_path / "link" / "shipwright.db", tmp_path) or "")
    assert warn_if_shipwrights_own(tmp_path / "shipwrightd" / "shipwright.db", tmp_path) is None


def test_without_a_file_the_defaults_hold(env: dict[str, str]) -> None:
    assert load({}, env) == Settings(log_level="info", rescan_s=2.0, settle_s=2.0, watch=True)


def test_file_sets_and_environment_wins(env: dict[str, str]) -> None:
    write(env, 'log_level = "debug"\nrescan_s = 5\nsettle_s = 0.5\nwatch = false\n')

    assert load({}, env) == Settings(log_level="debug", rescan_s=5.0, settle_s=0.5, watch=False)
    env |= {"SHIPWRIGHTD_LOG_LEVEL": "ERROR", "SHIPWRIGHTD_RESCAN_S": "1.5", "SHIPWRIGHTD_WATCH": "on"}
    assert load({}, env) == Settings(log_level="error", rescan_s=1.5, settle_s=0.5, watch=True)


def test_all_problems_are_told_at_once_on_one_line_with_what_is_allowed(env: dict[str, str]) -> None:
    path = write(env, 'log_level = "loud"\nrescan_s = 0\nwatch = "no"\nrescan = 1\n')
    env["SHIPWRIGHTD_SETTLE_S"] = "soon\n"

    with pytest.raises(ConfigError) as caught:
        load({}, env)

    assert caught.value.message.split("; ") == [
        f"unknown setting rescan in {path}, perhaps rescan_s (known: {', '.join(NAMES)})",
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
        load({}, env)

    assert f" is {value}, " in caught.value.message, "as it is written in the file"


@pytest.mark.parametrize("content", [b"rescan_s = = 2\n", b"\xff\n"])
def test_file_that_is_no_toml_is_refused_on_one_line(env: dict[str, str], content: bytes) -> None:
    write(env, "").write_bytes(content)

    with pytest.raises(ConfigError, match=r"^the settings .* are not TOML[^\n]*$"):
        load({}, env)


def test_every_setting_says_where_it_came_from(env: dict[str, str], system: Path) -> None:
    path = write(env, 'rescan_s = 3\nsettle_s = 3\nmetrics = "[::1]:9100"\n')
    system.write_text('home = "/srv/shipwright"\nlog_level = "debug"\nsettle_s = 9\nrescan_s = 9\n')
    env["SHIPWRIGHTD_SETTLE_S"] = "1"

    found = resolve({"watch": False, "hook_after_s": "0", "hook_url": None}, env)

    assert not found.problems
    assert list(found.values) == [
        Value("home", "/srv/shipwright", "file", str(system)),
        Value("db", "/srv/shipwright/shipwrightd/shipwright.db", "default"),
        Value("log_level", "debug", "file", str(system)),
        Value("rescan_s", 3.0, "file", str(path)),
        Value("settle_s", 1.0, "environment", "SHIPWRIGHTD_SETTLE_S"),
        Value("watch", False, "flag", "--no-watch"),  # noqa: FBT003
        Value("metrics", "[::1]:9100", "file", str(path)),
        Value("hook_command", (), "default"),
        Value("hook_url", "", "default"),
        Value("hook_after_s", 0.0, "flag", "--hook-after"),
    ]
    assert [file.path for file in found.files if file.exists] == [path, system]


def test_files_may_name_home_and_database_and_flags_win(env: dict[str, str], system: Path) -> None:
    write(env, 'db = "~/own.db"\n')
    system.write_text('home = "/srv"\ndb = "/srv/system.db"\n')

    assert locate(None, None, env) == Config(Path("/srv"), Path("~/own.db").expanduser())
    assert locate("/a", None, env | {"SHIPWRIGHTD_DB": "/b.db"}) == Config(Path("/a"), Path("/b.db"))


def test_reading_commands_do_not_judge_what_they_do_not_need(env: dict[str, str]) -> None:
    path = write(env, 'log_level = "loud"\nhome = "/srv"\nunheard_of = 1\n')
    assert locate(None, None, env).home == Path("/srv")

    path.write_text('home = "relative"\n')
    with pytest.raises(ConfigError, match=r'home in .* is "relative", allowed: a path; in a file one that begins'):
        locate(None, None, env)
    path.write_text("home = \n")
    with pytest.raises(ConfigError, match="are not TOML"):
        locate(None, None, env)
    assert locate("/a", "/b", env) == Config(Path("/a"), Path("/b")), "no file is needed"


def test_places_of_settings_follow_the_base_directory_specification() -> None:
    etc = Path("/etc/shipwrightd/config.toml")
    below = "shipwrightd/config.toml"

    assert paths({"HOME": "/u"}) == [Path("/u/.config", below), Path("/etc/xdg", below), etc]
    assert paths({"HOME": "/u", "XDG_CONFIG_HOME": "/c", "XDG_CONFIG_DIRS": "/d:relative:/etc"}) == [
        Path("/c", below),
        Path("/d", below),
        etc,
    ]


@pytest.mark.parametrize(
    ("mode", "owner", "user", "says"),
    [
        (0o644, 7, 7, None),
        (0o600, 0, 7, None),
        (0o664, 7, 7, "can be written by other users (mode 0664): `chmod go-w /f`"),
        (0o602, 0, 7, "can be written by other users (mode 0602): `chmod go-w /f`"),
        (0o644, 8, 7, "belongs to another user (uid 8): `chown 7 /f`"),
        (0o644, 7, 0, "belongs to another user (uid 7): `chown 0 /f`"),
    ],
)
def test_file_that_others_may_write_to_is_told_by_owner_and_mode(
    mode: int, owner: int, user: int, says: str | None
) -> None:
    found = os.stat_result((mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))

    assert (writers(Path("/f"), found, user) or "").removeprefix("/f ") == (says or "")


def test_nothing_is_taken_from_a_file_that_others_may_write_to(env: dict[str, str]) -> None:
    path = write(env, 'hook_command = ["true"]\nrescan_s = 3\n')
    assert load({}, env).hook_command == ("true",)

    path.chmod(0o666)
    with pytest.raises(ConfigError, match=r"settings are not read from a file that other users.*`chmod go-w "):
        load({}, env)
    assert resolve({}, env).settings == Settings()


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("metrics", ["127.0.0.1:9100", "localhost:0", "[::1]:65535", ""], [":9100", "a", "a:65536", "::1:9", "a b:1"]),
        ("metrics", [], ["[a]:1", "a:x", "a:", "http://a:1"]),
        ("hook_url", ["https://u:p@example.org/x?y=z", "http://[::1]:80/", ""], ["ftp://a", "https://", "x"]),
        ("hook_url", [], ["http://a b", "http://a:b/", "http://a:0/"]),
        ("hook_command", ["mail -s 'it is' me", ""], ["mail 'x", "'' x"]),
        ("hook_after_s", ["0", "86400"], ["-1", "86401", "nan", ""]),
        ("log_level", ["DEBUG"], ["loud", ""]),
    ],
)  # fmt: skip
def test_values_are_judged_by_their_kind(env: dict[str, str], key: str, good: list[str], bad: list[str]) -> None:
    for value in good:
        load({key: value}, env)
    for value in bad:
        with pytest.raises(ConfigError, match=f"^--{key.removesuffix('_s').replace('_', '-')} is .*allowed: "):
            load({key: value}, env)


def test_command_is_split_as_a_shell_does_and_taken_from_a_file_as_it_is(env: dict[str, str]) -> None:
    write(env, 'hook_command = ["sh", "-c", "a b"]\n')

    assert load({}, env).hook_command == ("sh", "-c", "a b")
    assert load({}, env | {"SHIPWRIGHTD_HOOK_COMMAND": "sh -c 'c d'"}).hook_command == ("sh", "-c", "c d")
    assert load({"hook_command": ""}, env).hook_command == ()


def test_secrets_stand_in_no_message(env: dict[str, str]) -> None:
    write(env, 'hook_url = "ftp://user:geheim@example.org"\nhook_command = [1, "geheim"]\n')

    with pytest.raises(ConfigError, match=r"hook_command in .* is not valid.*hook_url in .* is not valid") as caught:
        load({}, env)

    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.org", "https://example.org/"),
        ("https://user:pass@example.org:8/", "https://***@example.org:8/"),
        ("https://example.org/services/T0/B0/key", "https://example.org/***"),
        ("http://[::1]/?token=1#x", "http://[::1]/***"),
        ("", ""),
    ],
)
def test_of_a_hook_url_only_scheme_and_host_are_shown(url: str, shown: str) -> None:
    assert masked("hook_url", url) == shown
    assert masked("hook_command", url) == url


def test_pipe_in_the_place_of_a_file_is_refused_at_once(env: dict[str, str]) -> None:
    path = write(env, "")
    path.unlink()
    os.mkfifo(path)

    with pytest.raises(ConfigError, match=r"cannot read the settings .*: it is not a regular file"):
        load({}, env)


def test_file_that_cannot_be_read_is_refused(env: dict[str, str]) -> None:
    write(env, "").unlink()
    paths(env)[0].mkdir()

    with pytest.raises(ConfigError, match="cannot read the settings"):
        load({}, env)


def test_relative_config_home_is_ignored() -> None:
    assert paths({"XDG_CONFIG_HOME": "x"})[0] == Path("~/.config/shipwrightd/config.toml").expanduser()


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


def test_what_a_service_is_started_with_holds_no_secret(env: dict[str, str]) -> None:
    env |= {"SHIPWRIGHTD_RESCAN_S": "3", "SHIPWRIGHTD_HOOK_URL": "https://x/geheim", "SHIPWRIGHTD_HOME": "/h"}

    assert passed_on(env).keys() == {"SHIPWRIGHTD_RESCAN_S", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"}
    assert kept_back(env) == ["SHIPWRIGHTD_HOOK_URL"]


def test_home_counts_as_named_wherever_it_is(env: dict[str, str]) -> None:
    assert not names_home(None, env)
    assert names_home("/h", env)
    write(env, 'home = "/h"\n')
    assert names_home(None, env)
