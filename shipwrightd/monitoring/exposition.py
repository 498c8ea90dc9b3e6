"""Figures as Prometheus and its like read them: the text exposition format 0.0.4.

Pure, and written by hand: the format is a dozen lines, a library for it takes
as long to load as `status` may take in all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

EXACT = 1 << 53  # beyond it a float is no longer every whole number
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value; `suffix` follows the metric's name, for the parts of a histogram."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Metric:
    """Samples of one name, and what they say."""

    name: str
    kind: str  # counter | gauge | histogram
    help: str
    samples: Sequence[Sample]


def counter(name: str, said: str, value: float | Mapping[str, float]) -> Metric:
    """Return a count that only grows while a process lives; a mapping holds one for each source."""
    return Metric(name, "counter", said, _samples(value))


def gauge(name: str, said: str, value: float | Mapping[str, float] | None) -> Metric:
    """Return a value that goes up and down; None for one that is not known."""
    return Metric(name, "gauge", said, [] if value is None else _samples(value))


def _samples(value: float | Mapping[str, float]) -> list[Sample]:
    if isinstance(value, int | float):
        return [Sample(value)]
    return [Sample(each, {"source": source}) for source, each in sorted(value.items())]


class Histogram:
    """Counts observations up to each of its bounds. Belongs to one thread, or is kept by a lock."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """Begin with none; `bounds` grow."""
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[sum(bound < value for bound in self._bounds)] += 1
        self._sum += value

    def metric(self, name: str, said: str) -> Metric:
        """Return what was counted so far."""
        samples = []
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            samples.append(Sample(total, {"le": _number(bound)}, "_bucket"))
        return Metric(
            name, "histogram", said, [*samples, Sample(self._sum, suffix="_sum"), Sample(total, suffix="_count")]
        )


def text(metrics: Iterable[Metric]) -> str:
    """Return the exposition; a metric without a sample is left out."""
    return "".join(line for metric in metrics if metric.samples for line in _lines(metric))


def _lines(metric: Metric) -> Iterable[str]:
    said = metric.help.replace("\\", "\\\\").replace("\n", "\\n")
    yield f"# HELP {metric.name} {said}\n"
    yield f"# TYPE {metric.name} {metric.kind}\n"
    for sample in metric.samples:
        labels = ",".join(f'{name}="{_label(value)}"' for name, value in sample.labels.items())
        yield f"{metric.name}{sample.suffix}{f'{{{labels}}}' if labels else ''} {_number(sample.value)}\n"


def _label(value: str) -> str:
    """Return a label's value: controls as escapes, and what the format would take for its own."""
    return visible(value).replace("\\", "\\\\").replace('"', '\\"')


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) <= EXACT else repr(value)
