"""`doctor` as it is called: beside a daemon, where nothing can be read, and what its archive holds."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import apsw
import pytest
from process import AS_ANY_USER, Running, call
from world import World

if TYPE_CHECKING:
    from pathlib import Path

MARK = "GEHEIM"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.home.chmod(0o755)
    made.append(5)
    return made


def doctor(world: World, *options: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call(world, "doctor", "--json", *options).stdout)
    return found


def test_daemon_that_runs_well_has_nothing_to_fix(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHIPWRIGHTD_FIXTURES", raising=False)  # a name of the tests, no setting
    with Running(world) as daemon:
        daemon.wait_for(lambda: daemon.logged("daemon_following"))
        found = doctor(world)
        assert daemon.stop() == 0

    assert found["ok"]
    lock = next(finding for finding in found["findings"] if finding["check"] == "lock")
    assert (lock["state"], lock["facts"]["pid"]) == ("ok", daemon.pid)
    assert {"check", "state", "text", "todo", "facts", "private"} == set(lock)
    assert all(finding["state"] == "ok" for finding in found["findings"] if finding["check"] != "service")


def test_fault_ends_with_code_1_and_says_what_to_do(world: World) -> None:
    world.db_path.parent.mkdir()
    world.db_path.write_bytes(b"somebody's notes")

    done = call(world, "doctor")

    assert (done.returncode, done.stderr) == (1, "")
    assert "is not a shipwrightd database" in done.stdout
    assert "choose another file with --db" in done.stdout.replace("\n", " ")


def test_where_nothing_can_be_read_it_says_so(world: World) -> None:
    call(world, "backfill")
    world.home.chmod(0)
    world.db_path.parent.chmod(0)
    try:
        done = call(world, "doctor", prefix=AS_ANY_USER)
    finally:
        world.home.chmod(0o755)
        world.db_path.parent.chmod(0o700)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for check in ("home", "folder", "database"):
        assert f"fail  {check} " in done.stdout


def test_wrong_settings_are_a_finding_and_no_end(world: World) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "shipwrightd", "doctor", "--home", str(world.home), "--db", str(world.db_path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SHIPWRIGHTD_RESCAN_S": "soon"},
    )

    assert done.returncode == 1
    assert 'fail  settings             SHIPWRIGHTD_RESCAN_S is "soon"' in done.stdout


def marked(tmp_path: Path) -> tuple[World, dict[str, str]]:
    """Return a home with a mark in every place that a person or a secret can get to, and the environment."""
    folder = tmp_path / f"{MARK} of ada's"
    folder.mkdir()
    world = World(folder)
    memory = world.home / "memory" / f"{MARK}-repo"
    memory.mkdir(parents=True)
    (world.home / "heartbeats").mkdir()
    event = {
        "ts_epoch": 1_767_600_000,
        "type": MARK,
        "goal": MARK,
        "issue": MARK,
        "stage": MARK,
        MARK: MARK,
    }
    world.events.write_text(f'{json.dumps(event)}\n{MARK} is no record\n{{"type":"{MARK}\n')
    (world.home / "costs.json").write_text(json.dumps({"entries": [{"model": MARK, "cost_usd": 1, MARK: 1}, MARK]}))
    (world.home / "heartbeats" / f"{MARK}.json").write_text(json.dumps({"pid": 1, "last_activity": MARK}))
    (memory / "failures.json").write_text(json.dumps({"failures": [{"pattern": MARK, "fix": MARK}]}))
    user = folder / "user"
    settings = user / ".config" / "shipwrightd" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        f'hook_url = "https://{MARK}:{MARK}@{MARK}.example/{MARK}?{MARK}={MARK}"\n'
        f'hook_command = ["{MARK}", "{MARK}"]\nmetrics = "{MARK}:1"\n{MARK} = 1\nlog_level = "{MARK}"\n'
    )
    settings.chmod(0o644)
    program = user / "bin" / "sw"
    program.parent.mkdir()
    program.write_text('# Shipwright\nVERSION="3.0.0"\n')
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SHIPWRIGHTD_", "XDG_"))}
    return world, clean | {"HOME": str(user), f"SHIPWRIGHTD_{MARK}": MARK, "SHIPWRIGHTD_RESCAN_S": MARK}


def plant(world: World) -> None:
    """Put marks into the database that the files do not bring there."""
    db = apsw.Connection(str(world.db_path))
    db.execute(f"CREATE TABLE {MARK}_table ({MARK} TEXT); CREATE INDEX {MARK}_index ON {MARK}_table ({MARK})")
    name = f"heartbeats/{MARK}.json"
    db.execute("INSERT INTO source_errors VALUES (?, ?, '2026-01-01T00:00:00Z')", (name, f"cannot read {name}: {MARK}"))
    db.execute("INSERT INTO gaps (source, reason, detected_at, detail) VALUES (?, 'x', '', ?)",
               (f"{MARK}.jsonl", json.dumps({"lines": 3, "said": MARK})))  # fmt: skip
    db.close()


def content(archive: Path) -> dict[str, bytes]:
    """Return all files of an archive."""
    with tarfile.open(archive) as opened:
        return {member.name: opened.extractfile(member).read() for member in opened}  # type: ignore[union-attr]


def test_archive_holds_what_a_maintainer_asks_for_and_nothing_that_is_private(tmp_path: Path) -> None:
    world, env = marked(tmp_path)
    places = ["--home", str(world.home), "--db", str(world.db_path)]
    program = [sys.executable, "-m", "shipwrightd"]
    subprocess.run([*program, "backfill", *places], check=False, capture_output=True, env=env)
    plant(world)
    (world.home / "heartbeats" / f"{MARK}2.json").write_text(f"{{{MARK}")
    target = tmp_path / "support.tar.gz"

    done = subprocess.run(
        [*program, "doctor", *places, "--bundle", str(target)], check=False, capture_output=True, text=True, env=env
    )

    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert MARK in done.stdout, "the marks are where doctor looks"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    files = content(target)
    for name, text in files.items():
        assert MARK.lower().encode() not in (name.encode() + text).lower(), (name, text.decode()[:20_000])
    parts = {name.split("/")[1].removesuffix(".json"): json.loads(text) for name, text in files.items()}
    assert parts["tables"]["events"] == 1
    assert parts["quarantine"][0].keys() == {
        *("id", "source", "generation", "offset", "length", "reason", "seen_at", "state")
    }
    assert "heartbeats/*.json" in {row["source"] for row in parts["checkpoints"]}
    assert parts["gaps"][0]["detail"] == {"lines": 3}
    assert parts["schema"]["foreign"] == 2
    assert {"setting": "hook_url", "value": True, "from": "file"} in parts["settings"]["settings"]
    assert "<db>" in next(f["text"] for f in parts["doctor"]["findings"] if f["check"] == "database")
    assert {"source": "heartbeats/*.json", "error": "cannot read", "since": "2026-01-01T00:00:00Z"} in parts["errors"]
    assert [name for name, part in parts.items() if isinstance(part, dict) and "error" in part] == []
    assert {"status", "migrations", "pragmas", "errors"} <= parts.keys()


def test_archive_replaces_nothing_unless_told_to(world: World, tmp_path: Path) -> None:
    target = tmp_path / "x.tar.gz"
    target.write_text("mine")

    done = call(world, "doctor", "--bundle", str(target))
    assert (done.returncode, target.read_text()) == (73, "mine")
    assert "--force replaces it" in done.stderr

    assert call(world, "doctor", "--bundle", str(target), "--force").returncode == 0
    assert {"shipwrightd-doctor/doctor.json", "shipwrightd-doctor/settings.json"} <= content(target).keys()
