"""Failures: each failed run and attempt once, where and when it failed, and whether it was mended."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from projection import NOON, Books, completed, reaped, stage, started
from reports import DAY, question, report

from shipwrightd.reports.failures import Cell, ClassFailures, IssueFailures, StageFailures, collect, rows

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3_600


def failing(second: int, issue: int, name: str = "test", **fields: object) -> list[dict[str, object]]:
    """Return the events of a run that fails at a stage, a minute after it began."""
    return [
        started(second, issue),
        stage(second + 60, name, "failed", issue, **fields),
        reaped(second + 60, issue, "failure"),
    ]


def succeeding(second: int, issue: int) -> list[dict[str, object]]:
    """Return the events of a run that succeeds a minute after it began."""
    return [started(second, issue), stage(second + 60, "test", issue=issue), completed(second + 60, issue)]


def test_what_failed_is_counted_by_stage_class_issue_and_day(books: Books) -> None:
    books.events(*failing(0, 1, error_class="logic"), *failing(DAY, 2, "build"), *succeeding(DAY, 3))

    found = collect(books.db, question(NOON + 2 * DAY))

    assert (found.finished_runs, found.failed_runs, found.failed_runs_percent) == (3, 2, 66.6667)
    assert (found.attempts, found.failed_attempts, found.failed_attempts_percent) == (3, 2, 66.6667)
    assert found.by_stage == [StageFailures("build", 1, 1, 100.0, 1), StageFailures("test", 2, 1, 50.0, 1)]
    assert found.by_error_class == [ClassFailures("logic", 1, 1), ClassFailures(None, 1, 1)]
    assert found.by_issue == [IssueFailures(1, 1, 1), IssueFailures(2, 1, 1)]
    assert found.heatmap == [Cell("build", "2026-01-06", 1), Cell("test", "2026-01-05", 1)]


def test_a_failed_run_whose_issue_succeeds_later_is_recovered(books: Books) -> None:
    books.events(*failing(0, 1), *failing(0, 2), *succeeding(DAY, 1))

    assert collect(books.db, question(NOON + 2 * DAY)).recovered_runs == 1
    assert collect(books.db, question(NOON + DAY)).recovered_runs == 0, "not yet at that time"
    flags = {one.issue: one.recovered for one in collect(books.db, question(NOON + 2 * DAY)).last}
    assert flags == {1: True, 2: False}


def test_recoveries_of_all_time_are_those_of_the_outcomes(books: Books) -> None:
    books.events(*failing(0, 1), *failing(HOUR, 1), *succeeding(DAY, 1), *failing(2 * DAY, 1), *failing(0, 2))

    told = books.rows("SELECT sum(recoveries) FROM run_outcomes")
    assert [collect(books.db, question(NOON + 9 * DAY)).recovered_runs] == told == [2]


def test_an_attempt_that_is_tried_again_may_succeed_in_the_same_run(books: Books) -> None:
    books.events(
        started(0, 1),
        *(stage(second, "test", outcome, 1) for second, outcome in ((10, "started"), (20, "failed"))),
        *(stage(second, "test", outcome, 1) for second, outcome in ((30, "started"), (40, "failed"))),
        *(stage(second, "test", outcome, 1) for second, outcome in ((50, "started"), (60, "completed"))),
        started(0, 2),
        stage(20, "build", "failed", 2),
    )

    found = collect(books.db, question(NOON + HOUR))

    assert (found.failed_attempts, found.retried_attempts, found.recovered_attempts) == (3, 2, 2)
    assert [(one.stage, one.attempt, one.recovered) for one in found.last] == [
        ("test", 2, True),
        ("build", 1, False),
        ("test", 1, True),
    ]


def test_the_last_failures_come_newest_first_and_whole(books: Books) -> None:
    text = "no such file\n" * 400
    books.events(*failing(0, 1, error="first"), *failing(60, 2, error=text, error_class="logic"))

    newest, older = collect(books.db, question(NOON + HOUR)).last

    assert (newest.ended_at, newest.issue, newest.stage) == ("2026-01-05T12:02:00Z", 2, "test")
    assert (newest.kind, newest.attempt, newest.error_class, newest.error) == ("stage", 1, "logic", text)
    assert (older.issue, older.error) == (1, "first")
    assert collect(books.db, question(NOON + HOUR, limit=1)).last == [newest]


def test_a_run_of_which_no_stage_failed_is_a_failure_of_its_own(books: Books) -> None:
    books.events(started(0, 1), reaped(60, 1, "failure"), *failing(HOUR, 2))

    found = collect(books.db, question(NOON + DAY))

    assert [(one.kind, one.issue, one.attempt) for one in found.last] == [("stage", 2, 1), ("run", 1, None)]
    assert found.by_stage[-1] == StageFailures(None, 0, 0, None, 1)


def test_the_second_that_begins_a_period_counts_and_the_one_that_ends_it_does_not(books: Books) -> None:
    books.events(*failing(0, 1), *failing(HOUR, 2, "build"), *succeeding(HOUR, 3))

    found = collect(books.db, question(NOON + DAY, days=1 / 24, until=NOON + HOUR + 60))
    assert (found.finished_runs, found.failed_runs, found.attempts, found.failed_attempts) == (1, 1, 1, 1)
    assert [one.issue for one in found.last] == [1]
    for issue, number in ((1, 1), (2, 0)):
        alone = collect(books.db, question(NOON + DAY, days=1 / 24, until=NOON + HOUR + 60, issue=issue))
        assert (alone.failed_runs, alone.attempts, alone.failed_attempts, len(alone.last)) == (number,) * 4


def test_issues_beyond_the_limit_are_counted(books: Books) -> None:
    books.events(*(event for issue in range(1, 6) for event in failing(issue, issue)))

    found = collect(books.db, question(NOON + DAY, limit=2))

    assert (len(found.by_issue), found.other_issues, len(found.last)) == (2, 3, 2)


def test_a_stage_is_asked_for_alone(books: Books) -> None:
    books.events(*failing(0, 1), *failing(0, 2, "build"), *failing(0, 3, "build"))

    found = collect(books.db, question(NOON + DAY, stage="build"))

    assert [one.stage for one in found.by_stage] == ["build"]
    assert (found.failed_runs, found.failed_attempts, found.attempts, len(found.last)) == (2, 2, 2, 2)


def test_an_issue_is_asked_for_alone(books: Books) -> None:
    books.events(*failing(0, 1), *failing(HOUR, 1, "build"), *failing(0, 2))

    found = collect(books.db, question(NOON + DAY, issue=1))
    assert (found.failed_runs, found.failed_attempts, found.attempts, found.finished_runs) == (2, 2, 2, 2)
    assert {one.issue for one in found.last} == {1}
    assert collect(books.db, question(NOON + DAY, issue=1, stage="build")).failed_attempts == 1


def test_skipped_and_unfinished_attempts_are_none(books: Books) -> None:
    books.events(started(0, 1), stage(10, "plan", "skipped", 1), stage(20, "build", "started", 1))

    found = collect(books.db, question(NOON + DAY))

    assert (found.attempts, found.failed_attempts_percent, found.empty) == (0, None, True)


def test_nothing_at_all_is_empty(books: Books) -> None:
    assert collect(books.db, question()).empty
    assert collect(books.db, question(days=None, stage="test", issue=1)).empty


@settings(max_examples=60)
@given(
    tried=st.lists(
        st.tuples(st.integers(0, 9 * DAY), st.sampled_from(("build", "test", "review")), st.booleans()), max_size=12
    ),
    since=st.integers(0, 9 * DAY),
    length=st.integers(1, 9 * DAY),
    name=st.sampled_from((None, None, "test")),
)
def test_any_period_holds_the_attempts_that_ended_in_it(
    books: Books, tried: list[tuple[int, str, bool]], since: int, length: int, name: str | None
) -> None:
    books.clear()
    for issue, (end, at, good) in enumerate(tried, 1):
        books.events(started(end - 60, issue), stage(end, at, "completed" if good else "failed", issue))

    until = NOON + since + length
    found = collect(books.db, question(until + DAY, days=length / DAY, until=until, stage=name))

    inside = [
        (end, at, good) for end, at, good in tried if since <= end < since + length and (name is None or at == name)
    ]
    failed = Counter((at, 5 + (end + DAY // 2) // DAY) for end, at, good in inside if not good)
    assert found.attempts == len(inside)
    assert {(cell.stage, int(cell.day[-2:])): cell.failed_attempts for cell in found.heatmap} == failed
    assert found.failed_attempts == sum(one.failed_attempts for one in found.by_stage) == failed.total()
    assert len(found.last) == failed.total()
    assert {cell.day for cell in found.heatmap} <= set(found.days)


def test_rows_are_the_last_failures(books: Books) -> None:
    books.events(*failing(0, 1), started(0, 2), reaped(60, 2, "failure"))

    made = list(rows(collect(books.db, question(NOON + DAY))))

    assert [row["kind"] for row in made] == ["run", "stage"]
    assert len({tuple(row) for row in made}) == 1


def test_the_page_shortens_errors_and_lets_none_act_on_the_terminal(books: Books, home: Path) -> None:
    books.db.execute("INSERT INTO checkpoints (source, kind) VALUES ('events.jsonl', 'journal')")
    books.events(*failing(0, 1, error="\x1b[2J" + "e" * 5_000))

    done = report(home, "failures", "--now", str(NOON + HOUR))

    assert done.returncode == 0, done.stderr
    assert "\\x1b[2J" in done.stdout
    assert "\x1b" not in done.stdout
    assert "█" in done.stdout
    assert done.stdout.count("e" * 20) < 10
