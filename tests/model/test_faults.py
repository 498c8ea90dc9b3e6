"""Each call to the system that ingestion makes, spoilt: the database is in the end what it is without."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MEMORY = Path("/dev/shm")  # noqa: S108 - a file system in memory syncs at once


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("calls to the system are spoilt by a C library that needs a compiler and Linux")
    made = tmp_path / "faults.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, HERE / "faults.c", "-ldl"], check=True)
    return made


def test_no_spoilt_call_loses_doubles_or_ends_with_a_traceback(shim: Path) -> None:
    mode = os.environ.get("SHIPWRIGHTD_FAULTS", "quick")
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        done = subprocess.run(
            [sys.executable, HERE / "faulty.py", shim, folder, mode],
            env={**os.environ, "LD_PRELOAD": str(shim)},
            capture_output=True,  # what the daemon says of each fault, too
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    report = json.loads(done.stdout)
    print(report["cases"], "cases,", report["calls"])
    assert report["wrong"] == []
    assert {"open", "pread", "pwrite", "fdatasync", "stat", "fstat", "lock"} <= set(report["calls"]["following"])
