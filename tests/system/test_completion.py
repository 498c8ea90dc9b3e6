"""The scripts of `completion`, tried in the shells themselves as a user types."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

# What is typed before TAB, and what the command then gets.
TYPED = {
    "sta": "status",
    "--ver": "--version",
    "report do": "report dora",
    "report runs --status aban": "report runs --status abandoned",
    "quarantine show --r": "quarantine show --raw",
    "status --format prom": "status --format prometheus",
    "run --log-level deb": "run --log-level debug",
    "export --table cost_e": "export --table cost_entries",
    "api /api/metrics/h": "api /api/metrics/history",
    "backup --home some": "backup --home some folder",
    "import jan": "import january lines.jsonl",
}
STARTS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
READY = {
    "bash": "source '{script}'",
    "zsh": "autoload -Uz compinit && compinit -u -D && source '{script}'",
}


def script_for(shell: str, folder: Path) -> Path:
    """Write the script of a shell, or skip where that shell is not installed."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = folder / f"completion.{shell}"
    with path.open("wb") as out:
        subprocess.run([sys.executable, "-m", "shipwrightd", "completion", shell], stdout=out, check=True)
    return path


def place(folder: Path) -> Path:
    """Return a folder with a file and a folder to complete."""
    (folder / "some folder").mkdir(parents=True)
    (folder / "january lines.jsonl").touch()
    return folder


def environment(folder: Path) -> dict[str, str]:
    """Return an environment that has the program on its PATH, as the scripts run it."""
    program = folder / "bin" / "shipwrightd"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m shipwrightd "$@"\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(folder), "LC_ALL": "C.UTF-8"}


def typed(shell: str, script: Path, where: Path) -> list[str]:
    """Type each line, TAB and return into an interactive shell on a terminal; return what the command got."""
    got = where.parent / "got"
    lines = [
        READY[shell].format(script=script),
        f"shipwrightd() {{ printf '%s\\n' \"$*\" >> '{got}'; }}",
        *(f"shipwrightd {text}\t" for text in TYPED),
        "exit",
    ]
    here, there = pty.openpty()
    env = environment(where.parent) | {"TERM": "dumb", "PS1": ""}
    with subprocess.Popen(
        STARTS[shell], stdin=there, stdout=there, stderr=there, cwd=where, env=env, start_new_session=True
    ) as process:
        os.close(there)
        os.write(here, ("\r".join(lines) + "\r").encode())
        try:
            while os.read(here, 4096):
                pass
        except OSError:  # the other end is closed
            pass
        finally:
            os.close(here)
        process.wait(20)
    return [line.rstrip("/") for line in got.read_text().splitlines()]


@pytest.mark.parametrize("shell", STARTS)
def test_tab_completes_what_is_typed(shell: str, tmp_path: Path) -> None:
    got = typed(shell, script_for(shell, tmp_path), place(tmp_path / "where"))

    assert dict(zip(TYPED, got, strict=True)) == TYPED


def test_fish_offers_what_completes_the_line(tmp_path: Path) -> None:
    script = script_for("fish", tmp_path)
    asked = "; ".join(f"complete -C 'shipwrightd {text}'; echo" for text in TYPED)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source '{script}'; {asked}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=place(tmp_path / "where"),
        env=environment(tmp_path),
        timeout=60,
    )
    offered = [line.partition("\t")[0].rstrip("/") for line in done.stdout.split("\n\n")]

    expected = [text.removeprefix(typed.rpartition(" ")[0]).strip() for typed, text in TYPED.items()]
    assert (offered[: len(expected)], done.stderr) == (expected, "")


def test_shell_that_there_is_no_script_for_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "shipwrightd", "completion", "tcsh"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish' - see `shipwrightd completion --help`" in done.stderr
