"""Options that more than one module of the command line declares."""

from __future__ import annotations

from typing import Annotated

import typer

Home = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Shipwright's folder [env: SHIPWRIGHTD_HOME; default: ~/.shipwright]"),
]
Db = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="the database [env: SHIPWRIGHTD_DB; default: shipwrightd/shipwright.db in the home]",
    ),
]
