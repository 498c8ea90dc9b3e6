"""The HTTP server for `/metrics` and `/healthz`; its clients cannot slow down the daemon.

The server of the standard library with bounds: GET and HEAD only, one request a connection, 8 KiB a request, 16
connections with a thread each, five seconds a connection. When all are taken, the oldest is closed for the next.
"""

from __future__ import annotations

import contextlib
import errno
import io
import ipaddress
import re
import socket
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import structlog

from shipwrightd.errors import ConfigError, PathError
from shipwrightd.monitoring import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Request = socket.socket | tuple[bytes, socket.socket]  # the second kind is for datagrams

CONNECTIONS = 16
BACKLOG = 128
EXCHANGE_S = 5.0  # from accepting a connection to closing it
REQUEST_BYTES = 8_192  # request line and headers; a scraper sends a tenth of that
DRAIN_BYTES = 1 << 16  # read after the response and thrown away
BLOCK = 4_096
POLL_S = 0.25  # how often overdue connections and the end of the server are noticed
PAUSE_S = 0.1  # wait for a free slot or file descriptor
STOP_WITHIN_S = 0.5
WRONG_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL}
REQUEST_LINE = re.compile(rb"[A-Z]+ \S+ HTTP/1\.\d\r?\n")
HEAD_END = re.compile(rb"\n\r?\n")

log = structlog.get_logger()


def bind(address: str) -> socket.socket:
    """Return a socket that listens at HOST:PORT, an IPv6 host in brackets.

    Raises ConfigError for an address this machine does not have, PathError for a port that cannot be opened.
    """
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, resolved = found[0]
        return socket.create_server(resolved[:2], family=family, backlog=BACKLOG)
    except (socket.gaierror, ValueError, OverflowError) as error:
        raise ConfigError(f"metrics: there is no address {address}", hint="give HOST:PORT of this machine") from error
    except OSError as error:
        message = f"metrics: cannot listen at {address}: {error.strerror}"
        if error.errno in WRONG_ADDRESS:
            raise ConfigError(message, hint="give an address of this machine") from error
        raise PathError(message, hint="choose another port, or stop the program that uses it") from error


def names_this_machine(host: str) -> bool:
    """Tell whether a Host header is absent, an IP address or localhost."""
    try:
        name = urlsplit(f"//{host}").hostname or "localhost"
        return name == "localhost" or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


class Server(ThreadingHTTPServer):
    """Serves a few paths at a listening socket, from its own threads, until `stop`."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listening: socket.socket, paths: Mapping[str, Callable[[], Response]]) -> None:
        host, port = listening.getsockname()[:2]
        super().__init__((host, port), _Handler, bind_and_activate=False)
        self.socket.close()  # made by the base class, which binds in its own way
        self.socket = listening
        self.server_name, self.server_port = host, port
        listening.settimeout(0)
        self.paths = paths
        self.local = ipaddress.ip_address(host).is_loopback
        self._open: dict[Request, float] = {}  # each with its deadline, the oldest first
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self.serve_forever, args=(POLL_S,), name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port and all connections."""
        self.shutdown()
        self._thread.join(STOP_WITHIN_S)
        self.server_close()
        for request in list(self._open):
            _hang_up(request)

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a connection; wait a moment when there are no file descriptors, for it stays in the queue."""
        try:
            return super().get_request()
        except (BlockingIOError, ConnectionError):
            raise
        except OSError:
            time.sleep(PAUSE_S)
            raise

    def process_request(self, request: Request, client_address: object) -> None:
        """Handle a connection in a thread of its own, if need be in place of the oldest."""
        with self._changed:
            if len(self._open) >= CONNECTIONS:
                oldest = next(iter(self._open))
                _hang_up(oldest)
                self._open[oldest] = self._open.pop(oldest)  # the next in line, should this one not end
            if not self._changed.wait_for(lambda: len(self._open) < CONNECTIONS, PAUSE_S):
                super().close_request(request)
                return
            self._open[request] = time.monotonic() + EXCHANGE_S
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Close overdue connections; called several times a second."""
        now = time.monotonic()
        with self._changed:
            for request, deadline in self._open.items():
                if deadline <= now:
                    _hang_up(request)

    def close_request(self, request: Request) -> None:
        """Close a connection and make room for another."""
        super().close_request(request)
        with self._changed:
            self._open.pop(request, None)
            self._changed.notify()

    def handle_error(self, request: Request, client_address: object) -> None:  # noqa: ARG002 - given by the base class
        """Log an error of ours; one of the connection means that the client is gone."""
        error = sys.exception()
        if not isinstance(error, OSError):
            log.error("metrics_failed", error=f"{type(error).__name__}: {error}")


def _hang_up(request: Request) -> None:
    """Shut a connection down, so that its thread stops waiting and ends."""
    with contextlib.suppress(OSError):
        cast("socket.socket", request).shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Reads one request and writes one response. Nothing of a request is repeated in a response."""

    server: Server
    protocol_version = "HTTP/1.1"
    request_version = default_request_version = "HTTP/1.0"  # of what cannot be parsed; 0.9 would get no status line
    command = ""
    disable_nagle_algorithm = True

    def handle(self) -> None:
        head = b""
        while not HEAD_END.search(head):
            if len(head) >= REQUEST_BYTES:
                self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return
            received = self.connection.recv(BLOCK)
            if not received:
                return
            head += received
        self.rfile = io.BufferedReader(io.BytesIO(head))
        self.raw_requestline = self.rfile.readline()
        if not REQUEST_LINE.fullmatch(self.raw_requestline):
            self.send_error(HTTPStatus.BAD_REQUEST)
        elif self.parse_request():
            self._respond()

    def _respond(self) -> None:
        if self.command not in {"GET", "HEAD"}:
            self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)
        # On the loopback, as a web page may give its own name our address, to read the response in a browser here.
        elif self.server.local and not names_this_machine(self.headers.get("Host", "").strip()):
            self._send(Response(HTTPStatus.FORBIDDEN, "use this machine's address or localhost\n"))
        elif respond := self.server.paths.get(self.path.partition("?")[0]):
            self._send(respond())
        else:
            self._send(Response(HTTPStatus.NOT_FOUND, f"available: {', '.join(self.server.paths)}\n"))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Refuse the request; the base class calls this for what it cannot parse, and would quote it."""
        self._send(Response(code, f"{HTTPStatus(code).phrase}\n"))

    def _send(self, response: Response) -> None:
        body = response.body.encode()
        self.send_response_only(response.status)
        headers = {
            "Content-Type": response.content_type,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Connection": "close",
            "Allow": "GET, HEAD",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def finish(self) -> None:
        """Wait for the client to hang up: closing with unread bytes would take the response from it."""
        super().finish()
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            drained = 0
            while drained < DRAIN_BYTES and (received := self.connection.recv(BLOCK)):
                drained += len(received)
