"""What coverage-guided searches found, put to the same questions again: no fuzzer needed."""

from __future__ import annotations

import pytest

from fuzz import corpus
from fuzz.targets import NAMES, load


@pytest.mark.parametrize("name", NAMES)
def test_every_promise_holds_for_the_seeds_and_all_kept_inputs(name: str) -> None:
    target = load(name)
    for data in (*target.SEEDS, *corpus.read(name)):
        try:
            target.check(data)
        except BaseException as error:
            error.add_note(f"the input is {data!r}")
            raise


@pytest.mark.parametrize("name", NAMES)
def test_the_kept_inputs_are_few_and_short(name: str) -> None:
    """A repository keeps what it is given forever."""
    path = corpus.path_of(name)
    assert path.stat().st_size < 128 << 10
    assert max(map(len, corpus.read(name)), default=0) <= load(name).LONGEST
