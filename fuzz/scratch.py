"""One real file without a name, written over for each input: the targets read with pread, as the daemon does."""

from __future__ import annotations

import os
import tempfile

_FILE = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - lives as long as the process


def empty() -> int:
    """Return the descriptor of the file, emptied."""
    os.ftruncate(_FILE.fileno(), 0)
    return _FILE.fileno()


def holding(content: bytes) -> int:
    """Return the descriptor of the file with this content."""
    fd = empty()
    os.pwrite(fd, content, 0)
    return fd
