"""One HTTP exchange, bytes in and bytes out."""

from __future__ import annotations

import pytest

from shipwrightd.monitoring.request import MOST_BYTES, Answer, answer

PATHS = {"/metrics": lambda: Answer(200, "figures é\n"), "/healthz": lambda: Answer(503, "unwell\n")}


def ask(request: bytes, *, local: bool = True) -> tuple[bytes, bytes]:
    """Return the first line and the body of the answer."""
    given = answer(request, PATHS, local=local)
    assert given is not None
    head, _, body = given.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0], body


def get(path: str = "/metrics", host: str = "127.0.0.1:9100") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX: y\r\n\r\n".encode()


def test_a_path_gives_its_answer() -> None:
    assert ask(get()) == (b"HTTP/1.1 200 OK", "figures é\n".encode())
    assert ask(get("/metrics?a=b")) == (b"HTTP/1.1 200 OK", "figures é\n".encode())
    assert ask(get("/healthz")) == (b"HTTP/1.1 503 Service Unavailable", b"unwell\n")
    assert ask(b"GET /metrics HTTP/1.0\n\n")[0] == b"HTTP/1.1 200 OK"


def test_head_is_a_get_without_the_body() -> None:
    whole, head = answer(get(), PATHS, local=True), answer(get().replace(b"GET", b"HEAD"), PATHS, local=True)

    assert whole is not None
    assert head == whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert b"Content-Length: 11" in head


def test_half_a_request_is_waited_for() -> None:
    whole = get()

    assert {answer(whole[:cut], PATHS, local=True) for cut in range(len(whole))} == {None}


def test_other_methods_are_refused_and_told_what_is_taken() -> None:
    for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"):
        assert ask(get().replace(b"GET", method))[0] == b"HTTP/1.1 405 Method Not Allowed"
    assert b"Allow: GET, HEAD\r\n" in (answer(get().replace(b"GET", b"PUT"), PATHS, local=True) or b"")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n\n",
        b"GET\n\n",
        b"GET /metrics\n\n",
        b"get /metrics HTTP/1.1\n\n",
        b"\x16\x03\x01\x02\n\n",
        b"GET / HTTP/2\n\n",
        b"GET /metrics x HTTP/1.1\r\n\r\n",
        b" \xff\xfe\r\n\r\n",
    ],
)
def test_garbage_is_a_bad_request(garbage: bytes) -> None:
    assert ask(garbage)[0] == b"HTTP/1.1 400 Bad Request"


def test_a_request_without_end_is_refused_at_a_bound() -> None:
    endless = b"GET /metrics HTTP/1.1\r\nX: " + b"x" * MOST_BYTES

    assert answer(endless[: MOST_BYTES - 1], PATHS, local=True) is None
    assert ask(endless)[0] == b"HTTP/1.1 431 Request Header Fields Too Large"


def test_nothing_of_a_request_comes_back() -> None:
    given = answer(get("/<script>secret"), PATHS, local=False)

    assert given is not None
    assert given.startswith(b"HTTP/1.1 404 Not Found")
    assert b"script" not in given


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9", "[::1]", "[::1]:9", "10.0.0.1"]
)
def test_an_address_and_localhost_are_ours(host: str) -> None:
    assert ask(get(host=host))[0] == b"HTTP/1.1 200 OK"
    assert ask(b"GET /metrics HTTP/1.0\r\n\r\n")[0] == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    "host", ["rebound.example", "rebound.example:9100", "localhost.example", "127.0.0.1.example", "[x"]
)
def test_another_name_is_refused_on_the_loopback_alone(host: str) -> None:
    """A page in a browser may have its own name lead to us; elsewhere a name may well be ours."""
    assert ask(get(host=host))[0] == b"HTTP/1.1 403 Forbidden"
    assert ask(get(host=host), local=False)[0] == b"HTTP/1.1 200 OK"
