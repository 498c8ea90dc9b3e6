"""The metrics server with real clients, slow and hostile ones included."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scrape import exchange, get
from structlog.testing import capture_logs

from shipwrightd.errors import ConfigError, PathError
from shipwrightd.monitoring import Response, http
from shipwrightd.monitoring.http import CONNECTIONS, REQUEST_BYTES, Server, bind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Eventually

BODY = "figures\n" * 100_000  # more than a socket takes at once


def broken() -> Response:
    raise ZeroDivisionError


PATHS = {
    "/metrics": lambda: Response(200, BODY),
    "/healthz": lambda: Response(503, "unhealthy é\n"),
    "/broken": broken,
}


def serve(address: str = "127.0.0.1:0") -> Server:
    return Server(bind(address), PATHS)


@pytest.fixture
def port() -> Iterator[int]:
    server = serve()
    yield server.server_port
    server.stop()


@pytest.fixture
def anywhere() -> Iterator[int]:
    """Return the port of a server that other machines reach."""
    server = serve("0.0.0.0:0")
    yield server.server_port
    server.stop()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> float:
    """Give each exchange less time than it has."""
    monkeypatch.setattr(http, "EXCHANGE_S", 0.2)
    return 0.2


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def is_hung_up(client: socket.socket) -> bool:
    """Wait for the other side to hang up; tell whether it did."""
    try:
        return client.recv(65_536) == b""
    except ConnectionResetError:
        return True


def test_a_long_answer_arrives_whole(port: int) -> None:
    assert get(port) == (200, BODY)


def test_many_clients_are_served_at_once(port: int) -> None:
    answers: list[tuple[int, str]] = []
    clients = [threading.Thread(target=lambda: answers.append(get(port))) for _ in range(CONNECTIONS // 2)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()

    assert answers == [(200, BODY)] * len(clients)


@pytest.mark.usefixtures("hasty")
def test_who_sends_a_byte_now_and_then_is_hung_up_on(port: int, eventually: Eventually) -> None:
    """Each byte comes soon enough; it is the whole that takes too long."""
    with connected(port) as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\n")

        def sent_a_byte_in_vain() -> bool:
            try:
                slow.sendall(b"X")
            except OSError:
                return True
            return False

        eventually(sent_a_byte_in_vain)


@pytest.mark.usefixtures("hasty")
def test_who_takes_nothing_is_hung_up_on(port: int, eventually: Eventually) -> None:
    before = open_files()
    with connected(port) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert get(port)[0] == 200  # in turn, so that the first one has been taken

        eventually(lambda: open_files() == before + 1)  # its own end is all that is left


def test_silent_clients_keep_nobody_out(port: int) -> None:
    silent = [connected(port) for _ in range(CONNECTIONS * 3)]
    try:
        assert get(port) == (200, BODY)
        assert is_hung_up(silent[0])
    finally:
        for client in silent:
            client.close()


def test_threads_are_as_many_as_connections_however_many_clients_come(port: int, eventually: Eventually) -> None:
    before = threading.active_count()
    clients = [connected(port) for _ in range(CONNECTIONS * 3)]
    try:
        assert get(port)[0] == 200
        assert threading.active_count() <= before + CONNECTIONS
    finally:
        for client in clients:
            client.close()
    eventually(lambda: threading.active_count() == before)


def test_an_error_of_ours_is_logged_and_the_next_client_is_served(port: int, eventually: Eventually) -> None:
    with capture_logs() as logs:
        assert exchange(port, b"GET /broken HTTP/1.1\r\n\r\n") == b""
        eventually(lambda: bool(logs))

    assert [(entry["event"], entry["error"]) for entry in logs] == [("metrics_failed", "ZeroDivisionError: ")]
    assert get(port)[0] == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nCookie: " + b"x" * 30_000 + b"\r\n\r\n", b"431"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 30000\r\n\r\n" + b"x" * 30_000, b"405"),
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /metrics HTTP/1.1\r\n\r\n" * 3, b"200"),
    ],
)
def test_a_wrong_request_gets_an_error_and_the_next_client_is_served(port: int, sent: bytes, status: bytes) -> None:
    assert exchange(port, sent).split(b" ")[1] == status
    assert get(port)[0] == 200


def test_who_goes_on_sending_for_ever_is_hung_up_on(port: int) -> None:
    with connected(port) as endless, pytest.raises(OSError, match=r"reset|pipe"):
        endless.sendall(b"GET / HTTP/1.1\r\n\r\n" + b"x" * 50_000_000)


def test_who_hangs_up_early_is_forgotten(port: int) -> None:
    for sent in (b"", b"GET", b"GET /metrics HTTP/1.1\r\n\r\n"):
        with connected(port) as client:
            client.sendall(sent)

    assert get(port) == (200, BODY)


def test_its_end_frees_the_port() -> None:
    listening = bind("127.0.0.1:0")
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    Server(listening, {}).stop()

    bind(address).close()


def test_a_port_in_use_is_a_path_error() -> None:
    with bind("127.0.0.1:0") as taken, pytest.raises(PathError, match=r"cannot listen at 127\.0\.0\.1:\d+: .* in use"):
        bind(f"127.0.0.1:{taken.getsockname()[1]}")


@pytest.mark.parametrize("address", ["192.0.2.1:9100", "no-such-host.invalid:9100", "999.1.1.1:9100", "x..y:1"])
def test_an_address_of_another_machine_is_a_config_error(address: str) -> None:
    with pytest.raises(ConfigError, match="metrics: "):
        bind(address)


# -- requests


def request(path: str = "/healthz", host: str = "127.0.0.1:9100", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nX: y\r\n\r\n".encode()


def answer(port: int, sent: bytes) -> tuple[bytes, bytes]:
    """Return the status line and the body of the response."""
    head, _, body = exchange(port, sent).partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0], body


UNHEALTHY = (b"HTTP/1.1 503 Service Unavailable", "unhealthy é\n".encode())


def test_a_path_gives_its_response(port: int) -> None:
    assert answer(port, request()) == UNHEALTHY
    assert answer(port, request("/healthz?a=b")) == UNHEALTHY
    assert answer(port, b"GET /healthz HTTP/1.0\n\n") == UNHEALTHY


def test_head_is_a_get_without_the_body(port: int) -> None:
    whole, head = exchange(port, request()), exchange(port, request(method="HEAD"))

    assert head == whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert b"Content-Length: 13\r\n" in head
    assert b"Connection: close" in head


def test_a_request_that_comes_in_pieces_is_waited_for(port: int) -> None:
    with connected(port) as client:
        for byte in request():
            client.sendall(bytes([byte]))
        assert client.recv(65_536).startswith(UNHEALTHY[0])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_other_methods_are_refused_with_those_allowed(port: int, method: str) -> None:
    response = exchange(port, request(method=method))

    assert response.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert b"Allow: GET, HEAD\r\n" in response


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n\n",
        b"GET\n\n",
        b"GET /metrics\n\n",
        b"get /metrics HTTP/1.1\n\n",
        b"\x16\x03\x01\x02\n\n",
        b"GET / HTTP/2\n\n",
        b"GET / HTTP/2.0\n\n",
        b"GET /metrics x HTTP/1.1\r\n\r\n",
        b" \xff\xfe\r\n\r\n",
    ],
)
def test_garbage_is_a_bad_request(port: int, garbage: bytes) -> None:
    assert answer(port, garbage)[0] == b"HTTP/1.1 400 Bad Request"


@pytest.mark.parametrize("headers", ["X: " + "x" * REQUEST_BYTES, "X: y\r\n" * (REQUEST_BYTES // 6), "a:b\n" * 150])
def test_a_request_that_is_too_large_is_refused(port: int, headers: str) -> None:
    sent = f"GET /metrics HTTP/1.1\r\n{headers}\r\n\r\n".encode()

    assert answer(port, sent)[0] == b"HTTP/1.1 431 Request Header Fields Too Large"


@pytest.mark.parametrize(
    "sent", [request("/<script>secret"), b"secret <script>\r\n\r\n", b"GET /x HTTP/1.1\nsecret\n\n"]
)
def test_nothing_of_a_request_comes_back(port: int, sent: bytes) -> None:
    response = exchange(port, sent)

    assert response.startswith((b"HTTP/1.1 404 Not Found", b"HTTP/1.1 400 Bad Request"))
    assert b"script" not in response
    assert b"secret" not in response


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:9", "[::1]", "[::1]:9", "10.0.0.1"]
)
def test_an_address_and_localhost_are_accepted(port: int, host: str) -> None:
    assert answer(port, request(host=host)) == UNHEALTHY


@pytest.mark.parametrize(
    "host", ["rebound.example", "rebound.example:9100", "localhost.example", "127.0.0.1.example", "[x"]
)
def test_another_name_is_refused_on_the_loopback_alone(port: int, anywhere: int, host: str) -> None:
    """A page in a browser may give its own name our address; elsewhere a name may well be ours."""
    assert answer(port, request(host=host))[0] == b"HTTP/1.1 403 Forbidden"
    assert answer(anywhere, request(host=host)) == UNHEALTHY
