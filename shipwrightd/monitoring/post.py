"""Posts a body to a URL: a program of its own, so that whoever answers slowly, or too much, is ended with it.

    python -I post.py < (the URL, a newline, the body)

Prints the HTTP status, if there is one. Exit code 0: taken; 1: worth another
try; 2: not. Redirects are not followed: what is told is meant for one host.
Imports nothing of ours, so that it starts from its path alone.
"""

from __future__ import annotations

import ssl
import sys
import urllib.error
import urllib.request
from http import HTTPStatus

TIMEOUT_S = 10.0
TAKEN, AGAIN, REFUSED = 0, 1, 2
LATER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


def post(url: str, body: bytes) -> tuple[int, int]:
    """Return the exit code and the HTTP status, 0 for none."""
    opener = urllib.request.OpenerDirector()  # without the handlers for files, ftp and redirects
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    headers = {"Content-Type": "application/json", "User-Agent": "shipwrightd"}
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - config lets http and https in
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answered:
            return TAKEN, answered.status
    except urllib.error.HTTPError as error:
        with error:
            again = error.code >= HTTPStatus.INTERNAL_SERVER_ERROR or error.code in LATER
            return (AGAIN if again else REFUSED), error.code
    except ValueError:  # no URL after all
        return REFUSED, 0
    except OSError:  # no way there, or no answer; its text holds the URL
        return AGAIN, 0


def main() -> int:
    """Read what to post where, post it, and return the exit code."""
    url, _, body = sys.stdin.buffer.read().partition(b"\n")
    code, status = post(url.decode(), body)
    if status:
        print(status)  # noqa: T201 - its answer
    return code


if __name__ == "__main__":
    sys.exit(main())
