"""An HTTP server that nobody can hurt the daemon with: one thread, few connections, each with little time.

Connections are served in turn by one thread that never waits for a single one
of them. Each has five seconds in all, however slowly it sends or takes; when
there are too many, the oldest makes room.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING

from shipwrightd.errors import ConfigError, PathError
from shipwrightd.monitoring.request import answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipwrightd.monitoring.request import Answer

CONNECTIONS = 16
BACKLOG = 128  # in line for the next look, which takes them all
EXCHANGE_S = 5.0  # from the first byte to the last, and for the client to hang up
PAUSE_S = 0.1  # when no connection can be taken, for want of descriptors
BLOCK = 4_096
MOST_TAKEN = 1 << 16  # bytes from one client, of which all but its request are thrown away
WRONG_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL}


def bound(address: str) -> socket.socket:
    """Return a socket that listens at HOST:PORT, an IPv6 host in brackets.

    Raises ConfigError for an address that this machine has not, PathError for a port that cannot be had.
    """
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, place = found[0]
        return socket.create_server(place[:2], family=family, backlog=BACKLOG)
    except (socket.gaierror, ValueError, OverflowError) as error:
        raise ConfigError(f"metrics: there is no address {address}", hint="give HOST:PORT of this machine") from error
    except OSError as error:
        message = f"metrics: cannot listen at {address}: {error.strerror}"
        if error.errno in WRONG_ADDRESS:
            raise ConfigError(message, hint="give an address of this machine") from error
        raise PathError(message, hint="choose another port, or end the program that holds it") from error


def is_local(host: str) -> bool:
    """Tell whether an address is of this machine's loopback."""
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


class _Connection:
    """One client: what it sent, what it still has to get, and until when."""

    def __init__(self, taken: socket.socket, until: float) -> None:
        self.socket = taken
        self.until = until
        self.received = b""
        self.taken = 0  # bytes, with what came after the answer
        self.left: memoryview | None = None  # of the answer; None before there is one


class Server:
    """Answers GET and HEAD for a few paths."""

    def __init__(self, listening: socket.socket, paths: dict[str, Callable[[], Answer]], *, local: bool) -> None:
        """Begin to serve on a listening socket; `local` as request.answer has it."""
        self._listening = listening
        self._paths = paths
        self._local = local
        self._open: dict[socket.socket, _Connection] = {}
        self._selector = selectors.DefaultSelector()
        self._bell, self._rope = socket.socketpair()
        listening.settimeout(0)
        self._selector.register(listening, selectors.EVENT_READ)
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    def stop(self, within_s: float = 0.2) -> None:
        """End, whoever is still connected."""
        with contextlib.suppress(OSError):
            self._rope.send(b"x")
        self._thread.join(within_s)

    def _serve(self) -> None:
        try:
            while True:
                soonest = min((c.until for c in self._open.values()), default=None)
                wait_s = None if soonest is None else max(0.0, soonest - time.monotonic())
                ready = self._selector.select(wait_s)
                if any(key.fileobj is self._bell for key, _ in ready):
                    return
                for key, _ in ready:
                    if key.fileobj is self._listening:
                        self._accept()
                    elif key.data in self._open.values():  # not closed since to make room
                        self._go_on(key.data)
                now = time.monotonic()
                for connection in [c for c in self._open.values() if c.until <= now]:
                    self._close(connection)
        finally:
            self._end()

    def _end(self) -> None:
        for connection in list(self._open.values()):
            self._close(connection)
        self._selector.close()
        for each in (self._listening, self._bell, self._rope):
            each.close()

    def _accept(self) -> None:
        try:
            taken, _ = self._listening.accept()
        except (BlockingIOError, ConnectionError):  # gone before it was taken
            return
        except OSError:  # no descriptor is free: it stays in line
            time.sleep(PAUSE_S)
            return
        taken.settimeout(0)
        if len(self._open) >= CONNECTIONS:
            self._close(min(self._open.values(), key=lambda c: c.until))
        self._open[taken] = connection = _Connection(taken, time.monotonic() + EXCHANGE_S)
        self._selector.register(taken, selectors.EVENT_READ, connection)

    def _go_on(self, connection: _Connection) -> None:
        """Take what came or send what can be sent, as far as that goes without waiting."""
        try:
            if connection.left:
                self._send(connection)
                return
            received = connection.socket.recv(BLOCK)
        except BlockingIOError:
            return
        except OSError:  # the client is gone
            received = b""
        connection.taken += len(received)
        if not received or connection.taken > MOST_TAKEN:
            self._close(connection)
        elif connection.left is None:
            connection.received += received
            given = answer(connection.received, self._paths, local=self._local)
            if given is not None:
                connection.left = memoryview(given)
                self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)

    def _send(self, connection: _Connection) -> None:
        """Send; after the last byte only wait for the client to hang up.

        Closing at once, with bytes of the client unread, would take the answer from it.
        """
        assert connection.left is not None  # noqa: S101 - asked by the caller
        connection.left = connection.left[connection.socket.send(connection.left) :]
        if not connection.left:
            self._selector.modify(connection.socket, selectors.EVENT_READ, connection)
            connection.socket.shutdown(socket.SHUT_WR)

    def _close(self, connection: _Connection) -> None:
        del self._open[connection.socket]
        self._selector.unregister(connection.socket)
        connection.socket.close()
