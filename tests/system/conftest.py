"""Only what several files here share."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from process import AS_ANY_USER

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.fixture
def modes_count(tmp_path: Path) -> Sequence[str]:
    """Return what a command has to begin with so that the modes of files count for it."""
    if os.geteuid() != 0:
        return ()
    probe = tmp_path / "probe"
    probe.touch(mode=0)
    if not shutil.which("setpriv") or subprocess.run([*AS_ANY_USER, "true"], check=False).returncode:
        pytest.skip("root reads everything here, and setpriv cannot change that")
    if subprocess.run([*AS_ANY_USER, "cat", str(probe)], check=False, capture_output=True).returncode == 0:
        pytest.skip("modes do not count on this file system")
    return AS_ANY_USER
