"""Numbers, times and durations as columns hold them."""

from __future__ import annotations

import time

import pytest

from shipwrightd.decoding.values import INT64_MAX, INT64_MIN, epoch_of, integer, looks_numeric, number_of, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15m 36s", 936),
        ("1d 2h 3m 4s", 93_784),
        ("1h15m", 4_500),
        (" 2h  ", 7_200),
        ("0s", 0),
        ("", None),
        ("  ", None),
        (None, None),
        ("85", None),
        ("1m 1h", None),
        ("1234567890s", None),
        ("\u0663s", None),
    ],
)
def test_a_duration_is_seconds(text: str | None, seconds: int | None) -> None:
    assert seconds_of(text) == seconds


def test_a_text_of_spaces_takes_no_time() -> None:
    begin = time.process_time()
    assert seconds_of(" " * 100_000 + "x") is None
    assert time.process_time() - begin < 1


@pytest.mark.parametrize(
    ("ts", "seconds"),
    [
        ("1970-01-02T00:00:00Z", 86_400),
        ("1970-01-02T00:00:00", 86_400),
        ("1970-01-02T02:00:00+02:00", 86_400),
        ("1970-01-02", 86_400),
        ("1970-01-02T00:00:00.9Z", 86_400),
        ("0001-01-01T00:00:00+14:00", -62_135_647_200),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_a_time_is_seconds_since_1970(ts: str | None, seconds: int | None) -> None:
    assert epoch_of(ts) == seconds


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("0.0300", 0.03),
        ("007", 7),
        ("1.", 1),
        (85.0, 85),
        ("-3", -3),
        (INT64_MIN, INT64_MIN),
        (INT64_MAX + 1, None),
        (float(1 << 63), float(1 << 63)),
        ("1e999", None),
        ("9" * 19, 1e19),
        (True, None),
        (None, None),
        ("many", None),
        ([1], None),
    ],
)
def test_a_number_is_one_that_the_database_can_hold(value: object, number: float | None) -> None:
    found = number_of(value)  # type: ignore[arg-type]
    assert found == number
    assert type(found) is type(number)


def test_digits_that_64_bits_cannot_hold_stay_digits() -> None:
    assert integer(str(INT64_MIN)) == INT64_MIN
    assert integer(str(INT64_MAX + 1)) == str(INT64_MAX + 1)
    assert integer("9" * 5_000) == "9" * 5_000


@pytest.mark.parametrize(
    ("text", "numeric"), [("7", True), (" 1.5 ", True), ("5\0x", True), ("nan", True), ("7a", False), ("", False)]
)
def test_a_text_that_sqlite_might_convert_looks_numeric(text: str, numeric: bool) -> None:  # noqa: FBT001
    assert looks_numeric(text) == numeric
