"""A home in which every text that its files carry tries to act on whoever shows it, and a terminal to show it on."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Sets the title, goes red, clears the screen through C1, turns the line around, hides text, and forges a row.
EVIL = "x\x1b]0;owned\x07\x1b[31m\x9b2J\x7f\u202eyes\u2066\u200b\U000e0041\u2028\r\nFORGED  ROW\x08\x00"
EVIL_NAME = EVIL.replace("\0", "").replace("/", "")  # as far as a file or an argument can be called so
NOW = 1_767_700_000
TS = "2026-01-06T11:00:00Z"
# All that moves a cursor, sets something or reorders; a terminal's own line ends are added back by who compares.
ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\U000e0000-\U000e007f]"
)

SHOW = """
import sys
from shipwrightd.__main__ import guarded, open_closed_streams
open_closed_streams()
for command in sys.argv[1].split("\\x1e"):
    print("#", ascii(command), flush=True)
    guarded(command.split("\\x1f"))
    sys.stdout.flush()
"""

ANSWER = """
import contextlib, io, json, sys, traceback
from shipwrightd.__main__ import guarded
def hook(event, arguments):
    if event.startswith(("socket.", "http.", "urllib.", "ssl.")):
        raise RuntimeError(f"{event} {arguments}")
sys.addaudithook(hook)
answers = []
for command in json.loads(sys.argv[1]):
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    err = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = guarded(command)
        except BaseException:
            code = traceback.format_exc()
    out.flush()
    answers.append([code, out.buffer.getvalue().decode(), err.getvalue()])
print(json.dumps(answers))
"""


class Answer(NamedTuple):
    """What a command left: its exit code, or the traceback with which it ended, and what it wrote."""

    code: int | str
    out: str
    err: str


def answers(commands: Sequence[Sequence[str]], *, within_s: float = 60) -> list[Answer]:
    """Run commands one after the other in one process, which may use no network; starting costs more than they do."""
    told = subprocess.run(
        [sys.executable, "-c", ANSWER, json.dumps(commands)],
        capture_output=True,
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=within_s,
    )
    return [Answer(*answer) for answer in orjson.loads(told.stdout)]


def event(second: int, kind: str, **fields: object) -> bytes:
    ts = f"2026-01-06T10:00:{second:02}Z"
    return orjson.dumps({"ts": ts, "ts_epoch": 1_767_693_600 + second, "type": kind, **fields}) + b"\n"


def make_home(home: Path, text: str = EVIL) -> None:
    """Fill the home with files whose texts are all `text`."""
    repo = home / "memory" / "0123456789ab"
    repo.mkdir(parents=True)
    (home / "heartbeats").mkdir()
    told = {"issue": text, "stage": text, "model": text, "template": text, "error": text, "reason": text, "goal": text}
    one = {**told, "issue": 7}
    (home / "events.jsonl").write_bytes(
        event(1, "pipeline.started", **told)
        + event(2, "pipeline.started", **one)
        + event(3, "stage.started", **one)
        + event(4, "stage.failed", **one, result="failure", duration_s=1, error_class=text)
        + event(5, "stage.completed", **one, duration_s=1)
        + event(6, "pipeline.completed", **one, result="failure", duration_s=9)
        + event(7, "cost.record", **one, cost_usd=1, input_tokens=1, output_tokens=1)
        + event(8, text, **told, text=text)
        + text.replace("\n", " ").encode()
        + b"\n"
    )
    (home / "team-events.jsonl").write_bytes(event(9, text, from_developer=text, from_machine=text))
    write(home / "costs.json", {"entries": [{**told, "cost_usd": 1, "ts": TS, "ts_epoch": NOW}, text], "summary": text})
    write(home / "budget.json", {"daily_budget_usd": 5, "enabled": True, "note": text})
    developer = {"developer_id": text, "machine_name": text, "hostname": text, "platform": text, "queued": [text]}
    jobs = [{"issue": 7, "title": text, "goal": text, "stage": text}]
    write(home / "developer-registry.json", [{**developer, "last_heartbeat": NOW * 1_000, "active_jobs": jobs}])
    state = {"active_jobs": jobs, "queued": [text], "titles": {"7": text}}
    done = [{"issue": 7, "result": text, "duration": text, "completed_at": text}]
    write(home / "daemon-state.json", {**state, "completed": done, "failure_history": [{"ts": TS, "class": text}]})
    write(home / "heartbeats" / "job.json", {**told, "last_activity": text, "updated_at": TS})
    failure = {"stage": text, "pattern": text, "root_cause": text, "fix": text, "seen_count": 2, "last_seen": TS}
    write(repo / "failures.json", {"failures": [failure, text]})
    write(repo / "decisions.json", {"decisions": [{"type": text, "summary": text, "detail": text, "ts": TS}]})
    write(repo / "patterns.json", {"project": {"type": text, "framework": text}, "known_issues": [text]})
    write(home / "memory" / "global.json", {"common_patterns": [{"pattern": text}], "cross_repo_learnings": [text]})


def write(path: Path, value: object) -> None:
    path.write_bytes(orjson.dumps(value))


def on_a_terminal(commands: Sequence[Sequence[str]], cwd: Path, *, until: bytes = b"\0") -> str:
    """Run commands one after the other in one process on a terminal without colours; return what appeared there.

    The process is asked to end when `until` has appeared.
    """
    master, slave = pty.openpty()
    joined = "\x1e".join("\x1f".join(command) for command in commands)
    environment = {**os.environ, "TERM": "dumb", "NO_COLOR": "1", "PYTHONUTF8": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", SHOW, joined], stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=environment
    ) as process:
        os.close(slave)
        shown = b""
        while piece := _read(master):
            shown += piece
            if until in piece:
                process.terminate()
        process.wait(60)
    os.close(master)
    return shown.decode().replace("\r\n", "\n")


def _read(master: int) -> bytes:
    try:
        return os.read(master, 1 << 16)
    except OSError:  # how Linux says that nobody writes any more
        return b""
