"""A real daemon, killed at random moments while four real writers append and a rotator rotates both ways."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from model import killing

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

KILLS = 15


def test_fifteen_kills_lose_nothing_double_nothing_and_keep_the_order(tmp_path: Path) -> None:
    account = killing.run(tmp_path, kills=KILLS, seed=random.randrange(2**32))
    assert account.clean(), str(account)
    assert account.trims
