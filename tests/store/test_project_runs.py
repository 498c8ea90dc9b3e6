"""What a person reads out of the events of a run is what its row says."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from projection import (
    NOON,
    Books,
    completed,
    doubled,
    event,
    published,
    reaped,
    stage,
    started,
    told,
)

DAY = 86_400


def test_a_run_is_what_its_start_and_end_say(books: Books) -> None:
    end: dict[str, Any] = {
        "stages_passed": 6,
        "slowest_stage": "build",
        "pr_url": "https://x/1",
        "agent_id": "p-1",
    }
    books.one_by_one(started(0, complexity=3), doubled(1), completed(60, iterations=2, **end))

    (row,) = books.rows("""
        SELECT id, issue, status, template, model, goal, machine, complexity, started_at, started_epoch,
            ended_at, ended_epoch, duration_s, iterations, stages_passed, slowest_stage, pr_url, agent_id,
            input_tokens, output_tokens, reported_cost_usd, start_seen FROM pipeline_runs""")
    assert row[:8] == (1, 7, "success", "fast", "opus", "go", "m1", 3)
    assert row[8:13] == ("2026-01-05T12:00:00Z", NOON, "2026-01-05T12:01:00Z", NOON + 60, 60.0)
    assert row[13:] == (2, 6, "build", "https://x/1", "p-1", 100, 10, 0.5, 1)


def test_a_start_with_a_broken_payload_is_still_the_same_start(books: Books) -> None:
    broken = {**doubled(1), "payload": '{"issue":"7","pipeline":"fast","goal":"say "hi"\n to \\ him"}'}
    books.one_by_one(started(0), broken)

    assert books.rows("SELECT id, start_seen FROM pipeline_runs") == [(1, 1)]


def test_a_doubled_start_alone_opens_the_run(books: Books) -> None:
    broken = {**doubled(1), "payload": '{"issue":"7","pipeline":"fast","goal":"say "hi""}'}
    books.one_by_one(broken, stage(2, "intake", "started"), completed(9))

    row = books.rows("SELECT id, issue, template, goal, start_seen, status FROM pipeline_runs")
    assert row == [(1, 7, "fast", 'say "hi"', 1, "success")]


def test_two_starts_of_an_issue_side_by_side_are_two_runs(books: Books) -> None:
    books.one_by_one(started(0), started(0), doubled(1), doubled(1))

    assert books.rows("SELECT id, status FROM pipeline_runs") == [(1, "abandoned"), (2, "running")]


def test_an_issue_of_another_repository_is_text(books: Books) -> None:
    books.one_by_one(started(0, "acme/rocket:58"), doubled(1, "acme/rocket:58"), completed(60, "acme/rocket:58"))

    assert books.rows("SELECT issue, status FROM pipeline_runs") == [("acme/rocket:58", "success")]


def test_a_run_without_an_end_is_running(books: Books) -> None:
    books.one_by_one(started(0), doubled(1), stage(2, "intake", "started"))

    assert books.rows("SELECT status, ended_epoch, duration_s FROM pipeline_runs") == [("running", None, None)]


def test_a_run_whose_last_stage_failed_has_failed(books: Books) -> None:
    """A failing pipeline never says that it is over."""
    books.one_by_one(started(0), stage(2, "plan", "started"), told(30, "plan", "failed"))
    books.events(stage(31, "plan", "failed", duration_s=29, error="no plan", error_class="logic"))

    row = books.rows("SELECT status, failed_stage, error_class, ended_epoch, duration_s FROM pipeline_runs")
    assert row == [("failed", "plan", "logic", NOON + 31, 31.0)]
    assert books.stages() == [("plan", 1, "failed")]
    assert books.rows("SELECT duration_s, error FROM pipeline_stages") == [(29.0, "no plan")]


def test_a_failed_stage_that_is_followed_by_another_does_not_fail_the_run(books: Books) -> None:
    books.one_by_one(started(0), told(30, "build"), told(40, "test", "failed"), told(70, "build"))

    assert books.statuses() == ["running"]
    assert books.stages() == [("build", 1, "success"), ("test", 1, "failed"), ("build", 2, "success")]


def test_the_daemon_says_that_a_run_failed(books: Books) -> None:
    books.one_by_one(started(0), stage(2, "intake", "started"), reaped(50, result="failure"))

    assert books.rows("SELECT status, ended_epoch FROM pipeline_runs") == [("failed", NOON + 50)]


def test_a_success_that_only_the_daemon_tells_of_is_one(books: Books) -> None:
    books.one_by_one(started(0), reaped(50))

    assert books.rows("SELECT status, ended_epoch FROM pipeline_runs") == [("success", NOON + 50)]


def test_what_a_pipeline_says_of_its_end_counts_more_than_the_daemon(books: Books) -> None:
    books.one_by_one(started(0), completed(50), reaped(60, result="failure"))

    assert books.rows("SELECT status, ended_epoch FROM pipeline_runs") == [("success", NOON + 50)]


def test_a_completed_failure_keeps_what_it_says(books: Books) -> None:
    books.events(started(0), completed(50, result="failure", failed_stage="test", error_class="logic"))
    books.events(stage(90, "build", "failed", error_class="other"))  # late

    row = books.rows("SELECT status, failed_stage, error_class, ended_epoch FROM pipeline_runs")
    assert row == [("failed", "test", "logic", NOON + 50)]


def test_a_crash_before_the_start_is_a_run(books: Books) -> None:
    books.one_by_one(event("daemon.spawn", 0, pid=1), reaped(40, result="failure", duration_s=30))

    row = books.rows("SELECT issue, status, start_seen, started_epoch, ended_epoch FROM pipeline_runs")
    assert row == [(7, "failed", 0, NOON + 10, NOON + 40)]


def test_a_crash_after_an_earlier_run_is_not_laid_to_that_run(books: Books) -> None:
    books.events(started(0), completed(60), event("daemon.spawn", 500, pid=1))
    books.events(reaped(540, result="failure", duration_s=40))

    assert books.rows("SELECT status, started_epoch FROM pipeline_runs") == [
        ("success", NOON),
        ("failed", NOON + 500),
    ]


def test_a_spawn_written_late_is_that_of_the_start_before(books: Books) -> None:
    books.one_by_one(started(0), event("daemon.spawn", 2, pid=1), doubled(3), reaped(90, result="failure"))

    assert books.statuses() == ["failed"]


def test_a_second_reap_is_a_second_run(books: Books) -> None:
    books.one_by_one(started(0), reaped(50, result="failure"), reaped(99, result="failure", duration_s=20))

    assert books.rows("SELECT status, start_seen FROM pipeline_runs") == [("failed", 1), ("failed", 0)]


def test_a_retry_is_a_run_of_its_own(books: Books) -> None:
    first = [
        started(0),
        stage(1, "plan", "started"),
        stage(9, "plan", "failed"),
        reaped(20, result="failure"),
    ]
    books.events(*first, event("daemon.spawn", 50, pid=2), started(60), doubled(61))
    books.events(stage(62, "plan", "started"), completed(99), reaped(120))

    assert books.rows("SELECT status, next_run_id IS NULL FROM pipeline_runs ORDER BY id") == [
        ("failed", 0),
        ("success", 1),
    ]
    assert books.stages() == [("plan", 1, "failed"), ("plan", 1, "running")]


def test_an_unfinished_run_is_abandoned_when_the_next_starts(books: Books) -> None:
    books.one_by_one(started(0), stage(5, "plan", "started"), started(900))

    assert books.rows("SELECT status, ended_epoch FROM pipeline_runs ORDER BY id") == [
        ("abandoned", NOON + 5),
        ("running", None),
    ]


@pytest.mark.parametrize("kind", ["stale_kill", "stuck_kill", "hard_limit", "stale_dead"])
def test_a_run_that_the_daemon_killed_is_abandoned(books: Books, kind: str) -> None:
    books.one_by_one(started(0), told(5, "plan", "failed"), event(f"daemon.{kind}", 99, elapsed_s=99))

    assert books.rows("SELECT status, ended_epoch FROM pipeline_runs") == [("abandoned", NOON + 99)]


def test_a_killed_run_that_is_reaped_has_failed(books: Books) -> None:
    books.events(started(0), event("daemon.stuck_kill", 99, elapsed_s=99), reaped(110, result="failure"))

    assert books.statuses() == ["failed"]


def test_a_killed_run_that_goes_on_is_running(books: Books) -> None:
    books.events(started(0), event("daemon.stale_kill", 99, elapsed_s=99), stage(120, "plan", "started"))

    assert books.statuses() == ["running"]


def test_a_kill_after_the_end_changes_nothing(books: Books) -> None:
    books.one_by_one(started(0), completed(60), event("daemon.stale_kill", 7000, elapsed_s=500))

    assert books.rows("SELECT status, kill_id, last_epoch FROM pipeline_runs") == [("success", None, NOON + 60)]


def test_a_kill_of_a_run_never_seen_is_a_run(books: Books) -> None:
    books.events(event("daemon.stale_kill", 7000, elapsed_s=500))

    assert books.rows("SELECT status, started_epoch FROM pipeline_runs") == [("abandoned", NOON + 6500)]


def test_a_run_is_abandoned_after_a_day_of_event_time(books: Books) -> None:
    books.one_by_one(started(0), event("daemon.poll", DAY, None))
    assert books.statuses() == ["running"]

    books.events(event("daemon.poll", DAY + 1, None))
    assert books.statuses() == ["abandoned"]

    books.events(stage(DAY + 50, "plan", "started"))
    assert books.statuses() == ["running"]


def test_a_late_event_that_is_old_does_not_bring_a_run_back(books: Books) -> None:
    books.one_by_one(started(0), event("daemon.poll", 3 * DAY, None), stage(10, "plan", "started"))

    assert books.statuses() == ["abandoned"]


def test_the_clock_of_another_machine_ages_nothing(books: Books) -> None:
    books.events(started(0))
    ahead = {**event("daemon.poll", 9 * DAY, None), "from_developer": "bob", "from_machine": "m2"}
    books.lines([orjson.dumps(ahead)], team=True)

    assert books.statuses() == ["running"]


def test_events_of_other_machines_are_no_runs_here(books: Books) -> None:
    theirs = [{**e, "from_developer": "bob", "from_machine": "m2"} for e in (started(0), completed(9))]
    books.lines([orjson.dumps(e) for e in theirs], team=True)

    assert books.statuses() == []


@pytest.mark.parametrize(
    "first",
    [
        completed(60),
        stage(0, "plan", "started"),
        stage(50, "plan", duration_s=50),
        told(50, "plan", timing="50s"),
    ],
)
def test_history_that_begins_within_a_run_is_a_run(books: Books, first: dict[str, object]) -> None:
    books.one_by_one(first, reaped(100))

    row = books.rows("SELECT id, issue, status, start_seen, started_epoch FROM pipeline_runs")
    assert row == [(1, 7, "success", 0, NOON)]


def test_a_completion_without_a_start_after_another_is_a_second_run(books: Books) -> None:
    books.one_by_one(started(0), completed(60), completed(500, duration_s=100))

    assert books.rows("SELECT status, start_seen, started_epoch FROM pipeline_runs") == [
        ("success", 1, NOON),
        ("success", 0, NOON + 400),
    ]


def test_a_stage_that_starts_after_the_end_begins_another_run(books: Books) -> None:
    books.one_by_one(started(0), completed(60), reaped(61), stage(500, "plan", "started"), completed(600))

    assert books.rows("SELECT id, status, start_seen FROM pipeline_runs") == [
        (1, "success", 1),
        (4, "success", 0),
    ]


def test_time_that_steps_back_does_not_change_the_order(books: Books) -> None:
    books.one_by_one(started(100), stage(50, "plan", "started"), stage(40, "plan"), completed(30))

    assert books.rows("SELECT status, last_epoch FROM pipeline_runs") == [("success", NOON + 100)]


def test_a_pause_for_the_budget_is_kept_beside_the_success_it_reports(books: Books) -> None:
    books.one_by_one(started(0), event("pipeline.budget_paused", 5, stage="plan"), completed(9))

    assert books.rows("SELECT status, paused_stage FROM pipeline_runs") == [("success", "plan")]


def test_a_pause_for_the_budget_of_a_run_that_nobody_saw_or_that_is_over_changes_nothing(books: Books) -> None:
    books.one_by_one(event("pipeline.budget_paused", 0, stage="plan"))
    assert books.statuses() == []

    books.one_by_one(started(1), completed(9), event("pipeline.budget_paused", 10, stage="plan"))
    assert books.rows("SELECT status, paused_stage, last_epoch FROM pipeline_runs") == [("success", None, NOON + 9)]


def test_a_crash_whose_length_is_not_told_began_when_its_job_was_spawned(books: Books) -> None:
    books.events(started(0), completed(60), event("daemon.spawn", 500, pid=1))
    books.events(event("daemon.reap", 540, result="failure"))

    assert books.rows("SELECT status, started_epoch FROM pipeline_runs") == [("success", NOON), ("failed", NOON + 500)]


def test_a_stage_that_is_not_named_is_a_sign_of_life_and_no_attempt(books: Books) -> None:
    books.one_by_one(started(0), event("stage.skipped", 5, reason="no need"), event("stage.complete", 6))

    assert books.stages() == []
    assert books.rows("SELECT status, last_epoch FROM pipeline_runs") == [("running", NOON + 5)]


def test_a_stage_told_of_three_times_is_one_attempt(books: Books) -> None:
    books.events(started(0), doubled(1), stage(2, "plan", "started"))
    books.events(told(20, "plan", timing="10s"))
    books.events(stage(21, "plan", duration_s=19, result="success"))

    row = books.rows("SELECT stage, attempt, status, started_epoch, ended_epoch, duration_s FROM pipeline_stages")
    assert row == [("plan", 1, "success", NOON + 2, NOON + 21, 19.0)]


@pytest.mark.parametrize(
    ("timing", "seconds"),
    [
        ("6s", 6.0),
        ("10m 9s", 609.0),
        ("1h 2m 3s", 3723.0),
        ("1191s", 1191.0),
        ("2h", 7200.0),
        ("soon", None),
        ("", None),
    ],
)
def test_build_and_test_show_only_in_payloads(books: Books, timing: str, seconds: float | None) -> None:
    books.events(started(0), told(8000, "build", timing=timing))

    began = None if seconds is None else NOON + 8000 - int(seconds)
    assert books.rows("SELECT stage, status, duration_s, started_epoch FROM pipeline_stages") == [
        ("build", "success", seconds, began)
    ]


def test_a_payload_with_numbers_and_spaces_is_read_too(books: Books) -> None:
    odd = event("stage.complete", 9, None, event_id="e", payload='{ "stage": "build", "issue": 7, "timing": 4 }')
    books.events(started(0), odd)

    assert books.rows("SELECT stage, run_id, duration_s FROM pipeline_stages") == [("build", 1, 4.0)]


def test_a_stage_begun_again_is_the_next_attempt(books: Books) -> None:
    for at in (0, 100, 200):
        books.events(stage(at, "plan", "started"), stage(at + 50, "plan", "failed" if at < 200 else "completed"))

    assert books.stages() == [("plan", 1, "failed"), ("plan", 2, "failed"), ("plan", 3, "success")]


def test_an_outcome_that_contradicts_the_payload_is_the_next_attempt(books: Books) -> None:
    books.one_by_one(started(0), told(5, "test", "failed"), stage(60, "test"))

    assert books.stages() == [("test", 1, "failed"), ("test", 2, "success")]


def test_a_skipped_stage_is_an_attempt_with_its_reason(books: Books) -> None:
    books.one_by_one(started(0), stage(5, "plan", "skipped", reason="human_skip"), stage(9, "plan", "started"))

    assert books.stages() == [("plan", 1, "skipped"), ("plan", 2, "running")]
    assert books.rows("SELECT reason FROM pipeline_stages WHERE attempt = 1") == ["human_skip"]


def test_runs_without_an_issue_may_overlap(books: Books) -> None:
    books.events(started(0, 0), doubled(1, 0), started(100, 0, "full"), doubled(101, 0, "full"))
    books.events(completed(160, 0, duration_s=160), completed(200, 0, duration_s=100, template="full"))

    assert books.rows("SELECT template, status, completed_epoch FROM pipeline_runs ORDER BY id") == [
        ("fast", "success", NOON + 160),
        ("full", "success", NOON + 200),
    ]


def test_of_runs_alike_without_an_issue_the_end_finds_the_one_it_fits(books: Books) -> None:
    books.one_by_one(
        started(0, 0), started(300, 0), completed(400, 0, duration_s=399), completed(410, 0, duration_s=108)
    )

    assert books.rows("SELECT started_epoch, completed_epoch FROM pipeline_runs ORDER BY id") == [
        (NOON, NOON + 400),
        (NOON + 300, NOON + 410),
    ]


def test_stages_without_an_issue_go_to_the_run_that_waits_for_them(books: Books) -> None:
    books.one_by_one(started(0, 0), stage(1, "plan", "started", 0), started(5, 0), stage(6, "intake", "started", 0))
    books.one_by_one(told(20, "plan", issue=0), stage(21, "plan", issue=0), told(22, "intake", issue=0))

    assert books.rows("SELECT run_id, stage, status FROM pipeline_stages ORDER BY id") == [
        (1, "plan", "success"),
        (3, "intake", "success"),
    ]


def test_a_silent_run_without_an_issue_takes_no_more_events(books: Books) -> None:
    books.one_by_one(started(0, 0), completed(2 * DAY, 0, duration_s=50))

    assert books.statuses() == ["abandoned", "success"]


@pytest.mark.parametrize(
    "odd",
    [
        event("pipeline.started", 1, goal=["a"], template={"a": 1}, complexity="high", machine=2**70),
        event(
            "pipeline.completed",
            1,
            input_tokens="many",
            total_cost="1e400",
            iterations=2**63,
            duration_s="nan",
        ),
        event("daemon.reap", 1, duration_s=1e300, result=5),
        event("stage.failed", 1, stage=None, error={"a": [1]}, duration_s=1e300),
        event("stage.completed", 1, stage="x", duration_s=-5),
        event("stage.complete", 1, None, event_id="e", payload="not json at all"),
        event("stage.complete", 1, None, event_id="e", payload='["list"]'),
        event("stage.complete", 1, None, event_id="e", payload={"stage": ["x"], "issue": {}, "timing": []}),
        event("pipeline.started", 1, None, event_id="e", payload=5),
        event("daemon.stale_kill", 1, elapsed_s="x" * 500),
        event("cost.record", 1, None, cost_usd=1e300, input_tokens=2**62, output_tokens="x"),
        {"type": "stage.started", "issue": 2**80, "stage": "x", "ts": "not a time"},
        {"type": "pipeline.completed", "ts_epoch": 2**62, "issue": 7, "result": "success"},
    ],
)
def test_no_value_stops_the_projection(books: Books, odd: dict[str, object]) -> None:
    books.one_by_one(odd, odd, {**odd, "issue": 0}, started(5), completed(60))

    assert "success" in books.statuses()


def test_a_batch_without_anything_of_interest_changes_nothing(books: Books) -> None:
    books.events(started(0), stage(5, "plan", "started"))
    before = books.everything()
    books.events(published("eventbus.tick", 3), event("memory.metric", 4, metric="x"))

    assert books.everything() == before


def test_skipping_a_stage_that_failed_is_another_attempt(books: Books) -> None:
    books.events(started(0), stage(5, "review", "failed"), stage(9, "review", "skipped", reason="resumed"))

    assert books.stages() == [("review", 1, "failed"), ("review", 2, "skipped")]
