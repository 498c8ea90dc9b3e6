"""`service` where something is missing or refused, and on macOS, whose launchctl a script stands in for."""

from __future__ import annotations

import json
import os
import plistlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shipwrightd.service import Remove, Run, Step, Write, carry_out, plan
from shipwrightd.service.launchd import LABEL

pytestmark = pytest.mark.system

ONE_LINE = re.compile(r"shipwrightd: [^\n]+ - [^\n]+\n")
# launchctl as far as we use it: what it is told goes to a file, what is loaded is another file.
LAUNCHCTL = r"""#!/bin/sh
echo "$*" >> "$0.told"
case $1 in
    print) [ -e "$0.loaded" ] || exit 113; printf '%s = {\n\tstate = running\n\tpid = 42\n}\n' "$2" ;;
    bootstrap) [ ! -e "$0.loaded" ] || exit 37; [ ! -e "$0.busy" ] || { rm "$0.busy"; exit 5; }; touch "$0.loaded" ;;
    bootout) rm "$0.loaded"; touch "$0.busy" ;;
esac
"""


def call(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `shipwrightd service` with an environment that says nothing else."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "shipwrightd", "service", *words],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=60,
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **env},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return an empty folder of programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


# -- what is missing or refused


@pytest.mark.parametrize("words", [["install"], ["uninstall"], ["start"], ["stop"], ["restart"], ["logs"]])
def test_without_systemd_each_command_says_so_on_one_line(words: list[str], home: Path, path: Path) -> None:
    done = call(*words, PATH=str(path), HOME=str(home), SHIPWRIGHTD_HOME=str(home))

    assert done.returncode == 69
    assert ONE_LINE.fullmatch(done.stderr)
    assert "on this machine" in done.stderr
    assert not (home / ".config").exists()


def test_without_systemd_the_status_says_that_it_cannot_tell(home: Path, path: Path) -> None:
    done = call("status", PATH=str(path), HOME=str(home))
    assert (done.returncode, done.stderr) == (69, "")
    assert "unknown     there is no systemctl on this machine" in done.stdout
    assert json.loads(call("status", "--json", PATH=str(path), HOME=str(home)).stdout)["installed"] is False


def test_without_a_systemd_of_the_user_it_is_said_how_to_have_one(home: Path, path: Path) -> None:
    program(path / "systemctl", "#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2; exit 1\n")

    done = call("install", PATH=f"{path}:/bin", HOME=str(home), SHIPWRIGHTD_HOME=str(home))

    assert done.returncode == 69
    assert ONE_LINE.fullmatch(done.stderr)
    assert "loginctl enable-linger" in done.stderr
    assert not (home / ".config").exists(), "nothing is written that nobody reads"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["install", "--system"], 78, "--home /home/NAME/.shipwright"),
        (["install", "--system", "--home", "HOME", "--db", "/elsewhere/x.db"], 78, "below /var/lib/shipwrightd only"),
        (["install", "--home", "HOME/none"], 66, "no Shipwright home"),
        (["install", "--home", "HOME", "--db", "/x\ny"], 73, "/x\\ny has a control character"),
        (["logs", "--lines", "0"], 2, "--help"),
        (["reload"], 2, "No such command"),
    ],
)
def test_what_cannot_be_is_refused_on_one_line(words: list[str], code: int, said: str, home: Path, path: Path) -> None:
    program(path / "systemctl", "#!/bin/sh\necho systemd 252\n")
    words = [word.replace("HOME", str(home)) if word.startswith("HOME") else word for word in words]

    done = call(*words, PATH=f"{path}:/bin", HOME=str(home))

    assert done.returncode == code, done.stderr
    assert ONE_LINE.fullmatch(done.stderr)
    assert said in done.stderr


def test_a_wrong_setting_is_refused_before_it_is_made_permanent(home: Path) -> None:
    done = call("install", "--dry-run", HOME=str(home), SHIPWRIGHTD_HOME=str(home), SHIPWRIGHTD_RESCAN_S="often")
    assert (done.returncode, done.stdout) == (78, "")
    assert "SHIPWRIGHTD_RESCAN_S" in done.stderr


def test_a_dry_run_prints_the_unit_with_the_settings_of_now_and_writes_nothing(home: Path, path: Path) -> None:
    program(path / "systemctl", "#!/bin/sh\necho systemd 252\n")

    done = call(
        "install", "--dry-run", PATH=f"{path}:/bin", HOME=str(home), SHIPWRIGHTD_HOME=str(home),
        SHIPWRIGHTD_RESCAN_S="7", SHIPWRIGHTD_FIXTURES="/no/setting", XDG_CONFIG_HOME="/c",
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("# /c/systemd/user/shipwrightd.service\n")
    assert f'"run" "--home" "{home}" "--db" "{home}/shipwrightd/shipwright.db"\n' in done.stdout
    assert 'Environment="SHIPWRIGHTD_RESCAN_S=7"\n' in done.stdout
    assert 'Environment="XDG_CONFIG_HOME=/c"\n' in done.stdout
    assert "FIXTURES" not in done.stdout
    assert list(home.iterdir()) == []


def test_a_command_that_fails_is_said_with_what_it_said(home: Path, path: Path) -> None:
    answer = "LoadState=loaded\nActiveState=failed\nUnitFileState=enabled"
    program(path / "systemctl", f"#!/bin/sh\n[ $2 = show ] && exec echo '{answer}'\necho 'Job\n failed.' >&2; exit 1\n")
    unit = home / ".config" / "systemd" / "user" / "shipwrightd.service"
    unit.parent.mkdir(parents=True)
    unit.touch()

    done = call("start", PATH=f"{path}:/bin", HOME=str(home))

    assert done.returncode == 69
    assert "`systemctl --user start shipwrightd.service` failed: Job failed. - see `shipwrightd" in done.stderr


def test_the_log_program_of_the_system_prints_the_log(home: Path, path: Path) -> None:
    program(path / "journalctl", '#!/bin/sh\necho "$*"\n')
    done = call("logs", "--follow", "-n", "7", "--system", PATH=f"{path}:/bin", HOME=str(home))
    assert done.stdout == "--unit=shipwrightd.service --lines=7 --no-pager --follow\n"


# -- launchd


class Mac:
    """A place for an agent, and what launchctl was told."""

    def __init__(self, tmp_path: Path, launchctl: Path) -> None:
        self.place = plan.place(env={"HOME": str(tmp_path)}, platform="darwin")
        self._launchctl = launchctl

    def start(self, *words: str) -> plan.Start:
        return plan.Start(("/opt/bin/shipwrightd", "run", *words), {}, Path("/Users/ada/.shipwright"))

    def take(self, steps: list[Step]) -> list[str]:
        """Take the steps and return what they were in short."""
        self._launchctl.with_name("launchctl.told").write_text("")
        carry_out(steps)
        return [step.command[1] if isinstance(step, Run) else type(step).__name__ for step in steps]

    def told(self) -> list[str]:
        """Return the verbs launchctl was told since the last steps were taken."""
        return [text.split()[0] for text in self._launchctl.with_name("launchctl.told").read_text().splitlines()]


@pytest.fixture
def mac(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> Mac:
    monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
    return Mac(tmp_path, program(path / "launchctl", LAUNCHCTL))


def test_an_agent_is_installed_once_updated_and_removed(mac: Mac) -> None:
    first = mac.take(plan.install(mac.place, mac.start(), start_now=True))
    assert first == [Write.__name__, "enable", "bootstrap"]
    assert plistlib.loads(mac.place.path.read_bytes())["Label"] == LABEL
    assert mac.place.path.stat().st_mode & 0o777 == 0o600
    assert plan.state(mac.place).running
    assert plan.install(mac.place, mac.start(), start_now=True) == []

    other = mac.start("--db", "/other.db")
    assert mac.take(plan.install(mac.place, other, start_now=True)) == [
        Write.__name__, "bootout", "enable", "bootstrap",
    ]  # fmt: skip
    assert mac.told() == ["bootout", "enable", "bootstrap", "bootstrap"], "again, for it was not gone at once"
    assert "/other.db" in mac.place.path.read_text()

    assert mac.take(plan.control(mac.place, "restart")) == ["kickstart"]
    assert mac.take(plan.uninstall(mac.place)) == ["bootout", Remove.__name__]
    assert not mac.place.path.exists()
    assert plan.uninstall(mac.place) == []


def test_an_agent_that_shall_not_start_now_waits_for_the_next_login(mac: Mac) -> None:
    assert mac.take(plan.install(mac.place, mac.start(), start_now=False)) == [Write.__name__]
    assert not plan.state(mac.place).running
