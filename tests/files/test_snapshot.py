"""One whole copy of a file that others replace in place, on real files."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shipwrightd.database import open_writer, transaction
from shipwrightd.documents import snapshot
from shipwrightd.documents.snapshot import Document, Signature, Torn, Unchanged, read_document
from shipwrightd.documents.store import ingest_document

if TYPE_CHECKING:
    from collections.abc import Iterator

LATER_NS = 3_600 * 10**9  # an hour after now: whatever was just written is old by then
WRITER = """
import os, sys
path, way = sys.argv[1:]
texts = [(letter * 200_000).encode() for letter in "abc"]
for i in range(10**9):
    text = texts[i % 3]
    if way == "truncate":
        with open(path, "wb") as file:
            file.write(text)
    else:
        with open(path + ".tmp", "wb") as file:
            file.write(text)
        os.rename(path + ".tmp", path)
"""

LIST_WRITER = """
import json, os, sys
path, way = sys.argv[1:]
entries = []
for number in range(600):
    entries.append({"input_tokens": number, "model": "opus"})
    target = path if way == "truncate" else path + ".tmp"
    with open(target, "w") as file:
        json.dump({"entries": entries, "summary": {}}, file, indent=2)
    if way == "rename":
        os.rename(target, path)
"""


def later() -> int:
    return time.time_ns() + LATER_NS


def stored(path: Path, known: Signature | None = None) -> Document:
    seen = read_document(path, known, now_ns=later())
    assert isinstance(seen, Document)
    return seen


def test_the_bytes_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_bytes(b"{}\n" * 100_000)
    assert stored(path).raw == b"{}\n" * 100_000


def test_an_empty_file_is_a_document_of_no_bytes(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.touch()
    assert stored(path).raw == b""


def test_a_quiet_file_is_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_bytes(b"{}")
    signature = stored(path).signature
    assert signature is not None
    assert read_document(path, signature, now_ns=later()) == Unchanged()


def test_a_file_changed_a_moment_ago_is_read_again_next_time(tmp_path: Path) -> None:
    """A second write within the same tick of the file system's clock leaves the same times behind."""
    path = tmp_path / "costs.json"
    path.write_bytes(b"{}")
    seen = read_document(path, None, now_ns=path.stat().st_ctime_ns + 1)
    assert seen == Document(b"{}", None)


def test_same_size_and_modification_time_put_back_is_still_a_change(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_bytes(b"aaaa")
    before = path.stat()
    signature = stored(path).signature
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # until the file system's clock ticks
        path.write_bytes(b"bbbb")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (
        before.st_ino,
        before.st_size,
        before.st_mtime_ns,
    )
    assert stored(path, signature).raw == b"bbbb"


def test_another_file_moved_there_and_the_first_moved_back_are_both_seen(tmp_path: Path) -> None:
    path, aside = tmp_path / "costs.json", tmp_path / "aside"
    path.write_bytes(b"A")
    first = stored(path)
    path.rename(aside)
    path.write_bytes(b"B")
    second = stored(path, first.signature)
    aside.replace(path)
    third = stored(path, second.signature)
    assert [first.raw, second.raw, third.raw] == [b"A", b"B", b"A"]


def test_a_symlink_is_followed_and_its_swap_seen(tmp_path: Path) -> None:
    path, one, two = tmp_path / "costs.json", tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    path.symlink_to(one)
    seen = stored(path)
    path.unlink()
    path.symlink_to(two)
    assert (seen.raw, stored(path, seen.signature).raw) == (b"1", b"2")


def test_nothing_and_a_symlink_to_nothing_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    assert read_document(path, None, now_ns=later()) is None
    path.symlink_to(tmp_path / "none")
    assert read_document(path, None, now_ns=later()) is None
    assert read_document(tmp_path / "no" / "folder.json", None, now_ns=later()) is None


def test_a_file_that_vanished_and_returned_is_read(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_bytes(b"A")
    signature = stored(path).signature
    path.unlink()
    assert read_document(path, signature, now_ns=later()) is None
    path.write_bytes(b"AA")
    assert stored(path, signature).raw == b"AA"


def test_a_folder_a_pipe_and_a_device_are_errors_and_never_waited_for(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_document(tmp_path, None, now_ns=later())
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="is not a regular file"):
        read_document(pipe, None, now_ns=later())
    with pytest.raises(OSError, match="is not a regular file"):
        read_document(Path("/dev/zero"), None, now_ns=later())


def test_a_path_through_a_file_is_missing_and_a_loop_of_symlinks_an_error(tmp_path: Path) -> None:
    file, loop = tmp_path / "file", tmp_path / "loop.json"
    file.touch()
    loop.symlink_to(loop)
    assert read_document(file / "costs.json", None, now_ns=later()) is None
    with pytest.raises(OSError, match="symbolic links"):
        read_document(loop, None, now_ns=later())


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Give up root's right to read everything for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_unreadable_file_is_an_error_not_missing(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_bytes(b"{}")
    path.chmod(0)
    with unprivileged(), pytest.raises(PermissionError, match="Permission denied"):
        read_document(path, None, now_ns=later())


def test_a_file_beyond_the_bound_is_an_error_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.touch()
    os.truncate(path, snapshot.MAX_BYTES + 1)
    with pytest.raises(OSError, match="is larger than"):
        read_document(path, None, now_ns=later())


def test_a_file_that_is_moved_away_or_replaced_while_read_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_bytes(b"{}")
    fd = os.open(path, os.O_RDONLY)
    try:
        path.rename(tmp_path / "old")
        assert snapshot.read_open(path, fd, now_ns=later()) == Torn()
        path.write_bytes(b"{}")
        os.lseek(fd, 0, os.SEEK_SET)
        assert snapshot.read_open(path, fd, now_ns=later()) == Torn()
    finally:
        os.close(fd)


@pytest.mark.parametrize("way", ["truncate", "rename"])
def test_beside_a_writer_no_mixture_of_two_versions_is_read(tmp_path: Path, way: str) -> None:
    """Truncated and written anew, it may be caught as a prefix, which does not parse; never as a mixture."""
    path = tmp_path / "costs.json"
    path.touch()
    seen: set[bytes] = set()
    looks = 0
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path), way]) as writer:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            looked = read_document(path, None, now_ns=later())
            looks += 1
            if isinstance(looked, Document) and looked.raw:
                seen.add(looked.raw)
        writer.kill()
    assert looks
    assert all(len(set(raw)) == 1 for raw in seen)
    if way == "rename":
        assert seen == {letter * 200_000 for letter in (b"a", b"b", b"c")}


@pytest.mark.parametrize("way", ["truncate", "rename"])
def test_a_list_rewritten_without_pause_is_stored_once_and_in_order(tmp_path: Path, database: Path, way: str) -> None:
    path = tmp_path / "costs.json"
    db = open_writer(database)
    with subprocess.Popen([sys.executable, "-c", LIST_WRITER, str(path), way]) as writer:
        running = True
        while running:
            running = writer.poll() is None  # one more look after its end
            seen = read_document(path, None, now_ns=later())
            if isinstance(seen, Document):
                with transaction(db):
                    ingest_document(db, "costs.json", seen.raw, now="2026-01-14T17:02:00Z")
    stored = [number for (number,) in db.execute("SELECT input_tokens FROM cost_entries ORDER BY id")]
    gaps = db.execute("SELECT count(*) FROM gaps").get
    db.close()
    assert stored == list(range(600))
    assert gaps == 0
