"""Our units under a real systemd: PID 1 of a machine made of namespaces, and a user's own without any privilege."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest
from booted import PROGRAM, UID, USER, Machine, machine, unmount
from world import DEADLINE_S, eventually, line

from shipwrightd.service.plan import STATE_FOLDER, SYSUSERS
from shipwrightd.service.systemd import UNIT

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.system

HOME = f'/home/{USER}/it\'s 100%h of $HOME, "ü" \\x41: done/.shipwright'  # each of these means something to systemd
SYSTEM_DB = str(STATE_FOLDER / "shipwright.db")
USER_DB = f"{HOME}/shipwrightd/shipwright.db"
IMPATIENT = "[Service]\nWatchdogSec=2s\nRestartSec=100ms\nTimeoutStopSec=1s\n"
UNITS = {True: "/etc/systemd/system", False: f"/home/{USER}/.config/systemd/user"}
MANAGER = (
    "systemd-run", "--quiet", f"--uid={UID}", f"--gid={UID}", "--property=Delegate=yes",
    f"--setenv=XDG_RUNTIME_DIR=/run/user/{UID}", f"--setenv=HOME=/home/{USER}",
    f"--setenv=SYSTEMD_UNIT_PATH=/run/units:{UNITS[False]}",
    "/lib/systemd/systemd", "--user",
)  # fmt: skip


class Box:
    """A machine with a service on it: the system's, or that of a user."""

    def __init__(self, inside: Machine, *, system: bool) -> None:
        self.inside = inside
        self.system = system
        self.db = SYSTEM_DB if system else USER_DB
        self.user = None if system else USER
        self.scope = ("--system",) if system else ("--user",)
        self.written = 0

    def service(self, *words: str, code: int = 0) -> str:
        """Run a command of `service` and return what it printed."""
        done = self.inside.call(
            PROGRAM,
            "service",
            *words,
            *(("--system",) if self.system else ()),
            user=self.user,
            SHIPWRIGHTD_SETTLE_S="0.5",
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def install(self) -> str:
        """Install it and return what that printed."""
        return self.service("install", "--home", HOME)

    def systemctl(self, *words: str) -> str:
        """Ask or tell its manager."""
        done = self.inside.call("systemctl", *self.scope, *words, user=self.user, XDG_RUNTIME_DIR=f"/run/user/{UID}")
        return done.stdout.strip()

    def show(self, name: str) -> str:
        """Return a property of the unit."""
        return self.systemctl("show", "--property", name, "--value", UNIT)

    def state(self) -> dict[str, Any]:
        """Return what `service status` says, whatever its exit code."""
        options = ("--system",) if self.system else ()
        done = self.inside.call(PROGRAM, "service", "status", "--json", *options, user=self.user)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def append(self, count: int = 1) -> None:
        """Write events as Shipwright does: in a file that is its user's alone."""
        events = b"".join(line(self.written + number) for number in range(1, count + 1)).decode()
        self.written += count
        path = shlex.quote(f"{HOME}/events.jsonl")
        self.inside.shell(
            f"umask 077; mkdir -p {shlex.quote(HOME)}; printf %s {shlex.quote(events)} >> {path}", user=USER
        )

    def follows(self) -> bool:
        """Tell whether all is stored that was written, by what the daemon tells its supervisor."""
        told = self.show("StatusText")
        return told.startswith("following: ") and " 0 B behind" in told and self.stored() == self.written

    def stored(self) -> int:
        """Return how many events the database holds."""
        done = self.inside.call(PROGRAM, "status", "--json", "--home", HOME, "--db", self.db, user=self.user)
        sources = json.loads(done.stdout)["sources"] if done.returncode == 0 else []
        return sum(source["records"] for source in sources)

    def drop_in(self, text: str) -> None:
        """Change the unit as an operator does."""
        folder = f"{UNITS[self.system]}/{UNIT}.d"
        self.inside.shell(f"mkdir -p {folder}; printf %s {shlex.quote(text)} > {folder}/test.conf", user=self.user)
        self.systemctl("daemon-reload")

    def kernel_says(self) -> dict[str, str]:
        """Return what the kernel enforces on the daemon."""
        text = self.inside.shell(f"cat /proc/{self.show('MainPID')}/status")
        return dict(entry.split(":\t", 1) for entry in text.splitlines() if ":\t" in entry)


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    scratch = tmp_path_factory.mktemp("machine")
    made = machine(scratch)
    try:
        with made:
            yield made
    finally:
        unmount(scratch)


ONLY_SYSTEM = pytest.mark.parametrize("box", ["system"], indirect=True)
ONLY_USER = pytest.mark.parametrize("box", ["user"], indirect=True)


@pytest.fixture(params=["system", "user"])
def box(booted: Machine, request: pytest.FixtureRequest) -> Iterator[Box]:
    made = Box(booted, system=request.param == "system")
    if not made.system and made.systemctl("is-system-running") != "running":
        booted.call(*MANAGER)
        eventually(lambda: made.systemctl("is-system-running") == "running", what="no systemd of a user")
    made.append()
    yield made
    made.service("uninstall")
    booted.shell(f"rm -rf {UNITS[made.system]}/{UNIT}.d {STATE_FOLDER}/* {shlex.quote(HOME)}")


def test_a_service_is_ready_confined_follows_the_home_and_goes_without_a_trace(box: Box) -> None:
    told = box.install()

    assert f"installed: {UNITS[box.system]}/{UNIT}" in told
    eventually(box.follows, what=str(box.state()))
    box.append(2)
    eventually(box.follows, what=str(box.state()))
    state = box.state()
    assert (state["installed"], state["enabled"], state["active"]) == (True, True, "active")
    assert state["pid"] == int(box.show("MainPID"))
    assert "running     yes (pid" in box.service("status")
    kernel = box.kernel_says()
    assert (kernel["NoNewPrivs"], kernel["Seccomp"], kernel["Umask"]) == ("1", "2", "0077")
    assert int(kernel["CapEff"], 16) == (1 << 2 if box.system else 0), "CAP_DAC_READ_SEARCH, or nothing"
    environment = box.inside.shell(f"tr '\\0' '\\n' < /proc/{state['pid']}/environ")
    assert "SHIPWRIGHTD_SETTLE_S=0.5" in environment.splitlines(), "set in the shell that installed it"
    watched = box.inside.call(PROGRAM, "status", "--home", HOME, "--db", box.db, user=box.user).stdout
    assert "degraded" not in watched

    box.service("uninstall")
    assert box.state()["installed"] is False
    assert box.show("LoadState") == "not-found"
    folders = f"{UNITS[box.system]} {SYSUSERS.parent}"  # which a machine without such files need not have
    assert box.inside.shell(f"for at in {folders}; do test ! -d $at || find $at -name '*shipwrightd*'; done") == ""
    assert box.stored() == box.written, "the database stays"
    assert "not installed" in box.service("uninstall")
    assert "service install" in box.service("start", code=66)


@ONLY_SYSTEM
def test_the_system_service_sees_one_home_and_no_secrets(box: Box) -> None:
    box.inside.shell("install -m 600 /dev/null /home/secret; install -m 600 /dev/null /var/lib/secret")
    box.install()
    root = f"/proc/{box.show('MainPID')}/root"

    seen = box.inside.shell(f"ls -A {root}/home {root}/home/{USER}/* {root}/var/lib {root}/root")
    assert ".shipwright" in seen
    assert "secret" not in seen
    assert ".config" not in seen
    assert box.inside.shell(f"stat -c %a {root}/etc/shadow") == "0\n"


@ONLY_USER
def test_a_second_install_changes_nothing_and_other_settings_restart_it(box: Box) -> None:
    box.install()
    pid = box.show("MainPID")

    assert box.install().startswith("unchanged: ")
    assert box.show("MainPID") == pid
    told = box.service("install", "--home", HOME, "--db", f"{box.db}.other")
    assert "daemon-reload" in told
    assert "updated: " in told
    assert box.show("MainPID") != pid
    assert ".other" in box.show("ExecStart")


@ONLY_USER
def test_reload_start_stop_and_restart(box: Box) -> None:
    box.install()
    eventually(box.follows)
    pid = box.show("MainPID")

    box.systemctl("reload", UNIT)
    eventually(lambda: box.show("ActiveState") == "active")
    assert box.show("MainPID") == pid
    box.service("restart")
    assert box.show("MainPID") != pid
    box.service("stop")
    assert box.state()["active"] == "inactive"
    assert "running     no" in box.service("status", code=1)
    box.service("start")
    assert box.state()["active"] == "active"


@ONLY_SYSTEM
def test_a_killed_and_a_stuck_daemon_are_started_again_and_nothing_is_lost(box: Box) -> None:
    box.drop_in(IMPATIENT)
    box.install()
    eventually(box.follows)
    for signal in ("KILL", "STOP"):
        pid = box.show("MainPID")
        box.systemctl("kill", f"--signal={signal}", UNIT)
        box.append(3)
        eventually(lambda pid=pid: box.show("MainPID") not in {pid, "0"}, within_s=2 * DEADLINE_S)  # type: ignore[misc]
        eventually(box.follows, what=str(box.state()))
    assert box.show("NRestarts") == "2"


@ONLY_SYSTEM
def test_what_no_restart_mends_stays_down(box: Box) -> None:
    box.drop_in(IMPATIENT)
    box.install()
    box.service("stop")
    box.inside.shell(f"echo 'of another program' > {shlex.quote(box.db)}", user=box.user)
    box.service("start", code=69)

    eventually(lambda: box.state()["active"] == "failed")
    assert (box.show("ExecMainStatus"), box.show("NRestarts")) == ("65", "0")
    assert "last end    exit-code" in box.service("status", code=1)


@ONLY_SYSTEM
def test_a_home_that_is_not_there_yet_is_tried_again(box: Box) -> None:
    box.drop_in(IMPATIENT)
    box.install()
    box.service("stop")
    box.inside.shell(f"mv {shlex.quote(HOME)} /home/{USER}/away", user=USER)
    box.service("start", code=69)
    eventually(lambda: int(box.show("NRestarts")) > 1)
    eventually(lambda: box.show("ExecMainStatus") == "66")
    box.inside.shell(f"mv /home/{USER}/away {shlex.quote(HOME)}", user=USER)
    eventually(box.follows, what=str(box.state()))
