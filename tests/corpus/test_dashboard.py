"""The dashboard's recorded answers to real files: the same from the database, and where ours differ, only there."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shipwrightd.daemon.catch_up import backfill
from shipwrightd.dashboard import FailsError, answer, checked
from shipwrightd.database import open_reader
from shipwrightd.reports.question import QuestionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import apsw

# The recorded clock, by set.
CLOCKS = {"small": 1_768_410_120, "large": 1_771_200_300}
NAMED = os.environ.get("SHIPWRIGHTD_FIXTURES")
FIXTURES = Path(NAMED) if NAMED else Path(__file__).parents[3] / "shared" / "fixtures"


def answered(path: str) -> bool:
    try:
        checked(path)
    except QuestionError:
        return False
    return True


def recorded(folder: str) -> list[Any]:
    """Return set, path, and the recorded answer's file (None for a 500) of each address that is answered here."""
    found = []
    for name in CLOCKS:
        index = FIXTURES / name / folder / "index.json"
        if index.is_file():
            found += [
                (name, one["path"], one["file"]) for one in json.loads(index.read_text()) if answered(one["path"])
            ]
    return [pytest.param(*one, id=" ".join(one[:2])) for one in found]


ORACLE, STRING_TYPES = recorded("oracle"), recorded("oracle-stringtypes")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, bool], apsw.Connection]]:
    """Return what gives a database of a set, with or without the lines whose last type is no text."""
    opened: dict[tuple[str, bool], apsw.Connection] = {}

    def give(name: str, strings: bool) -> apsw.Connection:  # noqa: FBT001 - a fixture's function
        if (name, strings) not in opened:
            home = tmp_path_factory.mktemp(name) / "home"
            lay_out(FIXTURES / name, home, strings=strings)
            backfill(home, home / "shipwrightd" / "shipwright.db")
            opened[name, strings] = open_reader(home / "shipwrightd" / "shipwright.db")
        return opened[name, strings]

    yield give
    for db in opened.values():
        db.close()


def lay_out(source: Path, home: Path, *, strings: bool) -> None:
    if (source / "dot-shipwright").is_dir():
        shutil.copytree(source / "dot-shipwright", home, copy_function=shutil.copyfile)
        for folder in (home, *home.rglob("*/")):
            folder.chmod(0o700)
        events = (home / "events.jsonl").read_bytes()
    else:
        home.mkdir()
        events = gzip.decompress((source / "events.jsonl.gz").read_bytes())
    lines = events.splitlines(keepends=True)
    (home / "events.jsonl").write_bytes(b"".join(line for line in lines if not strings or has_text_type(line)))


def has_text_type(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line.decode("utf-8", "replace"))["type"], str)
    except ValueError:
        return True


def told(name: str, folder: str, file: str) -> Any:
    return json.loads((FIXTURES / name / folder / file).read_text())


def placed(path: str, found: Any, wanted: Any) -> Any:
    """Return an answer without what the database cannot tell.

    The order of folders and of the registry, and of team events whether a time was counted from ts by us.
    """
    if path == "/api/memory/decisions":
        return sorted(found["decisions"], key=str)
    if path == "/api/team":
        return {**found, "developers": sorted(found["developers"], key=lambda one: str(one["last_heartbeat"]))}
    if path == "/api/team/activity":
        return [
            {key: value for key, value in one.items() if key != "ts_epoch" or key in there}
            for one, there in zip(found, wanted, strict=True)
        ]
    return found


@pytest.mark.parametrize(("name", "path", "file"), ORACLE)
def test_compat_is_what_the_dashboard_answered(name: str, path: str, file: str | None, database: Any) -> None:
    db = database(name, False)  # noqa: FBT003 - see database
    if file is None:
        with pytest.raises(FailsError, match="answers 500"):
            answer(db, path, CLOCKS[name], compat=True)
        return
    wanted = told(name, "oracle", file)
    found = answer(db, path, CLOCKS[name], compat=True)
    assert placed(path, found, wanted) == placed(path, wanted, wanted)


@pytest.mark.parametrize(("name", "path", "file"), STRING_TYPES)
def test_compat_filters_types_as_the_dashboard_does(name: str, path: str, file: str, database: Any) -> None:
    db = database(name, True)  # noqa: FBT003 - see database
    assert answer(db, path, CLOCKS[name], compat=True) == told(name, "oracle-stringtypes", file)


# Where our answers differ, docs/dashboard.md says why. Everything else must be the same.
GRADES = r"(cfr|lead_time|mttr|deploy_freq)\.(value|grade)"
DIFFERENT = {
    "/api/metrics/history": r"success_rate|total_failed|stage_durations\.\w+|daily_counts\.\d\.failed"
    r"|dora_grades\.(cfr|lead_time|mttr)\.(value|grade)",
    "/api/metrics/dora-trend": rf"weeks\.\d+\.grades\.{GRADES}",
    "/api/metrics/stage-performance": r"stages\.\w+\.\w+",
    "/api/metrics/bottlenecks": r"bottlenecks\.\w+\.\w+",
    "/api/metrics/failure-heatmap": r"heatmap(\..*)?",
    "/api/costs/breakdown": r"(byStage|byModel|byIssue)(\..*)?|total",
    "/api/costs/trend": r"daily\.\d+\.cost",
    "/api/activity": r"total|hasMore|events.*",
    "/api/events/": r"events.*",
    "/api/memory/": r".*",
    "/api/queue/detailed": r"queue\.\d+\.\w+",
}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value in an answer with where it stands; stages by their names."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}".strip("."))
    elif isinstance(value, list) and value:
        for at, item in enumerate(value):
            named = item.get("name", item.get("stage")) if isinstance(item, dict) and "issue" not in item else None
            yield from leaves(item, f"{path}.{named or at}")
    else:
        yield path, value


@pytest.mark.parametrize(("name", "path", "file"), [one for one in ORACLE if one.values[2] is not None])
def test_ours_differs_only_where_the_documentation_says(name: str, path: str, file: str, database: Any) -> None:
    wanted = told(name, "oracle", file)
    found = answer(database(name, False), path, CLOCKS[name], compat=False)  # noqa: FBT003 - see database
    found, wanted = placed_ours(path, found, wanted), placed_ours(path, wanted, wanted)
    differing = {place for place, _ in set(map(str_pair, leaves(found))) ^ set(map(str_pair, leaves(wanted)))}
    allowed = next((known for start, known in DIFFERENT.items() if path.startswith(start)), r"(?!)")
    assert [place for place in sorted(differing) if not re.fullmatch(allowed, place)] == []


def placed_ours(path: str, found: Any, wanted: Any) -> Any:
    return found if path.startswith("/api/memory/") else placed(path, found, wanted)


def str_pair(leaf: tuple[str, Any]) -> tuple[str, str]:
    return leaf[0], repr(leaf[1])


@pytest.mark.parametrize("name", CLOCKS)
def test_what_was_spent_is_counted_once(name: str, database: Any, fixtures_dir: Path) -> None:
    if not (fixtures_dir / name).is_dir():
        pytest.skip(f"no set {name}")
    db = database(name, False)  # noqa: FBT003 - see database
    found = answer(db, "/api/costs/breakdown?period=3650", CLOCKS[name], compat=False)
    spent = db.execute("SELECT sum(cost_usd) FROM cost_entries").get

    assert found["total"] == pytest.approx(spent, abs=0.01)
    assert answer(db, "/api/costs/breakdown?period=3650", CLOCKS[name], compat=True)["total"] > found["total"]


@pytest.mark.parametrize(("name", "path", "file"), [one for one in ORACLE if "/api/events/" in one.values[1]])
def test_our_events_of_an_issue_hold_all_that_the_dashboard_shows(
    name: str, path: str, file: str, database: Any
) -> None:
    shown = told(name, "oracle", file)["events"]
    found = answer(database(name, False), path, CLOCKS[name], compat=False)["events"]  # noqa: FBT003 - see database
    ours = [without_type(one) for one in found]

    assert all(without_type(one) in ours for one in shown)


def without_type(event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key != "type"}
