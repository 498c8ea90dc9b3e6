"""One HTTP exchange as values: the bytes of a request in, the bytes of its answer out. Pure.

Only GET and HEAD, one exchange a connection. Nothing of a request ever
comes back in an answer.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_BYTES = 8_192  # of a request, line and headers; a scraper's is a tenth of that
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a path gives."""

    status: int
    body: str
    content_type: str = TEXT


def answer(received: bytes, paths: dict[str, Callable[[], Answer]], *, local: bool) -> bytes | None:
    """Return the answer to what was received so far, None while the request is not complete.

    With `local`, one that was addressed to a name other than this machine's own is refused: a web page
    in a browser here can give a name of its choice our address, and read what we answer.
    """
    head, end, _ = received.replace(b"\r\n", b"\n").partition(b"\n\n")
    if not end:
        return None if len(received) < MOST_BYTES else _bytes(Answer(431, "the request is too large\n"))
    method, path, host = _parsed(head.decode("latin-1"))
    if method not in {"GET", "HEAD"}:
        known = method.isalpha() and method.isupper()
        return _bytes(Answer(405, "only GET and HEAD\n") if known else Answer(400, "this is no HTTP request\n"))
    if local and not _is_ours(host):
        return _bytes(Answer(403, "ask for this machine by address, or as localhost\n"), head=method == "HEAD")
    give = paths.get(path)
    given = give() if give else Answer(404, f"there are {' and '.join(paths)}\n")
    return _bytes(given, head=method == "HEAD")


def _parsed(head: str) -> tuple[str, str, str]:
    """Return method, path and host; an empty method for what is no request."""
    first, *rest = head.split("\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):  # noqa: PLR2004 - method, target, version
        return "", "", ""
    headers = (line.partition(":") for line in rest)
    hosts = [value.strip() for name, _, value in headers if name.lower() == "host"]
    return words[0], words[1].partition("?")[0], hosts[0] if hosts else ""


def _is_ours(host: str) -> bool:
    """Tell whether a Host header names no name, an address, or localhost."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name.lower() in {"", "localhost"}:
        return True
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _bytes(given: Answer, *, head: bool = False) -> bytes:
    body = given.body.encode()
    lines = [
        f"HTTP/1.1 {given.status} {HTTPStatus(given.status).phrase}",
        f"Content-Type: {given.content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        *(["Allow: GET, HEAD"] if given.status == HTTPStatus.METHOD_NOT_ALLOWED else []),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + (b"" if head else body)
