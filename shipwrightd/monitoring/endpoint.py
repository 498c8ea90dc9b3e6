"""`run --metrics HOST:PORT`: what the loop did and what `status` says, at /metrics; whether it is well, at /healthz."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import apsw
import structlog

from shipwrightd.daemon.callbacks import Listener
from shipwrightd.errors import ShipwrightdError
from shipwrightd.monitoring import exposition, process
from shipwrightd.monitoring.exposition import gauge
from shipwrightd.monitoring.metrics import Figures
from shipwrightd.monitoring.request import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shipwrightd.config.settings import Settings
    from shipwrightd.daemon.callbacks import Batch, Turn
    from shipwrightd.monitoring.exposition import Metric
    from shipwrightd.monitoring.server import Server

FRESH_S = 1.0  # for so long the database is not asked again
LAG = "shipwrightd_source_lag_bytes"

log = structlog.get_logger()


class Endpoint(Listener):
    """Serves what it hears. Follows the setting: SIGHUP begins, moves and ends it.

    `of_database` is asked in the server's thread, at most once a second, for what the database knows;
    ShipwrightdError and apsw.Error of it are taken for "cannot be read now".
    """

    def __init__(self, of_database: Callable[[], Sequence[Metric]], build_info: Metric) -> None:
        """Serve nothing yet."""
        self._of_database = of_database
        self._build_info = build_info
        self._figures = Figures()
        self._server: Server | None = None
        self._address = ""
        self._known: list[Metric] = []
        self._asked_at = float("-inf")
        self._began = time.time()

    def started(self, settings: Settings) -> None:
        """Begin to serve. Raises ConfigError and PathError for an address that cannot be had."""
        self._figures.started(settings)
        self._serve(settings.metrics)

    def following(self) -> None:
        """Count."""
        self._figures.following()

    def batch_stored(self, batch: Batch) -> None:
        """Count."""
        self._figures.batch_stored(batch)

    def turned(self, turn: Turn) -> None:
        """Count."""
        self._figures.turned(turn)

    def reloaded(self, settings: Settings) -> None:
        """Serve where the settings say; what cannot be had leaves things as they are."""
        self._figures.reloaded(settings)
        if settings.metrics == self._address:
            return
        try:
            self._serve(settings.metrics)
        except ShipwrightdError as error:
            log.error("metrics_refused", error=str(error))  # noqa: TRY400 - a user's mistake has no traceback

    def stopping(self) -> None:
        """End."""
        if self._server is not None:
            self._server.stop()

    def _serve(self, address: str) -> None:
        """Serve at an address, an empty one for not at all, instead of where it is served now."""
        server = self._open(address) if address else None
        if self._server is not None:
            self._server.stop()
        self._server, self._address = server, address

    def _open(self, address: str) -> Server:
        from shipwrightd.monitoring.server import Server, bound, is_local  # noqa: PLC0415 - seldom needed

        listening = bound(address)
        host, port = listening.getsockname()[:2]
        local = is_local(host)
        log.info("metrics_served", host=host, port=port)
        if not local:
            log.warning("metrics_open", host=host, why="whoever reaches this address may read them: no login is asked")
        return Server(listening, {"/metrics": self.metrics, "/healthz": self.health}, local=local)

    def health(self) -> Answer:
        """Return 200, or 503 with the reasons."""
        ailments = self._figures.ailments()
        return Answer(503, "".join(f"{each}\n" for each in ailments)) if ailments else Answer(200, "well\n")

    def metrics(self) -> Answer:
        """Return all figures."""
        known = self._ask()
        lag = [sample.value for metric in known if metric.name == LAG for sample in metric.samples]
        readable = gauge("shipwrightd_database_readable", "0 while the database cannot be asked", int(bool(known)))
        mine = [readable, *self._figures.metrics(sum(lag) if known else None), *process.metrics(self._began)]
        found = [*(known or [self._build_info]), *mine]
        return Answer(200, exposition.text(found), exposition.CONTENT_TYPE)

    def _ask(self) -> list[Metric]:
        """Return what the database knows, not older than a second; nothing when it cannot be read."""
        if time.monotonic() - self._asked_at >= FRESH_S:
            try:
                self._known = list(self._of_database())
            except (ShipwrightdError, apsw.Error, OSError) as error:
                log.debug("metrics_database_unread", error=str(error))
                self._known = []
            self._asked_at = time.monotonic()
        return self._known
