"""What a monitor reads: expositions taken apart by the parser of Prometheus' own client, and bare HTTP."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterator

# Without the proxies that the environment may name.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Scraped:
    """The samples of an exposition, each name declared once."""

    def __init__(self, text: str) -> None:
        assert text.endswith("\n")
        families = list(text_string_to_metric_families(text))
        self.kinds = {_declared(family.name, family.type): family.type for family in families}
        self.help = {_declared(family.name, family.type): family.documentation for family in families}
        assert len(self.kinds) == len(families) == text.count("# TYPE "), "a metric is declared twice"
        self.samples = [sample for family in families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """Return the one sample of this name that has these labels."""
        (found,) = [s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()]
        return float(found)

    def labels(self) -> Iterator[str]:
        """Yield the values of all labels."""
        for sample in self.samples:
            yield from sample.labels.values()


def _declared(name: str, kind: str) -> str:
    """Return the name as it is written; the parser takes the end from those of counters."""
    return f"{name}_total" if kind == "counter" else name


def get(port: int, path: str = "/metrics", host: str = "127.0.0.1") -> tuple[int, str]:
    """Return status and body of a GET."""
    try:
        with OPENER.open(f"http://{host}:{port}{path}", timeout=20) as answered:
            return answered.status, answered.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def exchange(port: int, sent: bytes) -> bytes:
    """Send bytes, and return all that comes back until the other side hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(sent)
        return b"".join(iter(lambda: client.recv(65_536), b""))
