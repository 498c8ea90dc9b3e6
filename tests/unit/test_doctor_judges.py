"""What doctor's checks conclude from plain values."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from shipwrightd import __version__
from shipwrightd.config import Resolved, Value
from shipwrightd.config.files import File
from shipwrightd.doctor import Finding, database, machine, sources
from shipwrightd.doctor.machine import Entry, Space
from shipwrightd.service import State

GIB = 1 << 30


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
def test_sqlite_that_damages_databases_is_warned_of(version: str, state: str) -> None:
    assert only(machine.sqlite(version)).state == state


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
    assert only(machine.judge_space(Space(free, 10 * GIB, inodes, read_only, 1), size)).state == state


def test_full_disk_of_shipwright_fails() -> None:
    assert only(machine.judge_home_space(Space(0, GIB, 1, False, 1))).state == "fail"  # noqa: FBT003
    assert only(machine.judge_home_space(Space(GIB, GIB, 1, False, 1))).state == "ok"  # noqa: FBT003


@pytest.mark.parametrize(("limit", "state"), [(32, "warn"), (64, "ok"), (1_024, "ok"), (-1, "ok")])
def test_low_limit_of_open_files_is_warned_of(limit: int, state: str) -> None:
    assert only(machine.open_files(limit)).state == state


@pytest.mark.parametrize(("used", "state"), [(90, "ok"), (91, "warn"), (100, "warn")])
def test_watches_must_suffice_for_the_folders(used: int, state: str) -> None:
    found = only(machine.judge_watches(100, used, 10))

    assert found.state == state
    assert found.text == f"10 folders to watch; {used} of 100 inotify watches are in use"
    assert found.facts == {"watches": 100, "watches_used": used, "folders": 10}


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
def test_home_is_judged_as_what_is_only_read(*, mode: int, owner: int, able: bool, state: str) -> None:
    assert only(machine.judge_home(Entry(Path("/h"), mode, owner), 7, readable=able)).state == state


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
def test_folder_of_the_database_is_judged_as_private(
    *,
    mode: int,
    owner: int,
    able: bool,
    shared: bool,
    state: str,
) -> None:
    assert only(machine.judge_folder(Entry(Path("/d"), mode, owner), 7, writable=able, shared=shared)).state == state


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
def test_files_of_the_database_are_judged_as_private(*, mode: int, owner: int, able: bool, says: str) -> None:
    found = only(machine.judge_file(Entry(Path("/d/x y"), mode, owner), 7, usable=able))

    assert f"{found.state} {found.text} {found.todo}".startswith(says)


RUNNING = {
    "held": True, "pid": 5, "alive": True,
    "command": "run", "started_at": "then", "version": __version__, "home": "/h",
}  # fmt: skip
FREE = {"held": False, "pid": None, "alive": False, "command": "", "started_at": "", "version": "", "home": ""}


@pytest.mark.parametrize(
    ("holder", "says"),
    [
        (RUNNING, ["ok held by run (pid 5, since then)"]),
        (FREE, ["warn no daemon is running"]),
        (FREE | {"pid": 5}, ["warn no daemon is running; pid 5 ended without releasing the lock"]),
        (RUNNING | {"alive": False}, ["warn held by run (pid 5, since then), which is not visible here"]),
        (RUNNING | {"command": "prune"}, ["ok held by prune"]),
        (RUNNING | {"home": "/o"}, ["ok held", "warn the daemon follows another home"]),
        (RUNNING | {"version": "0.0.1"}, ["ok held", "warn the daemon is version 0.0.1"]),
    ],
)
def test_lock_is_judged_by_who_holds_it(holder: dict[str, object], says: list[str]) -> None:
    found = list(machine.lock(holder, "/h"))

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
    *,
    found: dict[str, tuple[str, str]],
    held: bool,
    states: list[str],
) -> None:
    assert [finding.state for finding in database.tables(found, WANTED, held=held)] == states


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
def test_checkpoint_that_does_not_fit_matters_beside_a_daemon(*, verdict: str, held: bool, state: str) -> None:
    assert next(sources.judge_checkpoints({"events.jsonl": verdict}, held=held)).state == state


def test_clock_that_was_set_back_is_noticed_by_the_last_commit() -> None:
    assert not list(sources.judge_commits(1_000.0, 990.0))
    assert not list(sources.judge_commits(None, 990.0))
    assert "2 h in the future: the clock was set back" in only(sources.judge_commits(8_200.0, 990.0)).text


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
def test_service_is_judged_by_whether_it_runs_and_will_again(*, service: State, held: bool, state: str) -> None:
    assert only(machine.service(service, held=held)).state == state


def test_wrong_settings_fail_and_stay_out_of_archives() -> None:
    hook = Value("hook_command", ("nothing-here",), "file")
    settings = Resolved([hook], ["a"], [File(Path("/s"), exists=True, open_to="c")])
    found = list(machine.settings(settings, {"SHIPWRIGHTD_B": "1"}))

    assert [(finding.state, finding.text, finding.private) for finding in found] == [
        ("fail", "a", True),
        ("warn", "SHIPWRIGHTD_B is not a setting, perhaps SHIPWRIGHTD_DB", True),
        ("warn", "c", True),
        ("fail", "hook_command: there is no program nothing-here", True),
    ]
    assert only(machine.settings(Resolved([], [], []), {})).text == "valid, no settings file"
