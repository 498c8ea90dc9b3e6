"""Posts a body to a URL. A program of its own, so that an endless or slow response is ended by killing it.

    python -I post.py < (the URL, a newline, the body)

Prints the HTTP status, if there is one. Exit codes: 0 accepted, 1 worth
another attempt, 2 refused. Redirects are not followed: the payload is for one
host. Imports nothing of ours, so that it can be started by its path.
"""

from __future__ import annotations

import ssl
import sys
import urllib.error
import urllib.request
from http import HTTPStatus

TIMEOUT_S = 10.0
ACCEPTED, RETRY, REFUSED = 0, 1, 2
TEMPORARY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


def post(url: str, body: bytes) -> tuple[int, int]:
    """Return the exit code and the HTTP status, 0 for none."""
    opener = urllib.request.OpenerDirector()  # without handlers for files, ftp and redirects
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    headers = {"Content-Type": "application/json", "User-Agent": "shipwrightd"}
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - settings allow http and https
    try:
        with opener.open(request, timeout=TIMEOUT_S) as response:
            return ACCEPTED, response.status
    except urllib.error.HTTPError as error:
        with error:
            temporary = error.code >= HTTPStatus.INTERNAL_SERVER_ERROR or error.code in TEMPORARY
            return (RETRY if temporary else REFUSED), error.code
    except ValueError:  # not a URL
        return REFUSED, 0
    except OSError:  # no connection or no response; the error's text holds the URL
        return RETRY, 0


def main() -> int:
    """Read URL and body, post them, and return the exit code."""
    url, _, body = sys.stdin.buffer.read().partition(b"\n")
    code, status = post(url.decode(), body)
    if status:
        print(status)  # noqa: T201 - read by the hook
    return code


if __name__ == "__main__":
    sys.exit(main())
