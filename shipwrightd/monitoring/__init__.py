"""Callbacks of the run loop that inform operators: metrics over HTTP, and a hook for errors."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to an HTTP request."""

    status: int
    body: str
    content_type: str = "text/plain; charset=utf-8"
