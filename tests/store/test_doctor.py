"""doctor on real files and databases: what it finds, and that it changes nothing."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest
from world import World, line

from shipwrightd.config import Resolved
from shipwrightd.daemon.catch_up import backfill
from shipwrightd.daemon.watch import Watch
from shipwrightd.database import open_writer
from shipwrightd.database.lock import WriterLock, lock_path
from shipwrightd.database.migrate import known
from shipwrightd.doctor import Finding, Target, machine, sources
from shipwrightd.doctor.bundle import COUNTS
from shipwrightd.doctor.database import expected
from shipwrightd.doctor.examine import Diagnosis, answer, examine, guarded, page
from shipwrightd.documents.kinds import DOCUMENTS
from shipwrightd.journals import JOURNALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KNOWN = known()[-1].version
NOTHING = Resolved([], [], [])


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a home whose journal is in the database; its lines are of now."""
    made = World(tmp_path)
    made.home.chmod(0o755)
    made.append(20)
    backfill(made.home, made.db_path)
    return made


def target(
    world: World, *, now: float | None = None, deep: bool = False, variables: dict[str, str] | None = None
) -> Target:
    return Target(
        home=world.home,
        db=world.db_path,
        now=time.time() if now is None else now,
        user=os.geteuid(),
        journals={journal.name: journal.siblings for journal in JOURNALS},
        documents=[kind.pattern for kind in DOCUMENTS],
        settings=NOTHING,
        variables=variables or {},
        deep=deep,
    )


def ask(world: World, **options: float) -> Diagnosis:
    return examine(target(world, **options))  # type: ignore[arg-type]


def of(found: Diagnosis, check: str) -> list[Finding]:
    return [finding for finding in found.findings if finding.check == check]


def state(found: Diagnosis, check: str) -> str:
    """Return the worst state of a check."""
    states = [finding.state for finding in of(found, check)]
    return next(state for state in ("fail", "warn", "ok") if state in states)


def everything_in(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return all there is below a folder: content, mode, owner, time.

    Of a -shm only that it is there: it is memory that readers of a log share, and holds nothing else.
    """
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        kept = () if path.name.endswith("-shm") else (content, status.st_mtime_ns)
        found[str(path)] = (status.st_mode, status.st_uid, status.st_ino, *kept)
    return found


def write(world: World, sql: str) -> None:
    db = open_writer(world.db_path)
    db.execute(sql)
    db.close()


def test_healthy_home_has_nothing_to_fix(world: World) -> None:
    found = ask(world)

    assert found.ok
    assert [finding.check for finding in found.findings if finding.state != "ok"] == ["lock"]
    assert all(finding.todo for finding in found.findings if finding.state != "ok")
    assert page(found, 80).splitlines()[-1] == "1 warning"
    assert max(len(text) for text in page(found, 80).splitlines()) <= 80
    assert {"ok", "version", "checked_at", "home", "database", "deep", "findings"} == set(answer(found))


def damage(world: World) -> None:
    """Overwrite the page that events_type begins with."""
    db = open_writer(world.db_path)
    page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events_type'").get
    db.close()
    with world.db_path.open("r+b") as file:
        file.seek((page - 1) * 8192)
        file.write(b"\xff" * 8192)


def leave_a_log(world: World) -> None:
    """Leave the database as a killed daemon does: with a log that holds rows."""
    copy = world.db_path.with_name("copy")
    db = open_writer(world.db_path)
    db.execute("UPDATE checkpoints SET records = 21")
    for end in ("", "-wal", "-shm"):
        shutil.copy2(world.db_path.with_name(world.db_path.name + end), copy.with_name(copy.name + end))
    db.close()
    for end in ("", "-wal", "-shm"):
        copy.with_name(copy.name + end).rename(world.db_path.with_name(world.db_path.name + end))


def go_to_the_future(world: World) -> None:
    write(world, "INSERT INTO schema_version VALUES (999, 'x', 'y', '2026-01-01T00:00:00Z')")


def replace_by(path: Path, make: Callable[[Path], object]) -> None:
    """Put something else at a path."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    make(path)


KINDS: dict[str, Callable[[World], object]] = {
    "healthy": lambda _: None,
    "left by a kill": leave_a_log,
    "damaged": damage,
    "cut short": lambda world: os.truncate(world.db_path, 10_000),
    "empty": lambda world: os.truncate(world.db_path, 0),
    "foreign": lambda world: world.db_path.write_bytes(b"somebody's notes"),
    "newer": go_to_the_future,
    "missing": lambda world: world.db_path.unlink(),
    "no folder": lambda world: shutil.rmtree(world.db_path.parent),
    "no home": lambda world: shutil.rmtree(world.home),
    "home is a file": lambda world: replace_by(world.home, Path.touch),
    "database is a folder": lambda world: replace_by(world.db_path, Path.mkdir),
    "database is a pipe": lambda world: replace_by(world.db_path, os.mkfifo),
    "lock is a pipe": lambda world: replace_by(lock_path(world.db_path), os.mkfifo),
    "journal is a pipe": lambda world: replace_by(world.events, os.mkfifo),
}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_changed_whatever_is_wrong(world: World, tmp_path: Path, kind: str) -> None:
    KINDS[kind](world)
    pipes = [path for path in tmp_path.rglob("*") if path.is_fifo()]
    before = everything_in(tmp_path)

    found = ask(world)

    assert everything_in(tmp_path) == before
    assert pipes == [path for path in tmp_path.rglob("*") if path.is_fifo()]
    assert found.ok == (kind in {"healthy", "left by a kill", "empty", "missing", "no folder", "journal is a pipe"})
    assert all(finding.todo for finding in found.findings if finding.state != "ok")
    assert page(found, 80)


def test_log_that_a_kill_left_is_read(world: World) -> None:
    leave_a_log(world)

    assert "21" in str(apsw.Connection(str(world.db_path)).execute("SELECT records FROM checkpoints").get)
    assert state(ask(world), "integrity") == "ok"


@pytest.mark.parametrize("deep", [False, True])
def test_damage_is_found(world: World, *, deep: bool) -> None:
    damage(world)

    found = ask(world, deep=deep)

    assert state(found, "integrity") == "fail"
    assert "moves the file aside" in of(found, "integrity")[0].todo


def test_index_that_lost_an_entry_is_found_by_a_deep_look(world: World) -> None:
    db = apsw.Connection(str(world.db_path))  # ours cannot
    db.execute("PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, '(type)', '(stage)') "
               "WHERE name = 'events_type'")  # fmt: skip
    db.close()

    found = ask(world, deep=True)

    assert state(found, "integrity") == "fail"
    assert state(found, "tables") == "fail"


@pytest.mark.parametrize(
    ("sql", "check", "said", "text"),
    [
        ("DROP INDEX events_type", "tables", "warn", "indexes are missing: events_type"),
        ("ALTER TABLE budgets ADD COLUMN more TEXT", "tables", "fail", "tables were changed: budgets"),
        ("CREATE TABLE theirs (a)", "tables", "warn", "1 tables, indexes or views in the database do not belong to"),
        (
            f"DELETE FROM schema_version WHERE version = {KNOWN}",  # noqa: S608 - a number
            "schema",
            "warn",
            f"schema version {KNOWN - 1}, this release has {KNOWN}",
        ),
        ("UPDATE schema_version SET checksum = 'x' WHERE version = 2", "schema", "fail", "migration 2 (002_documents"),
        ("PRAGMA journal_mode = DELETE", "journal_mode", "warn", "the journal mode is rollback"),
        (
            "INSERT INTO source_errors VALUES ('costs.json', 'costs.json cannot be used: x', '2026-01-01T00:00:00Z')",
            "source_errors",
            "fail",
            "costs.json cannot be used: x (since 2026-01-01T00:00:00Z)",
        ),
        (
            "INSERT INTO source_errors VALUES ('', 'watching is degraded: x', '2026-01-01T00:00:00Z')",
            "source_errors",
            "warn",
            "watching is degraded: x",
        ),
        (
            (
                "INSERT INTO quarantine (source, offset, length, reason, raw, seen_at) "
                "VALUES ('a', 0, 1, 'no JSON', x'00', '')"
            ),
            "quarantine",
            "warn",
            "1 kept (1 no JSON)",
        ),
        (
            "INSERT INTO gaps (source, reason, detected_at) VALUES ('a', 'no_overlap', '2026-01-01T00:00:00Z')",
            "gaps",
            "warn",
            "1 in 1 sources, the last detected at 2026-01-01T00:00:00Z",
        ),
    ],
)
def test_what_the_database_holds_is_judged(world: World, sql: str, check: str, said: str, text: str) -> None:
    write(world, sql)

    found = ask(world)

    assert state(found, check) == said
    assert any(finding.text.startswith(text) for finding in of(found, check))


def test_foreign_and_newer_databases_are_named(world: World) -> None:
    go_to_the_future(world)
    assert "this release knows" in of(ask(world), "schema")[0].text
    assert not of(ask(world), "lag"), "what cannot be read is not judged"

    KINDS["foreign"](world)
    (finding,) = of(ask(world), "database")
    assert (finding.state, "header is destroyed" in finding.text) == ("fail", True), "we have worked in that place"
    lock_path(world.db_path).unlink()
    (finding,) = of(ask(world), "database")
    assert (finding.state, "not a shipwrightd database" in finding.text) == ("fail", True)


def test_modes_that_let_others_in_are_reported_with_the_command_that_fixes_them(world: World) -> None:
    world.db_path.chmod(0o644)
    world.db_path.parent.chmod(0o755)
    world.home.chmod(0o777)

    found = ask(world)

    assert f"`chmod 0600 {world.db_path}`" in of(found, "files")[0].todo
    assert f"`chmod 0700 {world.db_path.parent}`" in of(found, "folder")[0].todo
    assert f"`chmod go-w {world.home}`" in of(found, "home")[0].todo


def test_lock_that_is_a_link_fails(world: World, tmp_path: Path) -> None:
    lock = lock_path(world.db_path)
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")

    assert state(ask(world), "files") == "fail"


def test_holder_of_the_lock_is_named(world: World) -> None:
    lock = WriterLock(lock_path(world.db_path))
    lock.acquire({"pid": os.getpid(), "command": "run", "home": "/elsewhere", "version": "0.0.1"})
    try:
        found = ask(world)
    finally:
        lock.release()

    assert f"held by run (pid {os.getpid()}" in of(found, "lock")[0].text
    assert (state(found, "lock_home"), state(found, "lock_version")) == ("warn", "warn")


def test_checkpoint_is_compared_with_the_file_as_ingesting_wrote_it(world: World) -> None:
    db = apsw.Connection(str(world.db_path))
    _, *checkpoint = next(db.execute(sources.CHECKPOINTS))
    db.close()
    assert sources.fit(world.events, checkpoint) == "fits"
    world.append(1)
    assert sources.fit(world.events, checkpoint) == "fits", "what was appended is behind it"
    whole = world.events.read_bytes()
    world.replace(whole)
    assert sources.fit(world.events, checkpoint) == "moved"
    world.events.write_bytes(whole.replace(b"tick", b"tock"))
    assert sources.fit(world.events, checkpoint) == "changed"
    world.events.write_bytes(whole[:100])
    assert sources.fit(world.events, checkpoint) == "shorter"
    world.events.unlink()
    assert sources.fit(world.events, checkpoint) == "absent"


def test_rotation_while_the_daemon_is_down_is_no_fault(world: World) -> None:
    world.rotate()
    world.append(2)

    found = ask(world)

    assert (state(found, "checkpoints"), found.ok) == ("ok", True)
    assert "the next start resumes in it" in of(found, "checkpoints")[0].text
    assert state(found, "lag") == "warn"


def test_what_is_from_the_future_is_reported(world: World) -> None:
    found = ask(world, now=time.time() - 7_200)
    said = [finding.text for finding in of(found, "clock")]
    assert any(text == "events.jsonl has a modification time 120 min in the future" for text in said)
    assert any("the clock was set back" in text for text in said)

    ahead = int(time.time()) + 10 * 86_400
    with world.events.open("ab") as file:
        file.write(line(21, ts_epoch=ahead))
    backfill(world.home, world.db_path)
    assert "the newest record of events.jsonl is from" in of(ask(world), "clock")[0].text


def test_databases_that_were_set_aside_are_told(world: World) -> None:
    assert state(ask(world), "recoveries") == "ok"

    name = world.db_path.name + ".corrupt-20260101T000000Z"
    db = open_writer(world.db_path)
    db.execute("INSERT INTO recoveries VALUES (1, '2026-01-01T00:00:00Z', '', '', ?, 5, 1, 2, '{}')", (name,))
    db.close()
    assert of(ask(world), "recoveries")[0].text.endswith("at 2026-01-01T00:00:00Z; 2 records were lost")

    world.db_path.with_name(name).write_bytes(b"x" * 1024)
    (finding,) = of(ask(world), "recoveries")
    assert (finding.state, "the damaged file is kept (1.0 KiB)" in finding.text) == ("warn", True)
    assert f"keep them as long as you may need the lost records; `rm {world.db_path.with_name(name)}*`" in finding.todo

    world.db_path.with_name(name + "-wal").write_bytes(b"x" * 1024)
    write(world, "UPDATE recoveries SET lost = 0")
    (finding,) = of(ask(world), "recoveries")
    assert (finding.facts["set_aside_bytes"], "they are not needed" in finding.todo) == (2048, True)


def test_every_table_is_counted_for_the_archive() -> None:
    made = {name for name, (kind, _) in expected(KNOWN).items() if kind == "table"}
    assert set(re.findall(r"FROM (\w+)", COUNTS)) == {name for name in made if not name.startswith("memory_search")}


def test_shipwright_is_named_with_its_version_and_when_it_wrote(world: World, tmp_path: Path) -> None:
    script = tmp_path / "sw"
    script.write_text('#!/bin/sh\n# Shipwright\nVERSION="3.0.0"\n')
    script.chmod(0o755)
    (tmp_path / "shipwright").write_text("another program")
    (tmp_path / "shipwright").chmod(0o755)
    os.utime(world.events, (0, 0))
    found = sources.shipwright(target(world, variables={"PATH": str(tmp_path)}))
    written = "the last events were written at 1970-01-01T00:00:00Z"
    assert (found.state, found.text) == ("ok", f"version 3.0.0 ({script}); {written}")
    assert found.facts == {"version": "3.0.0"}

    world.events.unlink()
    found = sources.shipwright(target(world, variables={"PATH": str(tmp_path / "nothing")}))
    assert (found.state, found.facts["version"]) == ("warn", None)


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
def test_watches_of_this_user_are_counted(world: World) -> None:
    before = machine.watches_used(os.geteuid())
    watch = Watch(threading.Event(), lambda _: True)
    watch.check([world.home])
    assert machine.watches_used(os.geteuid()) > before
    watch.stop()

    (finding,) = of(ask(world), "watching")
    assert finding.facts["folders"] == 1 + (world.home / "heartbeats").is_dir()


def test_shipwrights_own_database_beside_a_budget_is_warned_of(world: World) -> None:
    (world.home / "shipwright.db").write_bytes(b"SQLite format 3\0")
    assert state(ask(world), "shipwright_database") == "ok"

    (world.home / "budget.json").write_text('{"enabled": true, "daily_budget_usd": 5}')
    assert state(ask(world), "shipwright_database") == "warn"

    shutil.copy(world.db_path, world.home / "shipwright.db")
    assert state(ask(world), "shipwright_database") == "fail"


def test_an_error_in_a_check_is_a_finding() -> None:
    def x() -> Iterator[Finding]:
        yield Finding("x", "ok", "")
        raise KeyError("geheim")

    first, second = guarded(x)

    assert (first.state, second.state, second.private) == ("ok", "warn", True)
    assert second.text == "could not be checked: KeyError: 'geheim'"
