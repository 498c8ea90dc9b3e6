"""Runs one target under atheris, with libFuzzer's arguments: python -m fuzz.one TARGET [ARGUMENT…]."""

from __future__ import annotations

import ast
import sys
from importlib.util import find_spec
from pathlib import Path

import atheris

from fuzz.targets import load


def main() -> None:
    """Instrument what the target names, and fuzz."""
    name = sys.argv.pop(1)
    with atheris.instrument_imports(include=list(instrumented(name))):
        target = load(name)
    atheris.Setup(sys.argv, target.check)
    atheris.Fuzz()


def instrumented(name: str) -> tuple[str, ...]:
    """Return the modules to instrument, read from the target's source: importing it would come too early."""
    spec = find_spec(f"fuzz.targets.{name}")
    assert spec
    assert spec.origin
    for node in ast.parse(Path(spec.origin).read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "INSTRUMENTED":
            return tuple(ast.literal_eval(node.value))
    raise ValueError(f"{name} names nothing to instrument")


if __name__ == "__main__":
    main()
