"""Watching real folders: what rings, what must not, and how watching survives its own failures."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from shipwrightd.daemon.watch import BACK_OFF_MAX_S, MAX_CHANGED, BackOff, Blindness, Watch
from shipwrightd.database.mounts import network_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Eventually


def is_source(path: str) -> bool:
    """Judge as the daemon does: by name."""
    return path.endswith((".json", ".jsonl"))


@pytest.fixture
def bell() -> threading.Event:
    return threading.Event()


@pytest.fixture
def watch(bell: threading.Event, home: Path) -> Iterator[Watch]:
    watch = Watch(bell, is_source)
    watch.check([home])
    yield watch
    watch.stop()


@pytest.fixture
def told(watch: Watch, home: Path, eventually: Eventually) -> Callable[[], set[str]]:
    """Return what a look would be told of: all events up to a last one of our own making."""

    def collect() -> set[str]:
        last = home / "last.json"
        last.write_text("{}")
        seen: set[str] = set()

        def arrived() -> bool:
            changed = watch.changed()
            assert changed is not None
            seen.update(path.rsplit("/", 1)[-1] for path in changed)
            return "last.json" in seen

        eventually(arrived)
        return seen - {"last.json"}

    return collect


def hears(watch: Watch, path: Path, eventually: Eventually) -> None:
    """Fail unless a write to the path is told."""
    watch.changed()
    path.write_text("{}")
    eventually(lambda: str(path) in (watch.changed() or ()))


def test_append_rings_and_names_the_file(
    watch: Watch, bell: threading.Event, home: Path, eventually: Eventually
) -> None:
    path = home / "events.jsonl"
    path.write_text("")
    eventually(lambda: watch.changed() == {str(path)})
    bell.clear()

    with path.open("a") as file:
        file.write("{}\n")

    assert bell.wait(5)
    assert watch.changed() == {str(path)}
    assert watch.changed() == set()


def test_file_moved_into_place_rings_under_its_new_name(told: Callable[[], set[str]], home: Path) -> None:
    (home / "costs.tmp.123").write_text("{}")
    (home / "costs.tmp.123").rename(home / "costs.json")

    assert told() == {"costs.json"}


def test_file_moved_away_or_removed_rings(told: Callable[[], set[str]], home: Path) -> None:
    for name in ("a.json", "b.json"):
        (home / name).write_text("{}")
    told()

    (home / "a.json").rename(home / "a.json.1")
    (home / "b.json").unlink()

    assert told() == {"a.json", "b.json"}


def test_our_own_reading_does_not_ring(told: Callable[[], set[str]], home: Path) -> None:
    (home / "events.jsonl").write_text("{}\n")
    told()

    for _ in range(100):
        (home / "events.jsonl").read_bytes()
        (home / "events.jsonl").stat()
        list(home.iterdir())

    assert told() == set()


def test_what_is_no_source_does_not_ring(told: Callable[[], set[str]], home: Path) -> None:
    (home / "shipwrightd").mkdir()
    names = (
        "shipwright.db",
        "shipwright.db-wal",
        "events.jsonl.lock",
        "costs.json.tmp.x1",
        "shipwrightd/shipwright.db",
    )
    for name in names:
        (home / name).write_text("x")

    assert told() == set()


def test_nothing_happening_costs_nothing(watch: Watch, bell: threading.Event, home: Path) -> None:
    watch.check([home])
    used = time.process_time()

    assert not bell.wait(0.5)
    assert time.process_time() - used < 0.05


def test_judge_that_raises_ends_nothing_and_asks_for_a_look_at_all(
    bell: threading.Event, home: Path, eventually: Eventually
) -> None:
    def judge(path: str) -> bool:
        raise ValueError(path)

    watch = Watch(bell, judge)
    watch.check([home])
    for name in ("a", "b"):
        bell.clear()
        (home / name).write_text("")
        eventually(bell.is_set)
        assert watch.changed() is None
    watch.stop()


def test_more_changes_than_are_kept_mean_look_at_all(bell: threading.Event, home: Path, eventually: Eventually) -> None:
    watch = Watch(bell, is_source)
    watch.check([home])
    for number in range(MAX_CHANGED + 1):
        (home / f"{number}.json").write_text("")

    seen: list[set[str] | None] = []

    def overflowed() -> bool:
        return bell.is_set() and len(watch._changed) >= MAX_CHANGED and watch._scan_all  # noqa: SLF001

    eventually(overflowed)
    seen.append(watch.changed())
    watch.stop()
    assert seen == [None]


def test_many_changes_of_no_more_files_than_are_kept_are_named(
    bell: threading.Event, home: Path, eventually: Eventually
) -> None:
    paths = [home / f"{number}.json" for number in range(MAX_CHANGED)]
    for path in paths:
        path.touch()
    watch = Watch(bell, is_source)
    watch.check([home])
    for text in ("{}", "[]"):
        for path in paths:
            path.write_text(text)
    eventually(lambda: len(watch._changed) == MAX_CHANGED)  # noqa: SLF001
    (home / "0.json").rename(home / "last.jsonl.1")  # no source, so it does not count; told behind all others
    (home / "last.jsonl.1").rename(home / "0.json")
    eventually(bell.is_set)
    seen = watch.changed()
    watch.stop()
    assert seen == {str(path) for path in paths}


def test_folder_that_is_missing_is_no_trouble_and_watched_once_it_is_there(
    watch: Watch, home: Path, eventually: Eventually
) -> None:
    folder = home / "memory"
    assert watch.check([home, folder]) == []
    folder.mkdir()

    assert watch.check([home, folder]) == []

    hears(watch, folder / "global.json", eventually)


def test_folder_no_longer_wanted_is_let_go(watch: Watch, home: Path, told: Callable[[], set[str]]) -> None:
    folder = home / "memory"
    folder.mkdir()
    watch.check([home, folder])
    watch.check([home])
    watch.changed()

    (folder / "global.json").write_text("{}")

    assert told() == set()


def test_home_removed_and_made_again_is_watched_again(watch: Watch, home: Path, eventually: Eventually) -> None:
    home.rmdir()
    assert watch.check([home]) == []
    home.mkdir()

    eventually(lambda: watch.check([home]) == [] and _is_watched(watch, home))

    hears(watch, home / "costs.json", eventually)


def test_home_removed_and_made_again_between_two_checks_is_watched_again(
    watch: Watch, home: Path, eventually: Eventually
) -> None:
    """On ext4 the new folder mostly has the inode of the old one."""
    home.rmdir()
    home.mkdir()

    def works() -> bool:
        watch.check([home])
        watch.changed()
        (home / "costs.json").write_text("{}")
        return str(home / "costs.json") in (watch.changed() or ())

    eventually(works)


def test_home_moved_away_and_made_again_is_watched_again(watch: Watch, home: Path, eventually: Eventually) -> None:
    home.rename(home.with_name("old"))
    home.mkdir()

    watch.check([home])

    hears(watch, home / "costs.json", eventually)
    watch.changed()
    (home.with_name("old") / "x.json").write_text("{}")
    hears(watch, home / "costs.json", eventually)


def test_symlinked_home_is_heard_through_its_real_path(
    watch: Watch, home: Path, tmp_path: Path, eventually: Eventually
) -> None:
    (tmp_path / "link").symlink_to(home)

    (tmp_path / "link" / "events.jsonl").write_text("{}\n")

    eventually(lambda: str(home / "events.jsonl") in (watch.changed() or ()))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_dead_dispatcher_is_noticed_and_replaced(watch: Watch, home: Path, eventually: Eventually) -> None:
    first = watch._observer  # noqa: SLF001
    assert first is not None
    first.event_queue.put(None)  # what a bug in a library may do
    eventually(lambda: not first.is_alive())

    assert watch.check([home]) == []

    assert watch._observer is not first  # noqa: SLF001
    hears(watch, home / "costs.json", eventually)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_dispatcher_that_keeps_dying_is_not_restarted_without_end(watch: Watch, home: Path) -> None:
    reasons: list[str] = []
    for _ in range(3):
        observer = watch._observer  # noqa: SLF001
        if observer is not None:
            observer.event_queue.put(None)
            observer.join(5)
        reasons = watch.check([home])

    assert reasons == ["watching is about to be started again"]


def test_growth_that_no_event_told_is_called_out_when_repeated(
    watch: Watch, home: Path, eventually: Eventually
) -> None:
    before = watch._observer  # noqa: SLF001
    for _ in range(2):
        watch.note_unannounced("events.jsonl")
    assert watch.check([home]) == []

    watch.note_unannounced("events.jsonl")

    assert watch.check([home]) == ["events are being lost, last one for events.jsonl"]
    assert watch._observer is not before, "a fresh start may mend it"  # noqa: SLF001
    hears(watch, home / "costs.json", eventually)


def test_stopping_is_quick_and_may_be_repeated(bell: threading.Event, home: Path) -> None:
    folders = [home / str(number) for number in range(40)]
    for folder in folders:
        folder.mkdir()
    watch = Watch(bell, is_source)
    watch.check(folders)
    began = time.monotonic()

    watch.stop()

    assert time.monotonic() - began < 0.5
    watch.stop()


def test_stop_before_start_does_nothing(bell: threading.Event) -> None:
    Watch(bell, is_source).stop()


def _is_watched(watch: Watch, folder: Path) -> bool:
    return str(folder) in watch._watched  # noqa: SLF001


DESCRIPTORS = """
import os, pathlib, resource, sys, threading
from shipwrightd.daemon.watch import Watch
folder = pathlib.Path(sys.argv[1])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
used = max(int(name) for name in os.listdir("/dev/fd")) + 1
resource.setrlimit(resource.RLIMIT_NOFILE, (used - 1, hard))
watch = Watch(threading.Event(), lambda path: True)
watch.check([folder])
print(watch.check([folder]))
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
for _ in range(500):
    if not watch.check([folder]):
        break
    threading.Event().wait(0.01)
print(watch.check([folder]))
"""

WATCHES = """
import pathlib, sys, threading
from shipwrightd.daemon.watch import Watch
folder = pathlib.Path(sys.argv[1])
limit = pathlib.Path("/proc/sys/user/max_inotify_watches")
limit.write_text("0")
watch = Watch(threading.Event(), lambda path: True)
watch.check([folder])
print(watch.check([folder]))
limit.write_text("100")
for _ in range(500):
    if not watch.check([folder]):
        break
    threading.Event().wait(0.01)
print(watch.check([folder]))
"""


def test_out_of_descriptors_is_a_reason_and_passes(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", DESCRIPTORS, str(home)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "['the limit of open files or of inotify instances is reached']",
        "[]",
    ]


def test_out_of_watches_is_a_reason_and_passes(home: Path) -> None:
    if subprocess.run(["unshare", "--user", "--map-root-user", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespace of our own to lower the limit in")
    own = ["unshare", "--user", "--map-root-user", sys.executable, "-W", "error", "-c", WATCHES, str(home)]

    done = subprocess.run(own, capture_output=True, text=True, check=False)

    assert done.stderr == ""
    reason = "the system's limit of watches is reached (fs.inotify.max_user_watches)"
    assert done.stdout.splitlines() == [f'["{reason}"]', "[]"]


MOUNTS = r"""22 27 0:21 / / rw - ext4 /dev/vda rw
30 22 0:30 / /home rw,relatime shared:1 - nfs4 server:/home rw
31 30 0:31 / /home/ada/local rw - xfs /dev/vdb rw
32 22 0:32 / /mnt/two\040words rw - cifs //server/share rw
33 22 0:33 / /over rw - ext4 /dev/vdc rw
34 22 0:34 / /over rw master:7 - fuse.sshfs ada@host: rw
broken line
"""


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/srv", ""),
        ("/home/ada/.shipwright", "nfs4"),
        ("/home", "nfs4"),
        ("/homes/ada", ""),
        ("/home/ada/local/x", ""),
        ("/mnt/two words/x", "cifs"),
        ("/over/x", "fuse.sshfs"),
    ],
)
def test_network_file_system_is_recognised(folder: str, expected: str) -> None:
    assert network_type(MOUNTS, folder) == expected


def test_no_mounts_known_means_local() -> None:
    assert network_type("", "/home") == ""


def test_three_lost_events_within_a_minute_are_blindness_until_a_minute_of_quiet() -> None:
    blindness = Blindness()
    for at in (0.0, 59.0, 61.0):
        blindness.missed(at)
        assert not blindness.is_blind(at), "only two lie within one minute"

    blindness.missed(70.0)

    assert blindness.is_blind(70.0)
    assert blindness.is_blind(130.0)
    assert not blindness.is_blind(131.0)


def test_attempts_are_spaced_out_and_forgiven_after_quiet() -> None:
    back_off = BackOff()
    now, waits = 1000.0, []
    for _ in range(12):
        back_off.failed(now)
        until = next(s for s in range(1000) if back_off.ready(now + s))
        waits.append(until)
        now += until

    assert waits == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, BACK_OFF_MAX_S, BACK_OFF_MAX_S]
    back_off.failed(now + 601)
    assert back_off.ready(now + 601)
