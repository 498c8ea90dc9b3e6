"""The command line as a user meets it: real processes, their output and exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from process import AS_ANY_USER

from shipwrightd.cli.status import plain_options
from shipwrightd.database import open_writer
from shipwrightd.database.lock import WriterLock, lock_path

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Eventually

COMMANDS = (
    "run",
    "backfill",
    "status",
    "report",
    "api",
    "export",
    "import",
    "backup",
    "prune",
    "migrate",
    "rebuild",
    "verify",
    "version",
    "quarantine",
    "service",
    "recover",
    "doctor",
    "config",
    "completion",
)
ONE_LINE = re.compile(r"shipwrightd: [^\n]+ - [^\n]+\n")
TORN = ("events", "pipeline_runs", "quarantine", "generations")
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
        (["status", "--jsn"], "No such option: --jsn, perhaps --json - see `shipwrightd status --help`"),
        (["status", "--wrong"], "No such option: --wrong - see `shipwrightd status --help`"),
        (["status", "--home"], "requires an argument - see `shipwrightd status --help`"),
        (["--home", "/x", "status"], "No such option: --home"),
        (["status", "extra"], "unexpected extra argument"),
        (["backfill", "x"], "unexpected extra argument"),
        (["quarantine", "show"], "Missing argument"),
        (["quarantine", "show", "x"], "'ID': Input should be a valid integer - see"),
        (["report", "dora", "--days", "x"], "'--days': Input should be a valid number - see"),
        (["report", "dora", "--format", "xml"], "'--format': 'xml' is not one of 'table', 'json', 'csv' - see"),
        (["quarantine", "show", "1", "--raw", "--json"], "exclude each other"),
        (["quarantine", "show", "9" * 30], "no ID is as large"),
        (["quarantine", "retry", "9" * 30], "no ID is as large"),
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
    assert {"0", "1", "2", "65", "66", "73", "75", "78", "130", "141"} <= set(listed)
    assert "..." not in done.stdout.partition("Commands:")[2], "a summary was cut"
    assert "\x1b" not in done.stdout
    assert re.search(r"Begin with `shipwrightd run`.*`shipwrightd backfill`\s+imports once", done.stdout, re.DOTALL)


@pytest.mark.parametrize(
    "command",
    [name for name in COMMANDS if name not in {"version", "quarantine", "report", "service", "config", "completion"}],
)
def test_help_of_each_command_tells_of_home_and_database(command: str) -> None:
    done = call(command, "--help")

    assert done.returncode == 0
    assert "SHIPWRIGHTD_HOME" in done.stdout
    assert "SHIPWRIGHTD_DB" in done.stdout


@pytest.mark.parametrize("group", ["report", "service", "config", "quarantine"])
def test_summary_of_each_command_of_a_group_fits_its_line(group: str) -> None:
    listed = call(group, "--help").stdout.partition("Commands:")[2].partition("Examples:")[0]
    assert listed
    assert "..." not in listed


def test_home_that_is_not_there_is_told_instead_of_what_to_do_with_it(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    shown = call("status", "--home", nowhere)
    assert (shown.returncode, f"{nowhere} (there is no such folder)" in shown.stdout) == (0, True)
    assert "name its folder with `--home DIR`" in shown.stdout
    assert "creates the database" not in shown.stdout
    for command in (["report", "runs"], ["api", "/api/team"]):
        done = call(*command, "--home", nowhere)
        assert done.returncode == 66
        assert ONE_LINE.fullmatch(done.stderr)
        assert f"no Shipwright home at {nowhere} - run Shipwright once" in done.stderr


def test_version_is_told() -> None:
    told = call("version").stdout

    assert re.fullmatch(
        r"shipwrightd \d+\.\d+\.\d+\S* \(schema \d+, SQLite [\d.]+, Python [\d.]+\S*\)\n",
        told,
    )
    assert call("--version").stdout == told


@pytest.mark.parametrize("command", ["run", "backfill", "verify", "migrate"])
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


@pytest.mark.parametrize("command", [["rebuild"], ["verify"], ["quarantine", "list"], ["quarantine", "retry"]])
def test_empty_file_for_a_database_ends_with_66_and_stays_empty(command: list[str], home: Path) -> None:
    (home / "x.db").touch()

    done = call(*command, "--home", home, "--db", home / "x.db")

    assert done.returncode == 66
    assert "has no shipwrightd tables yet" in done.stderr
    assert ONE_LINE.fullmatch(done.stderr)
    assert [(path.name, path.stat().st_size) for path in home.iterdir()] == [("x.db", 0)]


EVERY = ("run", "backfill", "migrate", "rebuild", "verify", "status", "quarantine list", "quarantine retry")


@pytest.mark.parametrize("command", EVERY)
def test_database_of_another_release_ends_with_65_and_no_lock_beside_it(
    command: str, home: Path, database: Path
) -> None:
    db = open_writer(database)
    db.execute("INSERT INTO schema_version VALUES (9999, '9999_later.sql', '', '')")
    db.close()

    done = call(*command.split(), "--home", home)

    assert done.returncode == 65
    assert ONE_LINE.fullmatch(done.stderr)
    assert not lock_path(database).exists()


@pytest.mark.parametrize("command", [command for command in EVERY if command not in {"run", "backfill"}])
def test_damaged_database_ends_with_65_and_what_to_do(command: str, home: Path, database: Path) -> None:
    with database.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 8_000)
    damaged = database.read_bytes()

    done = call(*command.split(), "--home", home)

    assert done.returncode == 65
    assert ONE_LINE.fullmatch(done.stderr)
    assert f"the database {database} is damaged" in done.stderr
    assert "the next `shipwrightd run` or `backfill` moves it aside and rebuilds it from its pages" in done.stderr
    assert (database.read_bytes(), lock_path(database).exists()) == (damaged, False)


@pytest.mark.parametrize("command", ["rebuild", "verify"])
def test_damage_that_shows_late_ends_with_65_too(command: str, home: Path, database: Path) -> None:
    (home / "events.jsonl").write_text('{"ts_epoch":1,"type":"a"}\n' * 3)
    db = open_writer(database)
    pages = [db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).get for name in TORN]
    size = db.execute("PRAGMA page_size").get
    db.close()
    with database.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)

    done = call(command, "--home", home)

    assert done.returncode == 65
    assert ONE_LINE.fullmatch(done.stderr)
    assert f"the database {database} is damaged" in done.stderr


@pytest.mark.parametrize("command", EVERY)
def test_folder_in_place_of_the_database_ends_with_73_and_no_lock_beside_it(command: str, home: Path) -> None:
    (home / "x.db").mkdir()

    done = call(*command.split(), "--home", home, "--db", home / "x.db")

    assert done.returncode == 73
    assert ONE_LINE.fullmatch(done.stderr)
    assert [path.name for path in home.iterdir()] == ["x.db"]


def test_database_in_a_folder_that_cannot_be_written_in_is_read(home: Path, database: Path) -> None:
    as_any_user: tuple[str, ...] = ()
    if os.geteuid() == 0:
        as_any_user = AS_ANY_USER
        if not shutil.which("setpriv"):
            pytest.skip("root may write anywhere, and there is no setpriv to make it less")
    before = database.read_bytes()
    database.parent.chmod(0o500)
    try:
        codes = {
            command: subprocess.run(
                [*as_any_user, sys.executable, "-m", "shipwrightd", *command.split(), "--home", str(home)],
                capture_output=True,
                check=False,
                env=environment(),
            ).returncode
            for command in ("status", "verify", "quarantine list", "backfill")
        }
    finally:
        database.parent.chmod(0o700)

    assert codes == {"status": 0, "verify": 0, "quarantine list": 0, "backfill": 73}
    assert [path.name for path in database.parent.iterdir()] == [database.name]
    assert database.read_bytes() == before


@pytest.mark.parametrize("command", ["backfill", "migrate", "status", "quarantine list"])
def test_foreign_database_ends_with_65_and_stays_as_it_is(command: str, home: Path) -> None:
    (home / "notes.db").write_bytes(b"somebody's notes\n" * 100)

    done = call(*command.split(), "--home", home, "--db", home / "notes.db")

    assert done.returncode == 65
    assert ONE_LINE.fullmatch(done.stderr)
    assert [path.name for path in home.iterdir()] == ["notes.db"]
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


def test_one_difference_is_counted_as_one(home: Path) -> None:
    (home / "events.jsonl").write_text('{"ts_epoch":1,"type":"a"}\n')
    call("backfill", "--home", home)
    db = open_writer(home / "shipwrightd" / "shipwright.db")
    db.execute("DELETE FROM events")
    db.close()

    done = call("verify", "--home", home)

    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "1 difference")


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

        assert plain_options([*arguments[1:], "--"]) is None
        assert (quick.returncode, quick.stderr) == (full.returncode, full.stderr)
        answers = [json.loads(done.stdout) for done in (quick, full)]
        assert [answer.pop("checked_at") is not None for answer in answers] == [True, True]
        assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--home"],
        ["--home="],
        ["--db", "--json"],
        ["--json", "--format", "prometheus"],
        ["--format", "xml"],
        ["x"],
    ],
)
def test_what_is_not_plain_is_left_to_typer(arguments: list[str]) -> None:
    assert plain_options(arguments) is None


@pytest.mark.parametrize("option", [None, "--json", "--check"])
def test_status_loads_no_library_it_does_not_need(home: Path, option: str | None) -> None:
    (home / "events.jsonl").write_text('{"ts_epoch":1,"type":"a"}\n')
    assert call("backfill", "--home", home).returncode == 0
    arguments = ["status", "--home", str(home), *([option] if option else [])]
    code = (
        "import sys; from shipwrightd.__main__ import guarded; "
        f"guarded({arguments!r}); print([m for m in {HEAVY!r} if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "events.jsonl" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_empty_path_is_refused(home: Path) -> None:
    done = call("status", "--home", home, "--db", "")

    assert done.returncode == 78
    assert '--db is "", allowed: a path' in done.stderr


ANSWERING = ("status", "status --check", "verify", "quarantine list", "quarantine show 1 --raw", "version", "--help")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", [*ANSWERING, "--version", "quarantine --help"])
def test_closed_pipe_is_silent(home: Path, command: str, unbuffered: str) -> None:
    (home / "events.jsonl").write_bytes(b"no record\n")
    if command.startswith(("verify", "quarantine")):
        call("backfill", "--home", home)
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "shipwrightd", *command.split()],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment(PYTHONUNBUFFERED=unbuffered, SHIPWRIGHTD_HOME=str(home)),
    )
    os.close(writing)

    _, said = process.communicate(timeout=60)

    assert (process.returncode, said) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_streams_closed_from_the_start_change_no_exit_code(home: Path, closed: str) -> None:
    (home / "events.jsonl").write_bytes(b"no record\n")
    call("backfill", "--home", home)
    codes = {
        command: subprocess.run(
            ["sh", "-c", f'"$0" -W error -m shipwrightd {command} {closed}', sys.executable],
            env=environment(SHIPWRIGHTD_HOME=str(home)),
            capture_output=True,
            check=False,
        )
        for command in (*ANSWERING, "stat", "backfill --db /dev/null/x")
    }

    assert {command: done.returncode for command, done in codes.items()} == (
        dict.fromkeys(ANSWERING, 0) | {"status --check": 1, "stat": 2, "backfill --db /dev/null/x": 73}
    )
    assert not any(b"Traceback" in done.stderr for done in codes.values())


@pytest.mark.parametrize("how", ["2>&-", ">&- 2>&-", "2>&1 | head -n 1"])
def test_run_goes_on_when_nobody_takes_its_log(home: Path, how: str, eventually: Eventually) -> None:
    events = home / "events.jsonl"
    events.write_text('{"ts_epoch":1,"type":"a"}\n')
    started = subprocess.Popen(
        ["sh", "-c", f'"$0" -W error -m shipwrightd run {how}', sys.executable],
        env=environment(SHIPWRIGHTD_HOME=str(home), SHIPWRIGHTD_LOG_LEVEL="debug"),
        stdout=subprocess.DEVNULL,
    )

    def stored() -> int:
        sources = json.loads(call("status", "--json", "--home", home).stdout)["sources"]
        return sum(source["records"] for source in sources)

    daemon = 0
    try:
        eventually(lambda: stored() == 1, 20)
        daemon = json.loads(call("status", "--json", "--home", home).stdout)["daemon"]["pid"]
        for number in (2, 3, 4):  # each is logged, into nothing
            with events.open("a") as file:
                file.write('{"ts_epoch":1,"type":"a"}\n')
            eventually(lambda number=number: stored() == number, 20)  # type: ignore[misc]
    finally:
        os.kill(daemon or started.pid, signal.SIGTERM)
        code = started.wait(20)

    assert code == 0


INTERRUPT = """
import sys
from shipwrightd import __main__
from shipwrightd.daemon import catch_up
def backfill(*_): raise KeyboardInterrupt
catch_up.backfill = backfill
sys.exit(__main__.guarded(["backfill"]))
"""


def test_interrupt_ends_with_130_and_no_traceback(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPT],
        capture_output=True,
        text=True,
        check=False,
        env=environment(SHIPWRIGHTD_HOME=str(home)),
    )

    assert (done.returncode, done.stderr) == (130, "")


def test_quarantine_shows_bytes_as_they_were(home: Path) -> None:
    (home / "events.jsonl").write_bytes(b'{"a":1}\n\x1b[2J no record \xff\n')
    call("backfill", "--home", home)

    listed = json.loads(call("quarantine", "list", "--json", "--home", home).stdout)
    shown = call("quarantine", "show", listed[0]["id"], "--home", home)
    raw = subprocess.run(
        [sys.executable, "-m", "shipwrightd", "quarantine", "show", "1", "--raw", "--home", str(home)],
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
    assert call("quarantine", "retry", "99", "--home", home).returncode == 66
    assert call("quarantine", "list", "--home", home).stdout == "nothing in quarantine\n"


def test_backfill_says_what_it_could_not_read_and_ends_with_73(home: Path) -> None:
    (home / "events.jsonl").mkdir()
    (home / "budget.json").write_text('{"daily_budget_usd": 5, "enabled": true}')
    done = call("backfill", "--home", str(home))
    assert done.returncode == 73
    assert "budget.json" in done.stdout
    assert "cannot read events.jsonl" in done.stderr.splitlines()[-1]
