"""The wheel as a user installs it: built, installed into an environment of its own, and at work."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from world import line

pytestmark = pytest.mark.system

ROOT = Path(__file__).parent.parent
FOLDERS = ("shipwrightd", "migrations", "systemd", "launchd", "docs", "tests", "fuzz", "benchmarks")
SOURCES = (*FOLDERS, "pyproject.toml", "LICENSE", "Makefile", *(file.name for file in ROOT.glob("*.md")))
RELEASED = "1795651200"  # SOURCE_DATE_EPOCH
OFFLINE = ("No matching distribution", "ConnectionError", "Could not find a version", "Temporary failure")


def pip(python: Path | str, *arguments: str) -> None:
    """Run pip, or skip where it reaches nothing to install from."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode and any(sign in done.stderr for sign in OFFLINE):
        pytest.skip(f"pip has nothing to install from: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python that has what pyproject.toml builds with, and nothing else."""
    environment = tmp_path_factory.mktemp("builder")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    pip(environment / "bin" / "python", "install", *needed)
    return environment / "bin" / "python"


def copied(to: Path) -> Path:
    """Copy what a release is made of, so that nothing is left in the checkout; as if just checked out."""
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, to / name, ignore=shutil.ignore_patterns("__pycache__"), copy_function=shutil.copyfile
            )
        else:
            shutil.copyfile(source, to / name)
    return to


def build(builder: Path, tree: Path, *targets: str) -> dict[str, bytes]:
    """Build the targets and return the files made."""
    out = tree.parent / f"{tree.name}-built"
    command = [
        str(builder),
        "-m",
        "hatchling",
        "build",
        "-d",
        str(out),
        *(word for name in targets for word in ("-t", name)),
    ]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": RELEASED}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return {file.name: file.read_bytes() for file in out.iterdir()}


@pytest.fixture(scope="module")
def release(builder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the wheel and the sdist."""
    return build(builder, copied(tmp_path_factory.mktemp("release") / "tree"), "wheel", "sdist")


@pytest.fixture(scope="module")
def wheel(release: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel as a file."""
    (name,) = (name for name in release if name.endswith(".whl"))
    path = tmp_path_factory.mktemp("wheel") / name
    path.write_bytes(release[name])
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program in a fresh environment that holds what the wheel asks for and nothing else."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    pip(environment / "bin" / "python", "install", str(wheel))
    return environment / "bin" / "shipwrightd"


def call(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the program where no checkout is in reach."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "SHIPWRIGHTD_"))}
    return subprocess.run(
        [str(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=program.parent,
        env=clean,
        timeout=60,
    )


def test_wheel_holds_the_package_its_migrations_its_templates_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    migrations = sorted(file.name for file in (ROOT / "migrations").glob("*.sql"))
    assert sorted(Path(name).name for name in names if name.endswith(".sql")) == migrations
    assert all(name.startswith("shipwrightd/migrations/") for name in names if name.endswith(".sql"))
    for folder in ("systemd", "launchd"):
        templates = {f"shipwrightd/{folder}/{file.name}" for file in (ROOT / folder).iterdir()}
        assert {name for name in names if name.startswith(f"shipwrightd/{folder}/")} == templates
    assert {name.split("/")[0].split("-")[0] for name in names} == {"shipwrightd"}
    assert [name for name in names if "test" in name or "__pycache__" in name] == []


def test_release_is_the_same_to_the_byte_when_it_is_built_again(
    builder: Path, release: dict[str, bytes], tmp_path: Path
) -> None:
    """Whatever the clock, the folder and the modes of its files are."""
    tree = copied(tmp_path / "elsewhere")
    for file in tree.rglob("*.py"):
        file.chmod(0o600)
        os.utime(file, (1_000_000_000, 1_000_000_000))

    again = build(builder, tree, "wheel", "sdist")

    assert again == release


def test_sdist_builds_the_same_wheel(builder: Path, release: dict[str, bytes], tmp_path: Path) -> None:
    (name,) = (name for name in release if name.endswith(".tar.gz"))
    with tarfile.open(fileobj=io.BytesIO(release[name])) as archive:
        archive.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()
    assert (tree / "migrations" / "001_core.sql").is_file()
    assert (tree / "tests" / "test_package.py").is_file()

    for wheel, content in build(builder, tree, "wheel").items():
        assert content == release[wheel]


def test_wheel_says_what_it_is_and_brings_its_manual(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    assert "License-Expression: MIT\n" in metadata
    assert "License-File: LICENSE\n" in metadata
    assert "Requires-Python: >=3.11\n" in metadata
    assert "shipwrightd/py.typed" in names
    assert [name for name in names if name.endswith(".data/data/share/man/man1/shipwrightd.1")]


@pytest.mark.parametrize("installer", ["uv", "pipx"])
def test_installs_as_a_tool_into_an_empty_home(builder: Path, wheel: Path, tmp_path: Path, installer: str) -> None:
    pip(builder, "install", installer)
    user, home = tmp_path / "user", tmp_path / "home"
    user.mkdir()
    home.mkdir()
    (home / "events.jsonl").write_bytes(line(1))
    how = ("tool", "install", "--python", sys.executable) if installer == "uv" else ("install",)
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "SHIPWRIGHTD_", "XDG"))
    }
    environment = {**inherited, "HOME": str(user), "SHIPWRIGHTD_HOME": str(home)}
    told = subprocess.run(
        [builder.parent / installer, *how, wheel],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=300,
    )
    assert told.returncode == 0, told.stderr
    program = user / ".local" / "bin" / "shipwrightd"
    for command in (["version"], ["backfill"], ["status"], ["report", "runs"]):
        done = subprocess.run([program, *command], capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr


def test_installed_program_imports_a_home_and_answers(installed: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "events.jsonl").write_bytes(line(1) + line(2) + b"no record\n")

    told = call(installed, "version")
    assert (told.returncode, told.stdout.startswith("shipwrightd ")) == (0, True)
    assert call(installed, "backfill", "--home", home).returncode == 0
    status = json.loads(call(installed, "status", "--home", home, "--json").stdout)
    assert [(source["records"], source["quarantined"]) for source in status["sources"]] == [(2, 1)]
    assert status["database"]["schema_version"] == len(list((ROOT / "migrations").glob("*.sql")))
    assert call(installed, "verify", "--home", home).returncode == 0
    if shutil.which("systemctl"):
        unit = call(installed, "service", "install", "--dry-run", "--home", home).stdout
        assert f'ExecStart=:"{installed}" "run" "--home" "{home}"' in unit


def test_installed_daemon_starts_and_stops(installed: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with subprocess.Popen([str(installed), "run", "--home", str(home)], stderr=subprocess.PIPE, text=True) as daemon:
        assert daemon.stderr is not None
        assert any("daemon_following" in entry for entry in daemon.stderr)
        daemon.terminate()
        assert daemon.wait(20) == 0
