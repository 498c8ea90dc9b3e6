"""Metrics as text: what a real parser reads is what was meant."""

from __future__ import annotations

import pytest
from scrape import Scraped

from shipwrightd.monitoring.exposition import Histogram, Metric, counter, gauge, text

NASTY = 'a"b\\c\nd\x1b[2J\u2028\udcff é'


def test_a_label_comes_through_with_controls_written_out() -> None:
    scraped = Scraped(text([gauge("x", "said", {NASTY: 1.5})]))

    assert list(scraped.labels()) == ['a"b\\c\\nd\\x1b[2J\\u2028\\xff é']


def test_help_stays_on_its_line() -> None:
    scraped = Scraped(text([gauge("x", "one\ntwo \\ three", 1)]))

    assert scraped.help == {"x": "one\ntwo \\ three"}


@pytest.mark.parametrize("value", [0, 1, -1, 0.1, 1e-9, 123456789012.5, 2**53, 1e300, float("inf"), float("-inf")])
def test_a_number_comes_through_exactly(value: float) -> None:
    assert Scraped(text([gauge("x", "said", value)])).value("x") == value


def test_what_is_not_known_is_left_out() -> None:
    assert text([gauge("x", "said", None), counter("y_total", "said", {}), Metric("z", "gauge", "said", [])]) == ""


def test_a_histogram_counts_up_to_each_bound_with_the_bound() -> None:
    histogram = Histogram((0.5, 1, 10))
    for value in (0.5, 0.6, 1, 10, 11, 1000):
        histogram.observe(value)

    scraped = Scraped(text([histogram.metric("x", "said")]))

    assert scraped.kinds == {"x": "histogram"}
    assert [scraped.value("x_bucket", le=le) for le in ("0.5", "1", "10", "+Inf")] == [1, 3, 4, 6]
    assert (scraped.value("x_count"), scraped.value("x_sum")) == (6, 1023.1)
