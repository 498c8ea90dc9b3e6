"""Where our answers differ from the dashboard's: each difference of docs/dashboard.md, on events of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from document_samples import failure, failures, take
from projection import NOON, completed, entry, event, reaped, spent, stage, started, told

from shipwrightd.dashboard import PATHS, FailsError, RefusedError, answer
from shipwrightd.reports.question import QuestionError

if TYPE_CHECKING:
    import apsw
    from projection import Books

NOW = NOON + 3_600
WEEK_S = 604_800
HISTORY = "/api/metrics/history"


def both(db: apsw.Connection, path: str, now: int = NOW) -> tuple[Any, Any]:
    """Return our answer and the dashboard's."""
    return answer(db, path, now, compat=False), answer(db, path, now, compat=True)


def test_a_run_that_only_the_daemon_saw_failing_counts_as_failed(books: Books) -> None:
    books.events(started(0), completed(60), started(100, issue=8), reaped(160, issue=8, result="failure"))

    ours, theirs = both(books.db, HISTORY)

    assert [one["total_failed"] for one in (ours, theirs)] == [1, 0]
    assert [one["success_rate"] for one in (ours, theirs)] == [50, 100]
    assert [one["daily_counts"][-1]["failed"] for one in (ours, theirs)] == [1, 0]
    assert [one["dora_grades"]["cfr"]["value"] for one in (ours, theirs)] == [50, 0]


def test_recovery_counts_from_a_failure_that_only_the_daemon_saw(books: Books) -> None:
    books.events(started(0), reaped(100, result="failure"), started(200), completed(1_900))

    ours, theirs = both(books.db, HISTORY)

    assert [one["dora_grades"]["mttr"]["value"] for one in (ours, theirs)] == [0.5, 0]


def test_lead_time_begins_with_the_first_start_since_the_last_success(books: Books) -> None:
    books.events(started(0), reaped(100, result="failure"), started(1_800), completed(3_600))

    ours, theirs = both(books.db, HISTORY)

    assert [one["dora_grades"]["lead_time"]["value"] for one in (ours, theirs)] == [1, 0.5]


def test_each_week_of_the_trend_has_its_own_figures(books: Books) -> None:
    books.events(started(0), completed(60))

    ours, theirs = both(books.db, "/api/metrics/dora-trend?period=14", NOW + WEEK_S)

    deploys = [[week["grades"]["deploy_freq"]["value"] for week in one["weeks"]] for one in (ours, theirs)]
    assert deploys == [[0.14, 0], [0, 0]]
    assert [week["week"] for week in ours["weeks"]] == [week["week"] for week in theirs["weeks"]]


def test_stages_that_report_only_with_a_payload_have_durations(books: Books) -> None:
    books.events(started(0), told(30, "build", timing="30s"), stage(40, "pr", duration_s=5), completed(60))

    ours, theirs = both(books.db, HISTORY)

    assert ours["stage_durations"] == {"build": 30, "pr": 5}
    assert theirs["stage_durations"] == {"pr": 5}


@pytest.mark.parametrize("path", ["/api/metrics/stage-performance", "/api/metrics/bottlenecks"])
def test_such_stages_are_in_performance_and_bottlenecks(books: Books, path: str) -> None:
    books.events(started(0), told(30, "build", timing="30s"), completed(60))

    ours, theirs = both(books.db, path)

    assert [len(next(iter(one.values()))) for one in (ours, theirs)] == [1, 0]


def test_a_stage_costs_what_its_entries_say(books: Books) -> None:
    books.events(started(0), stage(40, "build", duration_s=5), completed(60))
    books.entries(entry(30, 0.5))

    ours, theirs = both(books.db, "/api/metrics/stage-performance")

    assert [one["stages"][0]["cost"] for one in (ours, theirs)] == [0.5, 0]


def test_a_failure_told_twice_is_one_of_its_stage(books: Books) -> None:
    books.events(started(0), told(30, "build", "failed"), stage(31, "build", "failed", error="no"))

    ours, theirs = both(books.db, "/api/metrics/failure-heatmap")

    assert ours == {"heatmap": {"build": {"2026-01-05": 1}}}
    assert theirs == {"heatmap": {"unknown": {"2026-01-05": 1}, "build": {"2026-01-05": 1}}}


def test_money_told_by_two_events_is_counted_once(books: Books) -> None:
    books.events(spent(0, 0.5, "pipeline"), event("pipeline.cost", 0, None, cost_usd=0.5, model="opus"))

    ours, theirs = both(books.db, "/api/costs/breakdown")

    assert [one["total"] for one in (ours, theirs)] == [0.5, 1]
    assert [one["byStage"] for one in (ours, theirs)] == [{"pipeline": 0.5}, {"pipeline": 0.5, "unknown": 0.5}]
    assert [one["daily"][-1]["cost"] for one in both(books.db, "/api/costs/trend")] == [0.5, 1]


def test_money_has_its_issue(books: Books) -> None:
    books.entries(entry(0, 0.5))

    ours, theirs = both(books.db, "/api/costs/breakdown")

    assert [one["byIssue"] for one in (ours, theirs)] == [{"7": 0.5}, {}]
    assert theirs["total"] == 0, "the dashboard does not read costs.json for this"


def test_what_is_dated_later_than_now_is_not_counted(books: Books) -> None:
    books.events(started(0), completed(60), spent(60, 0.5), started(9_000), completed(9_060), spent(9_060, 0.25))

    assert [one["dora_grades"]["deploy_freq"]["value"] for one in both(books.db, HISTORY)] == [0.14, 0.29]
    assert [one["daily_counts"][-1]["completed"] for one in both(books.db, HISTORY)] == [1, 2]
    assert [one["total"] for one in both(books.db, "/api/costs/breakdown")] == [0.5, 0.75]


def test_an_event_is_of_its_own_type(books: Books) -> None:
    books.lines([b'{"ts":"2026-01-05T12:00:00Z","ts_epoch":1767614400,"type":"memory.decision","type":"adr"}'])

    ours, theirs = both(books.db, "/api/activity")

    assert [one["events"][0]["type"] for one in (ours, theirs)] == ["memory.decision", "adr"]
    assert answer(books.db, "/api/activity?type=memory", NOW, compat=False)["total"] == 1
    assert answer(books.db, "/api/activity?type=memory", NOW, compat=True)["total"] == 0


def test_filtering_types_works_beside_a_type_that_is_a_number(books: Books) -> None:
    books.events(started(0))
    books.lines([b'{"ts":"2026-01-05T12:00:00Z","ts_epoch":1767614400,"type":"daemon.triage","issue":7,"type":5}'])

    assert answer(books.db, "/api/activity?type=pipeline", NOW, compat=False)["total"] == 1
    with pytest.raises(FailsError, match="the type 5, which is not text"):
        answer(books.db, "/api/activity?type=pipeline", NOW, compat=True)


def test_a_line_that_the_dashboard_cannot_parse_is_shown(books: Books) -> None:
    books.lines([b'{"ts":"2026-01-05T12:00:00Z","ts_epoch":1767614400,"type":"a.b","issue":7,"note":"\x1b[31m"}'])

    for path in ("/api/activity", "/api/events/7"):
        assert [len(one["events"]) for one in both(books.db, path)] == [1, 0]


def test_a_line_of_invalid_utf8_is_shown_by_both(books: Books) -> None:
    books.lines([b'{"ts":"2026-01-05T12:00:00Z","ts_epoch":1767614400,"type":"a.b","issue":7,"note":"caf\xc3"}'])

    ours, theirs = both(books.db, "/api/events/7")

    assert ours == theirs
    assert theirs["events"][0]["note"] == "caf\ufffd"
    assert theirs["events"][0].keys() == {"ts", "ts_epoch", "type", "issue", "note"}


def test_a_line_of_the_small_emitter_has_no_ts_epoch_and_its_issue_is_text(books: Books) -> None:
    books.lines(
        [b'{"ts":"2026-01-05T12:00:00Z","type":"cost.record","issue":"7","cost_usd":"0.5","input_tokens":"10"}']
    )

    assert [one["total"] for one in both(books.db, "/api/costs/breakdown")] == [0.5, 0]
    assert [len(one["events"]) for one in both(books.db, "/api/events/7")] == [1, 0]
    shown = answer(books.db, "/api/activity", NOW, compat=True)["events"][0]
    assert (shown["issue"], shown["cost_usd"], "ts_epoch" in shown) == ("7", "0.5", False)


@pytest.mark.parametrize(("digits", "shown"), [(b"9" * 400, None), (b"18446744073709551616", 18446744073709551616.0)])
def test_a_number_beyond_64_bits_is_the_one_that_javascript_reads(books: Books, digits: bytes, shown: Any) -> None:
    books.lines([b'{"ts":"2026-01-05T12:00:00Z","ts_epoch":1767614400,"type":"a.b","note":%s}' % digits])

    ours, theirs = both(books.db, "/api/activity")

    assert [one["events"][0]["note"] for one in (ours, theirs)] == [digits.decode(), shown]


def test_titles_of_finished_issues_are_known(books: Books) -> None:
    take(books.db, "daemon-state.json", {"active_jobs": [], "queued": [], "titles": {"7": "Seven"}})
    books.events(started(0))

    assert [one["events"][0]["issueTitle"] for one in both(books.db, "/api/activity")] == ["Seven", ""]


def test_queued_items_have_their_issue_title_and_triage(books: Books) -> None:
    take(books.db, "daemon-state.json", {"queued": ["7"], "titles": {"7": "Seven"}})
    books.events(event("daemon.triage", 0, score=3), event("daemon.triage", 1, score=9, age=2))

    ours, theirs = both(books.db, "/api/queue/detailed")

    assert ours == {"queue": [{"issue": 7, "title": "Seven", "score": 9, "age": 2}]}
    assert theirs == {"queue": [{"issue": 0, "title": "", "score": 0}]}


def test_memory_patterns_are_the_failures_with_their_sightings(books: Books) -> None:
    take(books.db, "memory/0123456789ab/failures.json", failures(failure("boom", 3, 1, fix="duck")))

    ours, theirs = both(books.db, "/api/memory/patterns")

    assert ours == {"patterns": [{"pattern": "boom", "frequency": 3, "rootCause": "", "fix": "duck"}]}
    assert theirs == {"patterns": [{"pattern": "unknown", "frequency": 1, "rootCause": "", "fix": ""}]}


def test_memory_decisions_are_one_list(books: Books) -> None:
    made = {"type": "adr", "summary": "s", "detail": "d", "recorded_at": "2026-01-05T08:41:10Z"}
    take(books.db, "memory/0123456789ab/decisions.json", {"decisions": [made]})

    ours, theirs = both(books.db, "/api/memory/decisions")

    assert ours == {"decisions": [made]}
    assert theirs == {"decisions": [{"decisions": [made]}]}


def test_global_memory_has_what_was_learned(books: Books) -> None:
    learned = {"repo": "r", "type": "nodejs", "bugs": 1, "captured_at": "2026-01-05T08:41:10Z"}
    take(books.db, "memory/global.json", {"common_patterns": [], "cross_repo_learnings": [learned]})

    ours, theirs = both(books.db, "/api/memory/global")

    assert [ours, theirs] == [{"learnings": [learned]}, {"learnings": []}]


def test_an_issue_has_the_failures_seen_while_it_failed(books: Books) -> None:
    books.events(started(0), stage(30, "test", "failed"), reaped(60, result="failure"))
    seen = failure("boom", 1, 1, last_seen="2026-01-05T12:00:31Z")
    elsewhere = failure("bang", 1, 1, last_seen="2026-01-05T12:00:31Z", stage="build")
    take(books.db, "memory/0123456789ab/failures.json", failures(seen, elsewhere))

    ours, theirs = both(books.db, "/api/memory/failures/7")

    assert [[one["pattern"] for one in each["patterns"]] for each in (ours, theirs)] == [["boom"], []]


def test_team_events_that_cannot_be_parsed_are_shown(books: Books) -> None:
    lines = [b'{"type":"a.b","from_developer":"Ada","note":"1"}', b'{"type":"a.c","note":"\x1b"}']
    books.lines(lines, team=True)
    books.db.execute("INSERT INTO checkpoints (source, kind, records) VALUES ('team-events.jsonl', 'journal', 2)")

    assert [len(one) for one in both(books.db, "/api/team/activity")] == [2, 1]


# -- what both have in common: how addresses are read


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("", 50),
        ("limit=", 50),
        ("limit=7", 7),
        ("limit=7up", 7),
        ("limit=0x10", 16),
        ("limit=900", 200),
        ("limit=up", 0),
        ("limit=0", 0),
        ("limit=-5", 255),
        ("limit=5&limit=9", 5),
        ("offset=255", 5),
        ("offset=-3", 0),
        ("offset=up", 0),
        ("issue=up", 50),
        ("issue=8", 0),
    ],
)
def test_parameters_of_the_feed_are_read_as_parse_int_does(books: Books, query: str, shown: int) -> None:
    books.events(*(event("a.b", second) for second in range(260)))

    for one in both(books.db, f"/api/activity?{query}"):
        assert len(one["events"]) == shown


@pytest.mark.parametrize(
    ("query", "days"), [("", 30), ("period=3", 3), ("period=3.9d", 3), ("period=x", 0), ("period=-1", 0)]
)
@pytest.mark.parametrize("path", ["/api/costs/trend", "/api/metrics/throughput-trend"])
def test_a_period_is_read_as_parse_int_does(books: Books, path: str, query: str, days: int) -> None:
    assert [len(one["daily"]) for one in both(books.db, f"{path}?{query}")] == [days, days]


@pytest.mark.parametrize("path", ["/api/events/", "/api/events/0", "/api/events/abc", "/api/memory/failures/%31"])
@pytest.mark.parametrize("compat", [True, False])
def test_what_is_no_issue_is_refused_in_the_words_of_the_dashboard(books: Books, path: str, *, compat: bool) -> None:
    with pytest.raises(RefusedError, match=r"^Invalid issue number$"):
        answer(books.db, path, NOW, compat=compat)


def test_an_unknown_path_gets_the_list_of_those_that_exist(books: Books) -> None:
    with pytest.raises(QuestionError, match=r"'/api/nothing' is not one of /api/metrics/history, .*/api/events/N"):
        answer(books.db, "/api/nothing", NOW, compat=False)


def test_a_period_of_a_million_years_is_refused(books: Books) -> None:
    with pytest.raises(QuestionError, match="at most 366000 days"):
        answer(books.db, "/api/costs/trend?period=99999999999999999999", NOW, compat=True)


@pytest.mark.parametrize("number", ["99999999999999999999", "-99999999999999999999", "9" * 500, "-" + "9" * 500])
@pytest.mark.parametrize(
    "start",
    [
        *(
            "/api/events/",
            "/api/memory/failures/",
            "/api/activity?issue=",
            "/api/activity?limit=",
            "/api/activity?offset=",
        ),
        *(f"/api/{path}?period=-1" for path in ("costs/trend", "costs/breakdown", "metrics/dora-trend")),
        *(f"/api/metrics/{path}?period=-1" for path in ("history", "stage-performance", "throughput-trend")),
    ],
)
def test_numbers_beyond_all_bounds_are_answered(books: Books, start: str, number: str) -> None:
    books.events(started(0), completed(60))

    assert all(both(books.db, f"{start}{number.removeprefix('-') if 'period' in start else number}"))


def test_a_period_may_begin_before_the_year_1000(books: Books) -> None:
    ours, theirs = both(books.db, "/api/costs/trend?period=366000", 1_000_000)

    assert ours == theirs
    assert ours["daily"][0]["date"] == "0967-12-17"


def test_an_event_without_an_issue_that_always_names_one_had_issue_0(books: Books) -> None:
    books.events(event("stage.started", 0, issue=0, stage="plan"), event("daemon.poll", 1, issue=None))

    for one in both(books.db, "/api/activity"):
        assert [found.get("issue") for found in one["events"]] == [None, 0]


@pytest.mark.parametrize("compat", [True, False])
def test_every_path_has_an_answer_of_an_empty_database(books: Books, *, compat: bool) -> None:
    for path in PATHS:
        assert answer(books.db, path.replace("/N", "/7"), NOW, compat=compat) is not None
