"""`report activity --follow` as a real process beside real writers: each new event once, and an end in good order."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Self

import orjson
import pytest
from process import Running, call, places
from world import DEADLINE_S, World, line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Eventually

pytestmark = pytest.mark.system

NOBODY = "nothing new will come"
WARNINGS = ("-W", "error")


class Follow:
    """A following process; what it writes goes to a file, or to where `stdout` says."""

    def __init__(self, world: World, *options: str, stdout: int | None = None) -> None:
        self._out, self._err = world.home.with_name("follow.out"), world.home.with_name("follow.err")
        command = [sys.executable, *WARNINGS, "-m", "shipwrightd", "report", "activity", "--follow", *options]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*command, *places(world)],
                stdin=subprocess.DEVNULL,
                stdout=out if stdout is None else stdout,
                stderr=err,
                env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def lines(self) -> list[str]:
        """Return the whole lines that it has written."""
        return self._out.read_text().split("\n")[:-1]

    def seqs(self) -> list[int]:
        """Return the sequence numbers of the events that it has written, as lines or as JSON."""
        return [
            orjson.loads(text)["extra"]["seq"] if text.startswith("{") else int(text.split("seq=")[1].split()[0])
            for text in self.lines()
        ]

    def has(self, *seqs: int) -> bool:
        """Tell whether exactly these have been written, in this order."""
        return self.seqs() == list(seqs)

    def told(self) -> str:
        """Return what it said on stderr."""
        return self._err.read_text()

    def says(self, text: str) -> bool:
        """Tell whether it has said that on stderr."""
        return text in self.told()

    def code(self) -> int:
        """Wait for its end and return its exit code."""
        return self.process.wait(DEADLINE_S)


@pytest.fixture
def filled(world: World) -> World:
    """Return a world of three events, all in the database."""
    world.append(3)
    assert call(world, "backfill").returncode == 0
    return world


@pytest.fixture
def following(filled: World, eventually: Eventually) -> Iterator[Follow]:
    """Return a process that follows and has written the three events."""
    with Follow(filled) as follow:
        eventually(partial(follow.has, 1, 2, 3), DEADLINE_S)
        yield follow


def append(world: World, *lines: bytes) -> None:
    with world.events.open("ab") as file:
        file.write(b"".join(lines))


def test_each_event_is_written_as_the_daemon_commits_it(world: World, eventually: Eventually) -> None:
    world.append(12)
    with Running(world) as daemon:
        daemon.wait_for(lambda: world.count() == 12)
        with Follow(world) as follow:
            eventually(lambda: follow.has(*range(3, 13)), DEADLINE_S)
            for number in range(13, 16):
                world.append(1)
                eventually(partial(follow.has, *range(3, number + 1)), DEADLINE_S)
            assert follow.told() == ""


def test_so_many_events_come_first_as_the_limit_says(filled: World, eventually: Eventually) -> None:
    with Follow(filled, "--limit", "1") as follow:
        eventually(partial(follow.has, 3), DEADLINE_S)


def test_it_says_once_that_nobody_ingests_and_goes_on(filled: World, following: Follow, eventually: Eventually) -> None:
    for number in range(4, 6):
        filled.append(1)
        assert call(filled, "backfill").returncode == 0
        eventually(partial(following.has, *range(1, number + 1)), DEADLINE_S)

    assert following.told().count(NOBODY) == 1
    assert following.told().count("\n") == 1


def test_much_that_comes_at_once_is_written_whole(filled: World, following: Follow, eventually: Eventually) -> None:
    filled.append(5_000)
    assert call(filled, "backfill").returncode == 0

    eventually(partial(following.has, *range(1, 5_004)), DEADLINE_S)


def test_filters_hold_for_what_comes_too(filled: World, eventually: Eventually) -> None:
    append(filled, line(90, type="stage.failed", issue=7))
    with Follow(filled, "--type", "stage", "--issue", "7") as follow:
        eventually(lambda: follow.says(NOBODY), DEADLINE_S)
        append(filled, line(91, type="stage.started", issue=8), line(92, type="stage", issue=7), line(93, issue=7))
        assert call(filled, "backfill").returncode == 0
        eventually(lambda: follow.has(90, 92), DEADLINE_S)


def test_json_is_an_object_a_line(filled: World, eventually: Eventually) -> None:
    with Follow(filled, "--format", "json") as follow:
        eventually(partial(follow.has, 1, 2, 3), DEADLINE_S)
        filled.append(1)
        assert call(filled, "backfill").returncode == 0
        eventually(partial(follow.has, 1, 2, 3, 4), DEADLINE_S)

        last = orjson.loads(follow.lines()[-1])
        assert (last["id"], last["type"], last["origin"]) == (4, "test.tick", "events.jsonl")


def test_csv_has_its_head_once(filled: World, eventually: Eventually) -> None:
    with Follow(filled, "--format", "csv") as follow:
        eventually(lambda: len(follow.lines()) == 4, DEADLINE_S)
        filled.append(1)
        assert call(filled, "backfill").returncode == 0
        eventually(lambda: len(follow.lines()) == 5, DEADLINE_S)

        rows = list(csv.DictReader(io.StringIO("\n".join(follow.lines()))))
        assert [row["id"] for row in rows] == ["1", "2", "3", "4"]


def test_an_interrupt_ends_it_with_130_and_without_a_word(following: Follow) -> None:
    following.process.send_signal(signal.SIGINT)

    assert following.code() == 130
    assert "Traceback" not in following.told()
    assert following.told().replace(NOBODY, "").strip().count("\n") == 0


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_it_ends_with_141_when_its_reader_does_even_if_nothing_comes(filled: World, form: str) -> None:
    with Follow(filled, "--format", form, stdout=subprocess.PIPE) as follow:
        assert follow.process.stdout is not None
        assert follow.process.stdout.readline()
        follow.process.stdout.close()

        assert follow.code() == 141
        assert "Traceback" not in follow.told()


def test_a_database_in_place_of_the_other_is_followed(filled: World, following: Follow, eventually: Eventually) -> None:
    for name in ("shipwright.db", "shipwright.db-wal", "shipwright.db-shm"):
        if (old := filled.db_path.with_name(name)).exists():
            old.rename(old.with_name(f"old-{name}"))
    filled.events.unlink()
    filled.append(2)
    assert call(filled, "backfill").returncode == 0
    eventually(lambda: following.says("was replaced"), DEADLINE_S)
    filled.append(1)
    assert call(filled, "backfill").returncode == 0

    eventually(lambda: following.seqs()[-1] == 6, DEADLINE_S)
    assert following.seqs()[:3] == [1, 2, 3]
    assert sorted(set(following.seqs())) == following.seqs()


@pytest.mark.parametrize("option", ["--until", "--offset", "--cursor", "--now"])
def test_what_makes_no_sense_while_following_is_refused(filled: World, option: str) -> None:
    ended = call(filled, "report", "activity", "-f", option, "2026")

    assert ended.returncode == 2
    assert f"--follow and {option} exclude each other" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_without_a_database_it_ends_with_66_and_says_what_to_do(world: World) -> None:
    ended = call(world, "report", "activity", "-f")

    assert ended.returncode == 66
    assert "shipwrightd backfill" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_database_without_an_event_is_waited_on(world: World, eventually: Eventually) -> None:
    world.events.touch()
    assert call(world, "backfill").returncode == 0
    with Follow(world) as follow:
        eventually(lambda: follow.says(NOBODY), DEADLINE_S)
        world.append(1)
        assert call(world, "backfill").returncode == 0
        eventually(partial(follow.has, 1), DEADLINE_S)
