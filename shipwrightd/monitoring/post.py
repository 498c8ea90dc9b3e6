"""Posts a body to a URL. A program of its own, so that an endless or slow response is ended by killing it.

    python -I post.py < (the URL, a newline, the body)

Prints the HTTP status, if there is one. Exit codes: 0 accepted, 1 worth another attempt, 2 refused. Redirects are not
followed: the payload is for one host. Imports nothing of ours, so that it can be started by its path.
"""

from __future__ import annotations

import ssl
import sys
import urllib.request
from http import HTTPStatus

TIMEOUT_S = 10.0
ACCEPTED, RETRY, REFUSED = 0, 1, 2
TEMPORARY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


def main() -> int:
    """Read URL and body, post them, print the HTTP status, and return the exit code."""
    url, _, body = sys.stdin.buffer.read().partition(b"\n")
    opener = urllib.request.OpenerDirector()  # without handlers for files, ftp and redirects
    opener.add_handler(urllib.request.ProxyHandler())
    opener.add_handler(urllib.request.HTTPHandler())
    opener.add_handler(urllib.request.HTTPSHandler(context=ssl.create_default_context()))
    headers = {"Content-Type": "application/json", "User-Agent": "shipwrightd"}
    request = urllib.request.Request(url.decode(), body, headers, method="POST")  # noqa: S310 - settings allow http(s)
    with opener.open(request, timeout=TIMEOUT_S) as response:  # without a response the exception's exit code is RETRY
        status = response.status
    print(status)  # noqa: T201 - read by the hook
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return ACCEPTED
    return RETRY if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in TEMPORARY else REFUSED


if __name__ == "__main__":
    sys.exit(main())
