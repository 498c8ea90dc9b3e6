"""`status` as it runs: without typer, which takes three times as long to load as the rest of `status` takes to run."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shipwrightd import config
from shipwrightd.errors import FOUND, PathError
from shipwrightd.text import UNLIMITED, width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipwrightd.config import Config
    from shipwrightd.status import Status

STDOUT = "-"


class Form(StrEnum):
    """An output format of `status`."""

    TABLE = "table"
    JSON = "json"
    PROMETHEUS = "prometheus"


FLAGS: dict[str, tuple[str, Any]] = {"--json": ("form", Form.JSON), "--check": ("check", True)}
VALUES = {"--home": "home", "--db": "db", "--format": "form", "--out": "out"}


def plain_options(arguments: Sequence[str]) -> dict[str, Any] | None:
    """Return the options of a plain `status` for `show`; None for all others, which typer checks and explains."""
    options: dict[str, Any] = {}
    rest = iter(arguments)
    for argument in rest:
        if argument in FLAGS:
            name, value = FLAGS[argument]
        else:
            option, equals, text = argument.partition("=")
            name, value = VALUES.get(option, ""), text if equals else next(rest, "")
            if not name or not value or value.startswith("-"):
                return None
        if name == "form":
            if name in options or value not in tuple(Form):
                return None
            value = Form(value)
        options[name] = value
    return options


def show(
    home: str | None = None, db: str | None = None, form: Form = Form.TABLE, out: str = STDOUT, *, check: bool = False
) -> int:
    """Print the state, or replace the file `out` by it; return FOUND for problems if `check` is set, else 0."""
    places = config.locate(home, db)
    from shipwrightd.journals import JOURNALS
    from shipwrightd.status import collect

    state = collect(places.home, places.db, [journal.name for journal in JOURNALS], time.time())
    text = _rendered(state, form, UNLIMITED if out != STDOUT else width())
    if out == STDOUT:
        sys.stdout.write(text)
    else:
        _replace(out, text, places)
    return FOUND if check and state.problems else 0


def _rendered(state: Status, form: Form, columns: int) -> str:
    if form is Form.PROMETHEUS:
        from shipwrightd.status import prometheus

        return prometheus.exposition(prometheus.metrics(state))
    from shipwrightd.status import text

    return f"{text.status_json(state) if form is Form.JSON else text.status_text(state, columns)}\n"


def _replace(out: str, text: str, places: Config) -> None:
    """Replace a file in one step, readable by the user of a collector. Raises PathError where that must not be."""
    from shipwrightd.export.files import destination, new_file

    target = destination(out, force=True, home=places.home, database=places.db)
    if not target.parent.is_dir():
        raise PathError(f"there is no folder {target.parent}", hint="create it first")
    with new_file(target, force=True) as temporary:
        temporary.write_text(text)
        temporary.chmod(0o644)
