"""A database with a past, made once; each test damages a copy of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from damage import Past

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Past:
    return Past(tmp_path_factory.mktemp("past"))


@pytest.fixture
def past(origin: Past, tmp_path: Path) -> Past:
    return origin.copy_to(tmp_path / "copy")
