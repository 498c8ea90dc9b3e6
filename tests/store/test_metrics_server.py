"""The server of figures against real clients, the slow and the hostile among them."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scrape import exchange, get

from shipwrightd.errors import ConfigError, PathError
from shipwrightd.monitoring import server as serving
from shipwrightd.monitoring.request import TEXT, Answer
from shipwrightd.monitoring.server import CONNECTIONS, Server, bound, is_local

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Eventually

BODY = "figures\n" * 100_000  # more than a socket takes at once


@pytest.fixture
def port() -> Iterator[int]:
    listening = bound("127.0.0.1:0")
    number: int = listening.getsockname()[1]
    server = Server(listening, {"/metrics": lambda: Answer(200, BODY, TEXT)}, local=True)
    yield number
    server.stop(within_s=5)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> float:
    """Give each exchange less time than it has."""
    monkeypatch.setattr(serving, "EXCHANGE_S", 0.2)
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


def test_there_is_one_thread_however_many_come(port: int) -> None:
    before = threading.active_count()
    clients = [connected(port) for _ in range(CONNECTIONS)]
    try:
        assert get(port)[0] == 200
        assert threading.active_count() == before
    finally:
        for client in clients:
            client.close()


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
def test_a_wrong_request_is_told_so_and_the_next_client_is_served(port: int, sent: bytes, status: bytes) -> None:
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
    listening = bound("127.0.0.1:0")
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    Server(listening, {}, local=True).stop(within_s=5)

    bound(address).close()


def test_a_port_in_use_is_a_path_error() -> None:
    with bound("127.0.0.1:0") as taken, pytest.raises(PathError, match=r"cannot listen at 127\.0\.0\.1:\d+: .* in use"):
        bound(f"127.0.0.1:{taken.getsockname()[1]}")


@pytest.mark.parametrize("address", ["192.0.2.1:9100", "no-such-host.invalid:9100", "999.1.1.1:9100", "x..y:1"])
def test_an_address_of_another_machine_is_a_config_error(address: str) -> None:
    with pytest.raises(ConfigError, match="metrics: "):
        bound(address)


def test_what_is_local_is_told_from_what_is_not() -> None:
    assert [is_local(host) for host in ("127.0.0.1", "127.8.8.8", "::1")] == [True] * 3
    assert [is_local(host) for host in ("0.0.0.0", "::", "10.0.0.1", "fe80::1%eth0")] == [False] * 4  # noqa: S104
