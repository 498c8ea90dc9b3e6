"""Fuzzes each target for a while, one after the other: python -m fuzz [--runs N | --minutes M] [TARGET…].

What a search finds lies in .fuzz/TARGET and is where the next search begins. `--keep` puts the part of it that
reaches something new into fuzz/corpus, which the tests replay. An input that breaks a promise is written to
fuzz/crashes, and ends the run with code 1.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path

from fuzz import corpus
from fuzz.targets import NAMES, load

ROOT = Path(__file__).parent.parent
CRASHES = ROOT / "fuzz" / "crashes"
FOUND = ROOT / ".fuzz"
SECONDS_AN_INPUT = 20  # more is a hang
EXECUTIONS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
PACE = re.compile(r"stat::average_exec_per_sec:\s+(\d+)")
COVERED = re.compile(r"cov: (\d+) ft: (\d+)")


@dataclass(frozen=True, slots=True)
class Search:
    """What one search came to."""

    name: str
    executions: int
    per_second: int
    branches: int
    crashed: bool


def main() -> int:
    """Parse the command line, fuzz, and print a line a target."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzz the ingesting side.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)}; all without")
    bound = parser.add_mutually_exclusive_group()
    bound.add_argument("--runs", type=int, help="inputs a target")
    bound.add_argument("--minutes", type=float, default=1.0, help="minutes a target (default 1)")
    parser.add_argument("--keep", action="store_true", help="only put what was found into the corpus")
    asked = parser.parse_args()
    names = asked.targets or NAMES
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"no target {', '.join(unknown)}: there are {', '.join(NAMES)}")
    if asked.keep:
        for name in names:
            print(f"{name:<12} {corpus.keep(name, found(name)):>5} inputs kept")
        return 0
    limit = f"-runs={asked.runs}" if asked.runs else f"-max_total_time={round(asked.minutes * 60)}"
    print(f"{'TARGET':<12} {'EXECUTIONS':>12} {'PER SECOND':>11} {'BRANCHES':>9}", flush=True)
    crashed = False
    for name in names:
        got = search(name, limit)
        crashed |= got.crashed
        end = f"  broken, see {log_of(name).relative_to(ROOT)}, {CRASHES.relative_to(ROOT)}" if got.crashed else ""
        print(f"{name:<12} {got.executions:>12,} {got.per_second:>11,} {got.branches:>9,}{end}", flush=True)
    return int(crashed)


def found(name: str) -> list[bytes]:
    """Return the inputs that earlier searches of a target left."""
    return [file.read_bytes() for file in sorted((FOUND / name).glob("*"))]


def log_of(name: str) -> Path:
    """Return where the output of a target goes."""
    return FOUND / f"{name}.log"


def search(name: str, limit: str) -> Search:
    """Run one target in a process of its own; its output goes to .fuzz/TARGET.log."""
    folder = FOUND / name
    folder.mkdir(parents=True, exist_ok=True)
    CRASHES.mkdir(exist_ok=True)
    target = load(name)
    for data in (*target.SEEDS, *corpus.read(name)):
        (folder / sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
    words = FOUND / f"{name}.words"
    words.write_text("".join(f'"{quoted(word)}"\n' for word in target.WORDS))
    log = log_of(name)
    arguments = [
        *(str(folder), limit, f"-dict={words}", f"-max_len={target.LONGEST}", f"-timeout={SECONDS_AN_INPUT}"),
        *(f"-artifact_prefix={CRASHES}/{name}-", "-print_final_stats=1", "-rss_limit_mb=1024"),
    ]
    with log.open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "fuzz.one", name, *arguments],
            cwd=ROOT,
            stdout=output,
            stderr=output,
            check=False,
        )
    text = log.read_text(errors="replace")
    executions, pace = (_last(pattern, text) for pattern in (EXECUTIONS, PACE))
    return Search(name, executions, pace, _last(COVERED, text), done.returncode != 0)


def _last(pattern: re.Pattern[str], text: str) -> int:
    matches = list(pattern.finditer(text))
    return int(matches[-1][1]) if matches else 0


def quoted(word: bytes) -> str:
    r"""Return a word as libFuzzer's dictionaries have it: printable, or \xNN."""
    plain = b"".join(bytes([byte]) for byte in range(0x20, 0x7F) if byte not in b'"\\')
    return "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main())
