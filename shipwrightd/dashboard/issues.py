"""Which events always name an issue, by the places in Shipwright (1.10.0 and 3.0.0) that emit them.

The database keeps no issue of 0, so where one of these has none, the file said 0.
"""

from __future__ import annotations

from typing import Final

ALWAYS_NAMED: Final = frozenset(  # one text, because a list would be a line for each
    """
adversarial.delegated architecture.validated artifacts.persist_failed artifacts.persisted
autonomous.delegated_to_daemon autonomous.finding_failure autonomous.finding_success autonomous.issue_created
autonomous.pipeline_triggered autonomous.recruit_match build.commit_quality build.parallelism_suggested
compound.architecture compound.cycle compound.plateau compound.simulation convergence.plateau convergence.stuck
convergence.tests_passed daemon.budget_exhausted daemon.context_exhaustion daemon.failure_classified
daemon.hard_limit daemon.nudge daemon.priority_lane daemon.reap daemon.recovery daemon.retry
daemon.retry_exhausted daemon.skip_retry daemon.spawn daemon.stale_dead daemon.stale_kill daemon.stale_warning
daemon.stalled daemon.stuck_kill daemon.triage decompose.analyzed decompose.auto_completed decompose.completed
decompose.skipped incident.pipeline_triggered instrument_start intelligence.adaptive_iterations
intelligence.backtrack intelligence.backtrack_blocked intelligence.budget_cap
intelligence.convergence_acceleration intelligence.divergence_detected intelligence.findings_classified
intelligence.model_ab intelligence.model_ucb1 intelligence.reassessment intelligence.stage_skipped
intelligence.triage issue.pr_merged_feedback merge.approval_pending merge.auto_enabled merge.blocked
merge.oversight_blocked model.outcome monitor.alert monitor.check monitor.rollback monitor.rollback_verified
monitor.started optimize.outcome_analyzed pipeline.audit_selection pipeline.budget_paused pipeline.cleanup
pipeline.comment_failed pipeline.completed pipeline.context_exhaustion pipeline.dod_verification
pipeline.human_message pipeline.quality_gate_failed pipeline.quality_gate_failed_strict
pipeline.quality_score_recorded pipeline.security_source_scan pipeline.started pipeline.vitals_check
pipeline_kill pipeline_spawn plan.validated plan.validation_escalated plan.validation_failure pm.analyze
pm.learn pm.orchestrate pm.recommend pm.team pr.rejected pr.skipped prediction.validated
quality.bash_compat_failed quality.bundle quality.coverage quality.coverage_failed quality.hard_floor_failed
quality.perf quality.security quality.untested_functions retry.classified retry.escalated retry.skipped
review.blocked review.oversight_blocked review.risk_assessed risk.outcome stage.artifact_miss stage.completed
stage.failed stage.skipped stage.started template.outcome test.completed triage_analyzed triage_labeled
triage_team_recommended vitals.adaptive_limit vitals.snapshot
""".split()  # noqa: SIM905 - see above
)
