"""The command line as a user meets it: real processes, their output and exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from shipwrightd.__main__ import status_arguments
from shipwrightd.db import WriterLock, lock_path

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = ("run", "backfill", "status", "migrate", "rebuild", "verify", "version", "quarantine")
ONE_LINE = re.compile(r"shipwrightd: [^\n]+ - [^\n]+\n")
HEAVY = ("typer", "rich", "structlog", "watchdog", "tomllib")


def environment(**more: str) -> dict[str, str]:
    """Return an environment that says nothing about shipwrightd but what the test says."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("SHIPWRIGHTD_", "XDG_"))}
    clean.pop("PYTHONUNBUFFERED", None)  # output would leave at another moment than it does for a user
    return clean | {"COLUMNS": "100"} | more


def call(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the program as a user would, but for warnings, which are errors here."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "shipwrightd", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=60,
        env=environment(**env),
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stat"], "No such command 'stat'"),
        (["status", "--jsn"], "No such option"),
        (["status", "--home"], "requires an argument"),
        (["status", "extra"], "unexpected extra argument"),
        (["backfill", "x"], "unexpected extra argument"),
        (["quarantine", "show"], "Missing argument"),
        (["quarantine", "show", "x"], "valid integer"),
        (["quarantine", "show", "1", "--as", "yaml"], "yaml"),
        (["--home", "/x", "status"], "No such option"),
        (["status", "a\x1b[2Jb"], "\\x1b"),
    ],
)
def test_wrong_usage_ends_with_2_one_line_and_where_to_read_on(arguments: list[str], said: str) -> None:
    done = call(*arguments)

    assert done.returncode == 2
    assert ONE_LINE.fullmatch(done.stderr)
    assert said in done.stderr
    assert "--help`" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("arguments", [[], ["quarantine"]])
def test_no_command_shows_the_help(arguments: list[str]) -> None:
    done = call(*arguments)

    assert done.returncode == 2
    assert "Commands:" in done.stdout + done.stderr


def test_help_names_every_command_and_every_exit_code() -> None:
    done = call("--help")

    assert done.returncode == 0
    listed = re.findall(r"^ +(\w+) {2,}\S", done.stdout.partition("Commands:")[2], re.MULTILINE)
    assert set(COMMANDS) <= set(listed)
    assert {"0", "1", "2", "65", "66", "73", "75", "78", "130"} <= set(listed)
    assert "..." not in done.stdout.partition("Commands:")[2], "a summary was cut"
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in {"version", "quarantine"}])
def test_help_of_each_command_tells_of_home_and_database(command: str) -> None:
    done = call(command, "--help")

    assert done.returncode == 0
    assert "SHIPWRIGHTD_HOME" in done.stdout
    assert "SHIPWRIGHTD_DB" in done.stdout


def test_version_is_told() -> None:
    assert re.fullmatch(r"shipwrightd \d+\.\d+\.\d+\S* \(Python [\d.]+\S*, SQLite [\d.]+\)\n", call("version").stdout)


@pytest.mark.parametrize("command", ["run", "backfill", "verify"])
def test_missing_home_ends_with_66_and_nothing_is_made(command: str, tmp_path: Path) -> None:
    done = call(command, "--home", tmp_path / "none")

    assert done.returncode == 66
    assert ONE_LINE.fullmatch(done.stderr)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command", [["rebuild"], ["quarantine", "retry"], ["quarantine", "list"], ["migrate", "--status"]]
)
def test_missing_database_ends_with_66_and_none_is_made(command: list[str], home: Path) -> None:
    done = call(*command, "--home", home)

    assert done.returncode == 66
    assert ONE_LINE.fullmatch(done.stderr)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("command", ["backfill", "migrate", "status", "quarantine list"])
def test_foreign_database_ends_with_65_and_stays_as_it_is(command: str, home: Path) -> None:
    (home / "notes.db").write_bytes(b"somebody's notes\n" * 100)

    done = call(*command.split(), "--home", home, "--db", home / "notes.db")

    assert done.returncode == 65
    assert ONE_LINE.fullmatch(done.stderr)
    assert (home / "notes.db").read_bytes() == b"somebody's notes\n" * 100


def test_folder_that_cannot_be_made_ends_with_73(home: Path) -> None:
    (home / "file").write_text("")

    done = call("backfill", "--home", home, "--db", home / "file" / "x.db")

    assert done.returncode == 73
    assert ONE_LINE.fullmatch(done.stderr)


@pytest.mark.parametrize("command", ["backfill", "migrate", "run"])
def test_second_writer_ends_with_75_and_names_the_first(command: str, home: Path, database: Path) -> None:
    lock = WriterLock(lock_path(database))
    lock.acquire({"pid": 4711})
    try:
        done = call(command, "--home", home)
    finally:
        lock.release()

    assert done.returncode == 75
    assert "4711" in done.stderr


def test_invalid_settings_end_with_78_on_one_line(home: Path) -> None:
    done = call("run", "--home", home, SHIPWRIGHTD_RESCAN_S="soon", SHIPWRIGHTD_WATCH="maybe")

    assert done.returncode == 78
    assert ONE_LINE.fullmatch(done.stderr)
    assert "SHIPWRIGHTD_RESCAN_S" in done.stderr
    assert "SHIPWRIGHTD_WATCH" in done.stderr


def test_shipwrights_own_database_name_is_warned_of(home: Path) -> None:
    done = call("backfill", "--home", home, "--db", home / "shipwright.db")

    assert done.returncode == 0
    assert done.stderr.startswith("shipwrightd: warning: ")


def test_migrate_makes_a_database_and_says_so_once(home: Path) -> None:
    first, second = call("migrate", "--home", home), call("migrate", "--home", home)
    status = call("migrate", "--status", "--home", home)

    assert re.match(r"\d+ applied\n  001_core\.sql\n", first.stdout)
    assert (second.stdout, second.returncode) == ("the schema is up to date\n", 0)
    assert status.stdout == second.stdout


def test_backfill_sums_up_in_plain_text_and_finds_nothing_new_the_second_time(home: Path) -> None:
    (home / "events.jsonl").write_text('{"ts_epoch":1,"type":"a"}\n' * 3)

    first, second = call("backfill", "--home", home), call("backfill", "--home", home)

    assert (first.returncode, first.stderr) == (0, "")
    header, *_, total = first.stdout.splitlines()
    assert re.split(r" {2,}", header) == [
        "SOURCE", "RECORDS", "ALREADY KNOWN", "SALVAGED", "QUARANTINED", "GAPS", "SECONDS",
    ]  # fmt: skip
    assert total.split()[:3] == ["total", "3", "0"]
    assert second.stdout.splitlines()[-1].split()[:3] == ["total", "0", "3"]


def test_check_fails_while_the_daemon_is_down_and_plain_status_does_not(home: Path, database: Path) -> None:
    assert database.exists()

    assert call("status", "--home", home).returncode == 0
    done = call("status", "--check", "--home", home)
    assert (done.returncode, "the daemon is not running" in done.stdout) == (1, True)


def test_both_ways_to_status_give_the_same_answer(home: Path, database: Path) -> None:
    """Plain ones do not load typer; a lone -- sends the same command through it."""
    assert database.exists()
    for options in (["--json"], ["--json", "--check"], [f"--db={database}", "--json"]):
        arguments = ["status", "--home", str(home), *options]
        quick, full = call(*arguments), call(*arguments, "--")

        assert status_arguments([*arguments, "--"]) is None
        assert (quick.returncode, quick.stderr) == (full.returncode, full.stderr)
        answers = [json.loads(done.stdout) for done in (quick, full)]
        assert [answer.pop("checked_at") is not None for answer in answers] == [True, True]
        assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "--help"],
        ["status", "--home"],
        ["status", "--home="],
        ["status", "--db", "--json"],
        ["status", "x"],
        [],
    ],
)
def test_what_is_not_plain_is_left_to_typer(arguments: list[str]) -> None:
    assert status_arguments(arguments) is None


def test_status_loads_no_library_it_does_not_need(home: Path) -> None:
    code = (
        "import sys; from shipwrightd.__main__ import guarded; "
        f"guarded(['status', '--home', {str(home)!r}]); print([m for m in {HEAVY!r} if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_empty_path_is_refused(home: Path) -> None:
    done = call("status", "--home", home, "--db", "")

    assert done.returncode == 78
    assert "--db is empty" in done.stderr


def test_closed_pipe_is_silent(home: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, "-m", "shipwrightd", "status", "--home", str(home)],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    os.close(writing)

    _, said = process.communicate(timeout=60)

    assert (process.returncode, said) == (128 + signal.SIGPIPE, b"")


INTERRUPT = """
import sys
from shipwrightd import __main__, commands
def backfill(home, db): raise KeyboardInterrupt
commands.backfill = backfill
sys.exit(__main__.guarded(["backfill"]))
"""


def test_interrupt_ends_with_130_and_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPT], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (130, "")


def test_quarantine_shows_bytes_as_they_were(home: Path) -> None:
    (home / "events.jsonl").write_bytes(b'{"a":1}\n\x1b[2J no record \xff\n')
    call("backfill", "--home", home)

    listed = json.loads(call("quarantine", "list", "--json", "--home", home).stdout)
    shown = call("quarantine", "show", listed[0]["id"], "--home", home)
    raw = subprocess.run(
        [sys.executable, "-m", "shipwrightd", "quarantine", "show", "1", "--as", "raw", "--home", str(home)],
        capture_output=True,
        check=True,
    )

    assert [(piece["source"], piece["offset"], piece["state"]) for piece in listed] == [("events.jsonl", 8, "kept")]
    assert "\\x1b[2J no record" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert raw.stdout == b"\x1b[2J no record \xff"


def test_quarantine_says_when_there_is_no_such_piece(home: Path, database: Path) -> None:
    assert database.exists()

    done = call("quarantine", "show", "99", "--home", home)

    assert (done.returncode, bool(ONE_LINE.fullmatch(done.stderr))) == (66, True)
    assert call("quarantine", "list", "--home", home).stdout == "nothing in quarantine\n"
