"""Export and backup as a user meets them: processes, files, pipes, and what goes wrong."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from obstacles import fill, small_disk
from process import call, places
from world import World, eventually, line

from shipwrightd.database import open_writer

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

MANY_PIECES = """
INSERT INTO quarantine (source, offset, length, reason, raw, seen_at)
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1500000)
SELECT 'events.jsonl', n, 1, 'not_json', x'00', '2026-01-05T12:00:00Z' FROM numbers"""
ONE_LINE = re.compile(r"shipwrightd: [^\n]+\n")


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path.resolve())
    made.append(20)
    with made.events.open("ab") as file:
        file.write(b"no record\n")
    made.append(20)
    assert call(made, "backfill").returncode == 0
    return made


def left_over(folder: Path) -> list[str]:
    """Return the names of unfinished files."""
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_export_writes_journal_lines_to_stdout(world: World) -> None:
    done = call(world, "export")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.encode() == b"".join(line(seq) for seq in range(1, 41))


def test_exported_lines_are_imported_as_the_same_events(world: World, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other")
    assert call(world, "export", "--out", str(other.events)).returncode == 0
    assert call(other, "backfill").returncode == 0

    assert other.stored() == world.stored()


@pytest.mark.parametrize("form", ["jsonl", "json", "csv", "parquet"])
def test_file_is_whole_private_and_told_of(world: World, tmp_path: Path, form: str) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    file = tmp_path / f"events.{form}"
    done = call(world, "export", "--format", form, "--out", str(file))

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"shipwrightd: 40 rows of events in {file}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert not left_over(tmp_path)


def test_existing_file_is_replaced_only_by_force(world: World, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("mine")
    refused = call(world, "export", "--out", str(file))

    assert (refused.returncode, file.read_text()) == (73, "mine")
    assert ONE_LINE.fullmatch(refused.stderr)
    assert call(world, "export", "--out", str(file), "--force").returncode == 0
    assert len(file.read_text().splitlines()) == 40


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["export", "--table", "x\x1b[2J"], 2, "no such table; choose from events, pipeline_runs"),
        (["export", "--table", "budgets", "--since", "7d"], 2, "rows of budgets have no time"),
        (["export", "--since", "yesterday"], 2, "--since yesterday: not a time"),
        (["export", "--since", "2026-01-02", "--until", "2026-01-01"], 2, "the period is empty"),
        (["export", "--format", "xml"], 2, "'xml'"),
        (["export", "--out", "/"], 73, "/ is a folder"),
        (["export", "--out", "/nowhere/there/x"], 73, "No such file or directory"),
        (["export", "--out", "/proc/x"], 73, "cannot write /proc/x"),
        (["backup", "/"], 73, "/ is a folder"),
        (["backup", "/nowhere/there/x"], 73, "No such file or directory"),
        (["backup"], 2, "Missing argument"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_a_code(world: World, arguments: list[str], code: int, said: str) -> None:
    done = call(world, *arguments)

    assert (done.returncode, done.stdout) == (code, "")
    assert ONE_LINE.fullmatch(done.stderr)
    assert said in done.stderr


@pytest.mark.parametrize("command", [["export"], ["backup", "copy.db"]])
def test_without_a_database_there_is_nothing_to_take(tmp_path: Path, command: list[str]) -> None:
    done = call(World(tmp_path), *command)

    assert (done.returncode, done.stdout) == (66, "")
    assert ONE_LINE.fullmatch(done.stderr)


def test_reader_that_has_enough_ends_it_quietly(world: World) -> None:
    world.append(5_000)
    call(world, "backfill")
    command = [sys.executable, "-m", "shipwrightd", "export", *places(world)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as export:
        assert export.stdout is not None
        assert export.stderr is not None
        assert export.stdout.readline() == line(1)
        export.stdout.close()
        assert export.stderr.read() == b""
        assert export.wait() == 141


@pytest.mark.parametrize("form", ["json", "parquet"])
def test_full_device_behind_stdout_is_told(world: World, form: str) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-m", "shipwrightd", "export", "--format", form, *places(world)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert (done.returncode, done.stderr) == (73, "shipwrightd: No space left on device\n")


def test_parquet_goes_into_a_pipe_but_not_to_a_terminal(world: World) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    command = [sys.executable, "-m", "shipwrightd", "export", "--format", "parquet", *places(world)]
    piped = subprocess.run(command, capture_output=True, check=True).stdout
    ours, theirs = pty.openpty()
    shown = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    os.close(ours)

    assert parquet.read_table(pa.BufferReader(piped)).num_rows == 40
    assert shown.returncode == 2
    assert "cannot be shown on a terminal" in shown.stderr


def test_parquet_without_pyarrow_says_what_to_install(world: World, tmp_path: Path) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError")
    done = subprocess.run(
        [sys.executable, "-m", "shipwrightd", "export", "--format", "parquet", "--out", "x", *places(world)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )

    assert done.returncode == 78
    assert ONE_LINE.fullmatch(done.stderr)
    assert "pip install 'shipwrightd[parquet]'" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_export_leaves_nothing(world: World, tmp_path: Path, number: signal.Signals) -> None:
    with closing(open_writer(world.db_path)) as db:
        db.execute(MANY_PIECES)  # seconds of work, so that the signal meets it
    folder = tmp_path / "exports"
    folder.mkdir()
    command = [sys.executable, "-m", "shipwrightd", "export", "--table", "quarantine", "--out", str(folder / "x")]
    with subprocess.Popen([*command, *places(world)], stderr=subprocess.PIPE) as export:
        eventually(lambda: left_over(folder))
        export.send_signal(number)
        assert export.wait() == 130

    assert not list(folder.iterdir())


def test_full_disk_leaves_no_half_export_and_no_half_backup(world: World, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        fill(disk)
        exported = call(world, "export", "--out", str(disk / "x.jsonl"))
        backed_up = call(world, "backup", str(disk / "x.db"))

        for done in (exported, backed_up):
            assert done.returncode == 73
            assert ONE_LINE.fullmatch(done.stderr)
            assert str(disk) in done.stderr
        assert [path.name for path in disk.iterdir()] == ["ballast"]


def test_backup_says_what_it_has(world: World, tmp_path: Path) -> None:
    done = call(world, "backup", str(tmp_path / "copy.db"))

    assert (done.returncode, done.stderr) == (0, "")
    newest = json.loads(line(40))["ts"]
    assert re.fullmatch(
        rf"{tmp_path}/copy.db: [0-9.]+ KiB, schema [0-9]+, 40 events, the newest of {newest}; checked\n", done.stdout
    )
    assert call(world, "backup", str(tmp_path / "copy.db")).returncode == 73
    assert call(world, "backup", str(tmp_path / "copy.db"), "--force").returncode == 0


def test_backup_opens_and_verifies_in_the_place_of_the_database(world: World, tmp_path: Path) -> None:
    assert call(world, "backup", str(tmp_path / "copy.db")).returncode == 0
    world.append(10)
    for path in world.db_path.parent.glob("*"):
        path.unlink()
    (tmp_path / "copy.db").rename(world.db_path)

    assert call(world, "backfill").returncode == 0
    assert call(world, "verify").returncode == 0
    assert world.stored() == list(range(1, 51))


@pytest.mark.parametrize("end", ["", "-wal"])
def test_backup_onto_the_database_itself_is_refused(world: World, end: str) -> None:
    target = world.db_path.with_name(world.db_path.name + end)
    before = world.db_path.read_bytes()
    done = call(world, "backup", str(target), "--force")

    assert done.returncode == 73
    assert "belongs to the database in use" in done.stderr
    assert world.db_path.read_bytes() == before


def test_what_a_killed_export_left_goes_with_the_next_but_nothing_that_is_being_written(
    world: World, tmp_path: Path
) -> None:
    with closing(open_writer(world.db_path)) as db:
        db.execute(MANY_PIECES)
    folder = tmp_path / "exports"
    folder.mkdir()
    command = [sys.executable, "-m", "shipwrightd", "export", "--table", "quarantine", "--out", str(folder / "x")]
    with subprocess.Popen([*command, *places(world)], stderr=subprocess.DEVNULL) as export:
        eventually(lambda: left_over(folder))
        (unfinished,) = left_over(folder)
        os.utime(folder / unfinished, (0, 0))
        call(world, "export", "--out", str(folder / "y"))
        written = left_over(folder)
        export.kill()
    os.utime(folder / unfinished, (0, 0))
    stranger = folder / ".shipwrightd-notes"
    stranger.touch()
    os.utime(stranger, (0, 0))

    call(world, "export", "--out", str(folder / "z"))

    assert written == [unfinished]
    assert sorted(path.name for path in folder.iterdir()) == [".shipwrightd-notes", "y", "z"]


def test_an_export_of_nothing_says_so_beside_it(world: World) -> None:
    done = call(world, "export", "--since", "2020-01-01", "--until", "2020-01-31")

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "shipwrightd: no rows of events from 2020-01-01T00:00:00Z until 2020-02-01T00:00:00Z\n"
