"""Those who follow a journal: ours, and what one would take instead. Each is a process, or several, in a folder."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

SETTLE_S = 20.0
SEQ = re.compile(rb'"stage":"n(\d+)"')
FROM_TEXT = """
SELECT CAST(substr(message, instr(message, '"stage":"n') + 10) AS INTEGER) FROM lines"""


class Follower:
    """One process that follows `events.jsonl` in a folder."""

    name: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "events.jsonl"
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> str:
        """Return what keeps it from being run here, '' for nothing."""
        return ""

    def command(self) -> Sequence[str]:
        """Return how it is started."""
        raise NotImplementedError

    def stored(self) -> list[int]:
        """Return the numbers of the lines that have arrived, as often as they have."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                list(self.command()), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            self.process.wait()
            self.process = None

    def stop(self) -> None:
        """End it as a service manager does."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)

    def catch_up(self) -> None:
        """Have it look, where it does not by itself."""

    def settle(self, wanted: set[int]) -> None:
        """Wait until all of this has arrived, or until it is plain that it will not."""
        self.catch_up()
        deadline = time.monotonic() + SETTLE_S
        while not wanted <= set(self.stored()) and time.monotonic() < deadline:
            time.sleep(0.05)


class Ours(Follower):
    """`shipwrightd run`."""

    name = "shipwrightd"

    def command(self) -> Sequence[str]:
        """Return how it is started."""
        db = self.folder / "db" / "shipwright.db"
        return [sys.executable, "-m", "shipwrightd", "run", "--home", str(self.folder), "--db", str(db)]

    def stored(self) -> list[int]:
        """Ask the database."""
        found = _query(self.folder / "db" / "shipwright.db", "SELECT stage FROM events ORDER BY id")
        return [int(stage[1:]) for (stage,) in found if stage]


class Rsyslog(Follower):
    """rsyslog's imfile, with all it has for truncation and restarts, into a file."""

    name = "rsyslog imfile"

    @classmethod
    def missing(cls) -> str:
        """Tell whether it is installed."""
        return "" if _program("RSYSLOGD", "rsyslogd") else "no rsyslogd"

    def command(self) -> Sequence[str]:
        """Return how it is started, and write its configuration."""
        (self.folder / "spool").mkdir(exist_ok=True)
        (self.folder / "rsyslog.conf").write_text(
            f'global(workDirectory="{self.folder}/spool" maxMessageSize="64k")\n'
            'module(load="imfile" mode="inotify")\n'
            f'input(type="imfile" File="{self.journal}" Tag="x" reopenOnTruncate="on" PersistStateInterval="1")\n'
            'template(name="raw" type="string" string="%msg%\\n")\n'
            f'*.* action(type="omfile" file="{self.folder}/out" template="raw")\n'
        )
        program = _program("RSYSLOGD", "rsyslogd")
        return [program, "-n", "-f", str(self.folder / "rsyslog.conf"), "-i", str(self.folder / "pid")]

    def start(self) -> None:
        """Start it; what a killed one left would keep it from starting."""
        (self.folder / "pid").unlink(missing_ok=True)
        super().start()

    def stored(self) -> list[int]:
        """Read its file."""
        out = self.folder / "out"
        return [int(seq) for seq in SEQ.findall(out.read_bytes())] if out.exists() else []


class SyslogNg(Follower):
    """syslog-ng's wildcard-file with its SQLite destination."""

    name = "syslog-ng to SQLite"

    @classmethod
    def missing(cls) -> str:
        """Tell whether it is installed; it needs its SQL module and the SQLite driver of libdbi, too."""
        return "" if _program("SYSLOG_NG", "syslog-ng") else "no syslog-ng"

    def command(self) -> Sequence[str]:
        """Return how it is started, and write its configuration."""
        (self.folder / "syslog-ng.conf").write_text(
            "@version: 3.35\n"
            f'source s {{ wildcard-file(base-dir("{self.folder}") filename-pattern("events.jsonl")'
            " follow-freq(0.2) flags(no-parse)); };\n"
            f'destination d {{ sql(type(sqlite3) database("{self.folder}/out.db") table("lines")'
            ' columns("message text") values("$MESSAGE") indexes()); };\n'
            "log { source(s); destination(d); };\n"
        )
        places = [f"--{name}={self.folder}/{name}" for name in ("persist-file", "pidfile", "control")]
        modules = os.environ.get("SYSLOG_NG_MODULES")
        more = [f"--module-path={modules}"] if modules else []
        configured = f"--cfgfile={self.folder}/syslog-ng.conf"
        return [_program("SYSLOG_NG", "syslog-ng"), "--foreground", "--no-caps", configured, *places, *more]

    def stored(self) -> list[int]:
        """Ask its database."""
        return [int(seq) for (seq,) in _query(self.folder / "out.db", FROM_TEXT) if seq]


class Pipe(Follower):
    """tail -F into sqlite-utils, in a shell."""

    name = "tail -F \\| sqlite-utils"

    @classmethod
    def missing(cls) -> str:
        """Tell whether it is installed."""
        return "" if _program("SQLITE_UTILS", "sqlite-utils") else "no sqlite-utils"

    def command(self) -> Sequence[str]:
        """Return how it is started."""
        insert = f"'{_program('SQLITE_UTILS', 'sqlite-utils')}' insert '{self.folder}/out.db' events - --nl --alter"
        return ["sh", "-c", f"tail -n +1 -F '{self.journal}' | {insert}"]

    def stored(self) -> list[int]:
        """Ask its database."""
        found = _query(self.folder / "out.db", "SELECT stage FROM events")
        return [int(stage[1:]) for (stage,) in found if stage]


class Importer(Follower):
    """Shipwright's own `db migrate`, run when it is asked to look."""

    name = "Shipwright db migrate"

    @classmethod
    def missing(cls) -> str:
        """Tell whether there is a checkout."""
        script = Path(os.environ.get("SHIPWRIGHT_CHECKOUT", "/nowhere")) / "scripts" / "sw-db.sh"
        return "" if script.is_file() else "no SHIPWRIGHT_CHECKOUT"

    def start(self) -> None:
        """Import what is there."""
        self.catch_up()

    def catch_up(self) -> None:
        """Import what is there; its home is a folder beside, with the journal in it by a link."""
        home = self.folder / "user" / ".shipwright"
        home.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob("events.jsonl*"):
            link = home / path.name
            if not link.is_symlink():
                link.symlink_to(path)
        script = Path(os.environ["SHIPWRIGHT_CHECKOUT"]) / "scripts" / "sw-db.sh"
        with (self.folder / "log").open("ab") as log:
            subprocess.run(
                ["bash", str(script), "migrate"],
                env={**os.environ, "HOME": str(self.folder / "user")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
                timeout=600,
            )

    def stored(self) -> list[int]:
        """Ask its database."""
        found = _query(self.folder / "user" / ".shipwright" / "shipwright.db", "SELECT stage FROM events")
        return [int(stage[1:]) for (stage,) in found if stage]


FOLLOWERS: tuple[type[Follower], ...] = (Ours, Rsyslog, SyslogNg, Pipe, Importer)


def _program(variable: str, name: str) -> str:
    """Return the path of a program: named by a variable, beside this Python, or on PATH; '' for none."""
    beside = Path(sys.executable).parent / name
    return os.environ.get(variable) or (str(beside) if beside.exists() else shutil.which(name) or "")


def _query(path: Path, sql: str) -> list[tuple[str, ...]]:
    """Ask a database, read-only; nothing while it, or its table, is not there."""
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
        try:
            return list(db.execute(sql))
        except sqlite3.OperationalError:
            return []
