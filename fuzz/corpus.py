"""The inputs worth keeping: one file a target, an input a line as a Python bytes literal, shortest first.

A file and not a folder of thousands, so that a change of the corpus can be read.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fuzz.targets import load

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType, FrameType

    from fuzz.targets import Target

FOLDER = Path(__file__).parent / "corpus"
COUNTS = (1, 2, 3, 4, 8, 16, 32, 128)  # libFuzzer's: how often an edge is passed matters by these steps

Edge = tuple[str, int, int, int]


def path_of(name: str) -> Path:
    """Return the file that holds the inputs of a target."""
    return FOLDER / f"{name}.txt"


def read(name: str) -> list[bytes]:
    """Return the kept inputs of a target, without its seeds."""
    path = path_of(name)
    return [ast.literal_eval(line) for line in path.read_text().splitlines()] if path.exists() else []


def write(name: str, inputs: Iterable[bytes]) -> None:
    """Keep these inputs, in an order that does not change by chance."""
    lines = [f"{data!r}\n" for data in sorted(set(inputs), key=lambda data: (len(data), data))]
    path_of(name).write_text("".join(lines))


def minimised(target: Target, inputs: Iterable[bytes]) -> list[bytes]:
    """Return the inputs, shortest first, that reach a branch, or repeat one so often, as none before them did."""
    seen: set[Edge] = set()
    kept = []
    for data in target.SEEDS:
        seen |= edges(target, data)
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        if len(data) > target.LONGEST:
            break
        fresh = edges(target, data) - seen
        if fresh:
            seen |= fresh
            kept.append(data)
    return kept


def edges(target: Target, data: bytes) -> set[Edge]:
    """Return which branches of the instrumented modules an input takes, and about how often."""
    files = {str(sys.modules[name].__file__) for name in target.INSTRUMENTED}
    counts: dict[tuple[str, int, int], int] = {}

    def local(code: CodeType) -> object:
        last = 0

        def step(frame: FrameType, event: str, _arg: object) -> object:
            nonlocal last
            if event == "line":
                edge = (code.co_qualname, last, frame.f_lineno)
                counts[edge] = counts.get(edge, 0) + 1
                last = frame.f_lineno
            return step

        return step

    def called(frame: FrameType, _event: str, _arg: object) -> object:
        return local(frame.f_code) if frame.f_code.co_filename in files else None

    before = sys.gettrace()
    sys.settrace(called)  # type: ignore[arg-type]
    try:
        target.check(data)
    finally:
        sys.settrace(before)
    return {(*edge, max(step for step in COUNTS if step <= count)) for edge, count in counts.items()}


def keep(name: str, found: Iterable[bytes]) -> int:
    """Add what a search found to the kept inputs of a target, minimised; return how many there are now."""
    target = load(name)
    kept = minimised(target, [*read(name), *found])
    write(name, kept)
    return len(kept)
