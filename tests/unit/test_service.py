"""What units and agents say, which commands install and ask, and what the answers mean; no supervisor needed."""

from __future__ import annotations

import plistlib
import shutil
import subprocess
from pathlib import Path

import pytest

from shipwrightd.errors import PathError, UnavailableError
from shipwrightd.service import State, fill, launchd, plan, systemd, template

ODD = '/home/ada/it\'s 100%h of $HOME, "ü" \\x41: <done> & @HOME@/.shipwright'
COMMAND = ("/opt/ship wright/bin/shipwrightd", "run", "--home", ODD)
SECURE = 2.0


def user_unit(version: int = 252) -> str:
    return systemd.unit(template("systemd", "shipwrightd.service"), version, COMMAND, {"ENVIRONMENT": ""})


def system_unit(program: str = COMMAND[0], version: int = 252) -> str:
    more = {"ENVIRONMENT": systemd.environment({"SHIPWRIGHTD_WATCH": "no"}), "HOME": systemd.quoted(f"-{ODD}")}
    return systemd.unit(template("systemd", "shipwrightd-system.service"), version, (program, *COMMAND[1:]), more)


def settings(unit: str) -> list[str]:
    return [line for line in unit.splitlines() if line and not line.startswith("#")]


# -- units of systemd


def test_values_are_quoted_so_that_systemd_reads_them_as_they_are() -> None:
    assert systemd.quoted(ODD) == ('"/home/ada/it\'s 100%%h of $HOME, \\"ü\\" \\\\x41: <done> & @HOME@/.shipwright"')
    assert systemd.environment({"B": "2", "A": "1 %"}) == 'Environment="A=1 %%"\nEnvironment="B=2"'


@pytest.mark.parametrize("bad", ["a\nb", "a\x00b", "a\x1bb", "a\udcffb", "a\u2028b"])
def test_what_no_file_of_a_service_can_hold_is_refused(bad: str) -> None:
    for write in (systemd.quoted, launchd.xml):
        with pytest.raises(PathError, match="which service files do not allow"):
            write(bad)


def test_the_command_is_not_expanded_by_systemd() -> None:
    (start,) = [line for line in settings(user_unit()) if line.startswith("ExecStart")]
    assert start == f'ExecStart=:"/opt/ship wright/bin/shipwrightd" "run" "--home" {systemd.quoted(ODD)}'


@pytest.mark.parametrize("made", [user_unit, system_unit])
def test_a_unit_uses_what_its_systemd_knows_and_nothing_newer(made: object) -> None:
    assert callable(made)
    old, new = settings(made(version=252)), settings(made(version=254))

    assert "Type=notify" in old
    assert not [line for line in old if line.startswith(("Type=notify-reload", "RestartSteps", "RestartMaxDelaySec"))]
    assert {"Type=notify-reload", "RestartSteps=6", "RestartMaxDelaySec=5min"} <= set(new)
    assert new.index("Type=notify-reload") > new.index("Type=notify"), "the later one holds"
    assert new.index("ExecReload=") > new.index("ExecReload=kill -HUP $MAINPID"), "two signals would be one too many"


def test_nothing_is_left_to_fill_in() -> None:
    text = user_unit() + system_unit()
    assert "@COMMAND@" not in text
    assert "@ENVIRONMENT@" not in text
    assert text.count("@HOME@") == 3, "those of the odd path: twice as home, once as what the unit may see"
    assert fill("a\n  @B@\n@C@\n", {"B": "", "C": "@B@"}) == "a\n@B@\n"


def analyze(*arguments: str, at: Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze, or skip where there is none."""
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    environment = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(at), "LC_ALL": "C"}
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, env=environment, timeout=60
    )


def written(folder: Path, text: str) -> Path:
    """Write a unit whose program exists."""
    unit = folder / systemd.UNIT
    unit.write_text(text.replace(COMMAND[0], "/bin/true"))
    return unit


def installed_version() -> int:
    done = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False)
    return systemd.version(done.stdout)


def test_systemd_finds_nothing_to_say_about_the_system_unit(tmp_path: Path) -> None:
    if not shutil.which("systemctl"):
        pytest.skip("systemd is not installed")
    unit = written(tmp_path, system_unit(version=installed_version()))
    done = analyze("verify", "--man=no", str(unit), at=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_systemd_finds_nothing_to_say_about_the_user_unit(tmp_path: Path) -> None:
    if not shutil.which("systemctl"):
        pytest.skip("systemd is not installed")
    unit = written(tmp_path, user_unit(version=installed_version()))
    done = analyze("verify", "--man=no", "--user", str(unit), at=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_system_unit_is_exposed_by_2_at_most(tmp_path: Path) -> None:
    unit = written(tmp_path, system_unit())
    done = analyze("security", "--offline=yes", "--no-pager", f"--threshold={SECURE * 10:.0f}", str(unit), at=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Overall exposure level" in done.stdout


# -- the agent of launchd


@pytest.fixture
def agent() -> str:
    text = template("launchd", "local.shipwrightd.plist")
    return launchd.agent(text, COMMAND, {"SHIPWRIGHTD_WATCH": ODD}, "/Users/ada/Library/Logs/a & b.log")


def test_the_agent_is_a_property_list_that_says_what_it_shall(agent: str) -> None:
    said = plistlib.loads(agent.encode())

    assert said["Label"] == launchd.LABEL
    assert said["ProgramArguments"] == list(COMMAND)
    assert said["EnvironmentVariables"] == {"SHIPWRIGHTD_WATCH": ODD}
    assert said["StandardErrorPath"] == said["StandardOutPath"] == "/Users/ada/Library/Logs/a & b.log"
    assert said["KeepAlive"] == {"SuccessfulExit": False, "Crashed": True}
    assert (said["RunAtLoad"], said["LowPriorityIO"], said["ProcessType"]) == (True, True, "Background")
    assert (said["ThrottleInterval"], said["Umask"]) == (30, 0o077)


def test_an_agent_without_variables_is_one_as_well() -> None:
    text = launchd.agent(template("launchd", "local.shipwrightd.plist"), ("/bin/true",), {}, "/log")
    assert plistlib.loads(text.encode())["EnvironmentVariables"] == {}


def test_another_parser_reads_the_agent_alike(agent: str, tmp_path: Path) -> None:
    if not shutil.which("plistutil"):
        pytest.skip("plistutil (libplist-utils) is not installed")
    source, binary, back = (tmp_path / name for name in ("a.plist", "b.plist", "c.plist"))
    source.write_text(agent)
    for come, go, form in ((source, binary, "bin"), (binary, back, "xml")):
        done = subprocess.run(
            ["plistutil", "-i", str(come), "-o", str(go), "-f", form], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert plistlib.loads(back.read_bytes()) == plistlib.loads(agent.encode())


def test_launchctl_is_told_in_its_own_words() -> None:
    path = Path("/Users/ada/Library/LaunchAgents/local.shipwrightd.plist")

    def words(*arguments: object, **options: bool) -> list[str]:
        return [str(step) for step in launchd.control(*arguments, **options)]  # type: ignore[arg-type]

    load = ["launchctl enable gui/501/local.shipwrightd", f"launchctl bootstrap gui/501 {path}"]
    assert [str(step) for step in launchd.load(501, path)] == load
    assert [str(step) for step in launchd.unload(501)] == ["launchctl bootout gui/501/local.shipwrightd"]
    assert words("start", 501, path, loaded=False) == load
    assert words("restart", 501, path, loaded=False) == load
    assert words("start", 501, path, loaded=True) == ["launchctl kickstart gui/501/local.shipwrightd"]
    assert words("restart", 501, path, loaded=True) == ["launchctl kickstart -k gui/501/local.shipwrightd"]
    assert words("stop", 501, path, loaded=True) == ["launchctl kill SIGTERM gui/501/local.shipwrightd"]
    assert launchd.show(501) == ("launchctl", "print", "gui/501/local.shipwrightd")


RUNS = """gui/501/local.shipwrightd = {
	active count = 1
	path = /Users/ada/Library/LaunchAgents/local.shipwrightd.plist
	state = running
	program = /opt/bin/shipwrightd
	pid = 4711
	last exit code = (never exited)
}"""  # fmt: skip
ENDED = "gui/501/local.shipwrightd = {\n\tstate = not running\n\tlast exit code = 78: EX_CONFIG\n}"


def test_what_launchctl_prints_is_understood() -> None:
    assert launchd.state(RUNS) == {"enabled": True, "active": "active", "pid": 4711, "result": None}
    ended = {"enabled": True, "active": "inactive", "pid": None, "result": "exit code 78: EX_CONFIG"}
    assert launchd.state(ENDED) == ended


# -- asking systemd


def test_what_systemctl_shows_is_understood() -> None:
    answer = (
        "Result=success\nMainPID=12\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"
        "StatusText=following: a=b\nActiveEnterTimestamp=Thu 2026-11-26 08:04:27 UTC\nNeedDaemonReload=yes\n"
    )
    assert State("", Path("/u"), installed=True, **systemd.state(answer)) == State(
        kind="",
        path=Path("/u"),
        installed=True,
        enabled=True,
        active="active",
        pid=12,
        since="Thu 2026-11-26 08:04:27 UTC",
        said="following: a=b",
        outdated=True,
    )
    failed = systemd.state("Result=exit-code\nMainPID=0\nActiveState=failed")
    said = (failed["active"], failed["enabled"], failed["pid"], failed["result"])
    assert said == ("failed", False, None, "exit-code")
    assert systemd.version("systemd 252 (252.38-1~deb12u1)\n+PAM") == 252
    assert systemd.version("") == 0


def test_the_log_is_asked_for_where_it_is(tmp_path: Path) -> None:
    unit = Path("/etc/systemd/system/shipwrightd.service")
    assert plan.log_command(plan.Place(unit, system=True), 5, follow=True) == (
        "journalctl", "--unit=shipwrightd.service", "--lines=5", "--no-pager", "--follow",
    )  # fmt: skip
    assert plan.log_command(plan.Place(unit), 5, follow=False) == (
        "journalctl", "--user-unit=shipwrightd.service", "--lines=5", "--no-pager",
    )  # fmt: skip
    agent = plan.Place(Path("/a.plist"), log=tmp_path)
    assert plan.log_command(agent, 50, follow=True) == ("tail", "-n", "50", "-F", str(tmp_path))


# -- where it belongs


@pytest.mark.parametrize(
    ("env", "system", "platform", "path"),
    [
        ({"HOME": "/h"}, False, "linux", "/h/.config/systemd/user/shipwrightd.service"),
        ({"HOME": "/h", "XDG_CONFIG_HOME": "/c"}, False, "linux", "/c/systemd/user/shipwrightd.service"),
        ({"HOME": "/h", "XDG_CONFIG_HOME": "c"}, False, "linux", "/h/.config/systemd/user/shipwrightd.service"),
        ({"HOME": "/h"}, True, "linux", "/etc/systemd/system/shipwrightd.service"),
        ({"HOME": "/h"}, False, "darwin", "/h/Library/LaunchAgents/local.shipwrightd.plist"),
    ],
)
def test_a_service_has_its_place(env: dict[str, str], *, system: bool, platform: str, path: str) -> None:
    place = plan.place(system=system, env=env, platform=platform)
    assert (str(place.path), place.system, place.on_macos) == (path, system, platform == "darwin")


def test_on_macos_there_is_no_service_of_the_system() -> None:
    with pytest.raises(UnavailableError, match="omit --system"):
        plan.place(system=True, platform="darwin")


@pytest.mark.parametrize("path", ["/root/.local/bin/shipwrightd", "/home/a/b", "/var/x", "/srv/x", "/tmp/x"])  # noqa: S108
def test_a_program_that_the_system_service_cannot_see_is_refused(path: str) -> None:
    with pytest.raises(PathError, match="below /opt or /usr"):
        plan.refuse_hidden(Path(path))
    plan.refuse_hidden(Path("/opt/home/x"))
