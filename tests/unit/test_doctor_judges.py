"""What doctor's checks conclude from what a machine says of itself."""

from __future__ import annotations

import os
import resource
import stat
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from shipwrightd import __version__
from shipwrightd.config import Resolved, Value
from shipwrightd.config.files import File
from shipwrightd.database import migrate
from shipwrightd.doctor import Finding, Target, database, machine, sources
from shipwrightd.doctor.machine import Entry
from shipwrightd.service import State

GIB = 1 << 30


TARGET = Target(Path("/h"), Path("/d/x.db"), 990.0, 7, {}, [], Resolved([], [], []), {})


def space(free: int, inodes: int | None = 9, *, read_only: bool = False) -> os.statvfs_result:
    counted = 0 if inodes is None else 10
    return os.statvfs_result((1, 1, 10 * GIB, free, free, counted, inodes or 0, inodes or 0, read_only, 255))


def only(found: object) -> Finding:
    """Return the one finding; one that is not ok says what to do."""
    (finding,) = [found] if isinstance(found, Finding) else list(found)  # type: ignore[call-overload]
    assert isinstance(finding, Finding)
    assert (finding.state == "ok") == (not finding.todo), finding
    return finding


@pytest.mark.parametrize(
    ("version", "state"),
    [("3.51.2", "warn"), ("3.40.1", "warn"), ("3.44.6", "ok"), ("3.50.7", "ok"), ("3.51.3", "ok"), ("3.6.23", "ok")],
)
def test_sqlite_that_damages_databases_is_warned_of(monkeypatch: pytest.MonkeyPatch, version: str, state: str) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: version)
    assert only(machine.sqlite(TARGET)).state == state


@pytest.mark.parametrize(
    ("free", "size", "inodes", "read_only", "state"),
    [
        (GIB, 1, 9, False, "ok"),
        (GIB, 2 * GIB, 9, False, "warn"),
        (200 << 20, 1, 9, False, "warn"),
        (16 << 20, 1, 9, False, "fail"),
        (GIB, 1, 0, False, "fail"),
        (GIB, 1, None, False, "ok"),
        (GIB, 1, 9, True, "fail"),
    ],
)
def test_free_disk_is_judged_by_the_size_of_the_database(
    *,
    free: int,
    size: int,
    inodes: int | None,
    read_only: bool,
    state: str,
) -> None:
    assert only(machine.judge_space(space(free, inodes, read_only=read_only), size)).state == state


def test_full_disk_of_shipwright_fails() -> None:
    assert only(machine.judge_home_space(space(0))).state == "fail"
    assert only(machine.judge_home_space(space(GIB))).state == "ok"


@pytest.mark.parametrize(("limit", "state"), [(32, "warn"), (64, "ok"), (1_024, "ok"), (-1, "ok")])
def test_low_limit_of_open_files_is_warned_of(monkeypatch: pytest.MonkeyPatch, limit: int, state: str) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert only(machine.open_files(TARGET)).state == state


@pytest.mark.parametrize(("used", "state"), [(90, "ok"), (91, "warn"), (100, "warn")])
def test_watches_must_suffice_for_the_folders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, used: int, state: str
) -> None:
    for number in range(8):
        (tmp_path / "home" / "memory" / str(number)).mkdir(parents=True)
    (tmp_path / "limit").write_text("100\n")
    monkeypatch.setattr(machine, "WATCH_LIMIT", tmp_path / "limit")
    monkeypatch.setattr(machine, "network_type", lambda *_: None)
    monkeypatch.setattr(machine, "watches_used", lambda _: used)

    found = only(machine.watching(replace(TARGET, home=tmp_path / "home")))

    assert found.state == state
    assert found.text == f"10 folders to watch; {used} of 100 inotify watches are in use"
    assert found.facts == {"watches": 100, "watches_used": used, "folders": 10}


def place(monkeypatch: pytest.MonkeyPatch, mode: int, owner: int, *, able: bool) -> None:
    """Have the checks find a file or folder of this mode and owner, and whether we can use it."""
    monkeypatch.setattr(machine, "entry", lambda path: Entry(path, mode, owner))
    monkeypatch.setattr(os, "access", lambda *_: able)


FOLDER = stat.S_IFDIR
FILE = stat.S_IFREG


@pytest.mark.parametrize(
    ("mode", "owner", "able", "state"),
    [
        (FOLDER | 0o755, 7, True, "ok"),
        (FOLDER | 0o755, 0, True, "ok"),
        (FOLDER | 0o775, 7, True, "warn"),
        (FOLDER | 0o755, 8, True, "warn"),
        (FOLDER | 0o000, 7, False, "fail"),
    ],
)
def test_home_is_judged_as_what_is_only_read(
    monkeypatch: pytest.MonkeyPatch, *, mode: int, owner: int, able: bool, state: str
) -> None:
    place(monkeypatch, mode, owner, able=able)
    assert only(machine.home(TARGET)).state == state


@pytest.mark.parametrize(
    ("mode", "owner", "able", "shared", "state"),
    [
        (FOLDER | 0o700, 7, True, False, "ok"),
        (FOLDER | 0o750, 7, True, False, "warn"),
        (FOLDER | 0o755, 7, True, True, "ok"),
        (FOLDER | 0o777, 7, True, True, "fail"),
        (FOLDER | 0o700, 0, True, False, "fail"),
        (FOLDER | 0o500, 7, False, False, "fail"),
        (FILE | 0o600, 7, True, False, "fail"),
    ],
)
def test_folder_of_the_database_is_judged_as_private(  # noqa: PLR0913 - one for each column of the table
    monkeypatch: pytest.MonkeyPatch,
    *,
    mode: int,
    owner: int,
    able: bool,
    shared: bool,
    state: str,
) -> None:
    place(monkeypatch, mode, owner, able=able)
    assert only(machine.folder(replace(TARGET, home=Path("/d" if shared else "/h")))).state == state


@pytest.mark.parametrize(
    ("mode", "owner", "able", "says"),
    [
        (FILE | 0o644, 7, True, "warn other users can access /d/x y (mode 0644) `chmod 0600 '/d/x y'`"),
        (FILE | 0o600, 0, True, "fail /d/x y belongs to uid 0, not 7 `chown 7 '/d/x y'`"),
        (FILE | 0o400, 7, False, "fail /d/x y (mode 0400) belongs to uid 7 and cannot be read and written"),
        (stat.S_IFLNK | 0o777, 7, True, "fail /d/x y is a symbolic link"),
        (stat.S_IFIFO | 0o600, 7, True, "fail /d/x y is not a regular file"),
    ],
)
def test_files_of_the_database_are_judged_as_private(
    monkeypatch: pytest.MonkeyPatch, *, mode: int, owner: int, able: bool, says: str
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: able)
    found = only(machine.judge_file(Entry(Path("/d/x y"), mode, owner), 7))

    assert f"{found.state} {found.text} {found.todo}".startswith(says)


RUNNING = {"pid": 5, "command": "run", "started_at": "then", "version": __version__, "home": "/h"}


@pytest.mark.parametrize(
    ("holder", "held", "alive", "says"),
    [
        (RUNNING, True, True, ["ok held by run (pid 5, since then)"]),
        ({}, False, False, ["warn no daemon is running"]),
        ({"pid": 5}, False, False, ["warn no daemon is running; pid 5 ended without releasing the lock"]),
        (RUNNING, True, False, ["warn held by run (pid 5, since then), which is not visible here"]),
        (RUNNING | {"command": "prune"}, True, True, ["ok held by prune"]),
        (RUNNING | {"home": "/o"}, True, True, ["ok held", "warn the daemon follows another home"]),
        (RUNNING | {"version": "0.0.1"}, True, True, ["ok held", "warn the daemon is version 0.0.1"]),
    ],
)
def test_lock_is_judged_by_who_holds_it(
    monkeypatch: pytest.MonkeyPatch, *, holder: dict[str, object], held: bool, alive: bool, says: list[str]
) -> None:
    monkeypatch.setattr(machine, "read_holder", lambda _: holder)
    monkeypatch.setattr(machine, "_is_alive", lambda _: alive)
    monkeypatch.setattr(Target, "held", held)
    found = list(machine.lock(TARGET))

    assert len(found) == len(says)
    for finding, text in zip(found, says, strict=True):
        assert f"{finding.state} {finding.text}".startswith(text)


WANTED = {"events": ("table", "a"), "events_type": ("index", "b")}


@pytest.mark.parametrize(
    ("found", "held", "states"),
    [
        (WANTED, False, ["ok"]),
        ({"events": ("table", "a")}, False, ["warn"]),
        ({"events": ("table", "a")}, True, ["ok"]),
        ({"events_type": ("index", "b")}, True, ["fail"]),
        (WANTED | {"events": ("table", "c")}, False, ["fail"]),
        (WANTED | {"mine": ("table", "c")}, False, ["warn"]),
    ],
)
def test_schema_is_compared_with_what_the_migrations_create(
    monkeypatch: pytest.MonkeyPatch,
    *,
    found: dict[str, tuple[str, str]],
    held: bool,
    states: list[str],
) -> None:
    monkeypatch.setattr(database, "objects", lambda _: found)
    monkeypatch.setattr(database, "expected", lambda _: WANTED)
    monkeypatch.setattr(migrate, "version", lambda _: 1)
    monkeypatch.setattr(Target, "held", held)
    assert [finding.state for finding in database.tables(TARGET, apsw.Connection(":memory:"))] == states


@pytest.mark.parametrize(
    ("verdict", "held", "state"),
    [
        ("fits", True, "ok"),
        ("moved", False, "ok"),
        ("absent", False, "ok"),
        ("shorter", False, "ok"),
        ("changed", True, "warn"),
        ("cannot be read: Permission denied", False, "fail"),
    ],
)
def test_checkpoint_that_does_not_fit_matters_beside_a_daemon(
    monkeypatch: pytest.MonkeyPatch, *, verdict: str, held: bool, state: str
) -> None:
    monkeypatch.setattr(sources, "CHECKPOINTS", "SELECT 'events.jsonl'")
    monkeypatch.setattr(sources, "PATIENCE_S", -1.0)
    monkeypatch.setattr(sources, "fit", lambda *_: verdict)
    monkeypatch.setattr(Target, "held", held)
    assert next(sources.checkpoints(TARGET, apsw.Connection(":memory:"))).state == state


UNIT = State("unit", Path("/u"), installed=True)


@pytest.mark.parametrize(
    ("service", "held", "state"),
    [
        (replace(UNIT, installed=False), True, "warn"),
        (replace(UNIT, enabled=True, active="active"), True, "ok"),
        (replace(UNIT, enabled=False, active="active"), True, "warn"),
        (replace(UNIT, active="failed", result="exit-code"), False, "fail"),
        (replace(UNIT, active="inactive"), False, "warn"),
        (replace(UNIT, problem="no bus"), False, "warn"),
    ],
)
def test_service_is_judged_by_whether_it_runs_and_will_again(
    monkeypatch: pytest.MonkeyPatch, *, service: State, held: bool, state: str
) -> None:
    monkeypatch.setattr(Target, "held", held)
    assert only(machine.service(replace(TARGET, service=service))).state == state


def test_wrong_settings_fail_and_stay_out_of_archives() -> None:
    hook = Value("hook_command", ("nothing-here",), "file")
    settings = Resolved([hook], ["a"], [File(Path("/s"), exists=True, open_to="c")])
    found = list(machine.settings(replace(TARGET, settings=settings, variables={"SHIPWRIGHTD_B": "1"})))

    assert [(finding.state, finding.text, finding.private) for finding in found] == [
        ("fail", "a", True),
        ("warn", "SHIPWRIGHTD_B is not a setting, perhaps SHIPWRIGHTD_DB", True),
        ("warn", "c", True),
        ("fail", "hook_command: there is no program nothing-here", True),
    ]
    assert only(machine.settings(TARGET)).text == "valid, no settings file"
