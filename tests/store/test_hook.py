"""How a persistent error is reported, and for how long that may take: real programs and a real HTTP server."""

from __future__ import annotations

import contextlib
import http.server
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from shipwrightd.config import Config, Settings
from shipwrightd.daemon import PassReport, Phase, SettingsApplied
from shipwrightd.monitoring import hook as hooks
from shipwrightd.monitoring.hook import RAISED, Hook, Notice, Trouble, payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Eventually

WAITING = PassReport(0, waiting="database or disk is full: secret")
WELL = PassReport(0)
KEEP = 'cat >"$0.part"; env >"$0.env"; mv "$0.part" "$0.$SHIPWRIGHTD_EVENT"; echo secret; echo secret >&2'


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return where a command keeps what it is told."""
    return tmp_path / "kept"


class Told:
    """A hook that is told at once, and what it logs."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.hook = Hook(Config(home, home / "x.db"))
        self.hook.notify(SettingsApplied(Settings(hook_after_s=0, **settings)))
        self.logs: list[Any] = []

    def logged(self, event: str) -> list[Any]:
        return [entry for entry in self.logs if entry["event"] == event]


@pytest.fixture
def make(home: Path) -> Iterator[Callable[..., Told]]:
    with contextlib.ExitStack() as stack:
        logs = stack.enter_context(capture_logs())

        def made(**settings: Any) -> Told:
            told = Told(home, **settings)
            told.logs = logs
            stack.callback(told.hook.notify, Phase.STOPPING)
            return told

        yield made


# -- a command


def test_a_command_gets_the_payload_once_for_the_beginning_and_once_for_the_end(
    make: Callable[..., Told], kept: Path, eventually: Eventually
) -> None:
    told = make(hook_command=("sh", "-c", KEEP, str(kept)))
    for turn in (WELL, WAITING, WAITING, WELL, WELL):
        told.hook.notify(turn)
    eventually(lambda: len(told.logged("hook_done")) == 2)

    for event in ("raised", "resolved"):
        found = json.loads(kept.with_name(f"kept.{event}").read_text())
        assert (found["version"], found["event"], found["state"], found["source"]) == (
            *(1, event),
            *("database_waiting", None),
        )
    assert found.keys() == payload(Notice(RAISED, Trouble("database_waiting"), 0.0), 0.0).keys()


def test_a_command_has_the_payload_in_its_environment_and_no_setting_of_ours(
    make: Callable[..., Told], kept: Path, home: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIPWRIGHTD_HOOK_URL", "https://example.org/secret")
    told = make(hook_command=("sh", "-c", KEEP, str(kept)))
    told.hook.notify(PassReport(0, errors={"memory/secret/failures.json": "secret"}))
    eventually(lambda: told.logged("hook_done"))

    found = dict(line.partition("=")[::2] for line in kept.with_name("kept.env").read_text().splitlines())
    ours = {name.removeprefix("SHIPWRIGHTD_"): v for name, v in found.items() if name.startswith("SHIPWRIGHTD_")}
    assert (ours["EVENT"], ours["STATE"], ours["SOURCE"]) == ("raised", "source_error", "memory/*/failures.json")
    assert (ours["HOME"], ours["DB"]) == (str(home), str(home / "x.db"))
    assert "HOOK_URL" not in ours
    assert "PATH" in found


def test_what_a_command_says_is_not_logged_and_neither_is_the_error(
    make: Callable[..., Told], kept: Path, eventually: Eventually
) -> None:
    told = make(hook_command=("sh", "-c", KEEP + "; exit 3", str(kept)))
    told.hook.notify(WAITING)
    eventually(lambda: told.logged("hook_failed"))

    assert told.logged("hook_failed")[0]["exit_code"] == 3
    assert "secret" not in str(told.logs)
    assert "secret" not in kept.with_name("kept.raised").read_text()


def test_no_shell_reads_a_command(make: Callable[..., Told], tmp_path: Path, eventually: Eventually) -> None:
    told = make(hook_command=("touch", f"{tmp_path}/a b;$(c)"))
    told.hook.notify(WAITING)

    eventually((tmp_path / "a b;$(c)").exists)


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(
    make: Callable[..., Told], tmp_path: Path, eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "started"
    told = make(hook_command=("sh", "-c", 'sleep 60 & echo $! >"$0"; wait', str(started)))
    monkeypatch.setattr(hooks, "TIMEOUT_S", 0.5)
    told.hook.notify(WAITING)
    eventually(lambda: told.logged("hook_timed_out"))

    eventually(lambda: not is_running(int(started.read_text())))


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that only waits to be asked for its code does not."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("command", [("no-such-program",), ("/dev/null",)])
def test_a_command_that_cannot_be_run_is_logged_at_once_and_harms_nothing(
    make: Callable[..., Told], command: tuple[str, ...], eventually: Eventually
) -> None:
    told = make(hook_command=command)
    assert len(told.logged("hook_unusable")) == 1

    told.hook.notify(WAITING)
    eventually(lambda: told.logged("hook_failed"))


def test_a_slow_command_never_holds_up_the_loop_nor_its_end(
    make: Callable[..., Told], tmp_path: Path, eventually: Eventually
) -> None:
    """What waits behind it is dropped at the end, and what runs is killed."""
    started = tmp_path / "started"
    told = make(hook_command=("sh", "-c", 'echo $$ >>"$0"; exec sleep 60', str(started)))
    began = time.monotonic()
    for turn in (WAITING, WELL, PassReport(0, trouble=["x"]), WELL):
        told.hook.notify(turn)
    eventually(lambda: started.exists() and started.read_text().endswith("\n"))
    told.hook.notify(Phase.STOPPING)

    assert time.monotonic() - began < 10  # of sixty
    assert told.logged("hook_dropped")
    eventually(lambda: not is_running(int(started.read_text())))


def test_more_than_can_wait_is_dropped_and_logged(
    make: Callable[..., Told], monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    monkeypatch.setattr(hooks, "PENDING", 1)
    told = make(hook_command=("sleep", "60"))
    told.hook.notify(PassReport(0, errors={f"{number}.json": "" for number in range(5)}))

    eventually(lambda: told.logged("hook_dropped"))


def test_another_command_holds_after_a_reload(make: Callable[..., Told], kept: Path, eventually: Eventually) -> None:
    told = make(hook_command=("false",))
    reloaded = Settings(hook_after_s=0, hook_command=("sh", "-c", KEEP, str(kept)))
    told.hook.notify(SettingsApplied(reloaded, reloaded=True))
    told.hook.notify(WAITING)

    eventually(kept.with_name("kept.raised").exists)


# -- a URL


@dataclass
class Receiver:
    """An HTTP server that answers with these statuses, the last one for ever."""

    statuses: list[int]
    headers: dict[str, str] = field(default_factory=dict)
    taken: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    with contextlib.ExitStack() as stack:

        def start(*statuses: int, **headers: str) -> Receiver:
            receiver = Receiver(list(statuses), headers)

            class Handler(http.server.BaseHTTPRequestHandler):
                def do_POST(self) -> None:
                    body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                    receiver.taken.append((self.path, dict(self.headers), body))
                    self.send_response(receiver.statuses[min(len(receiver.taken), len(receiver.statuses)) - 1])
                    for name, value in receiver.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(b"secret")

                def log_message(self, *_: object) -> None:
                    pass

            server = stack.enter_context(http.server.HTTPServer(("127.0.0.1", 0), Handler))
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(server.shutdown)
            receiver.url = f"http://127.0.0.1:{server.server_port}/path-with-secret?token=secret"
            return receiver

        yield start


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "BETWEEN_ATTEMPTS_S", (0.01, 0.01))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_a_url_gets_the_payload(
    make: Callable[..., Told], receive: Callable[..., Receiver], eventually: Eventually
) -> None:
    receiver = receive(204)
    told = make(hook_url=receiver.url)
    told.hook.notify(PassReport(0, errors={"events.jsonl": "cannot read events.jsonl: secret"}))
    eventually(lambda: told.logged("hook_done"), 20)

    ((path, headers, body),) = receiver.taken
    assert (path, headers["Content-Type"]) == ("/path-with-secret?token=secret", "application/json")
    assert (body["event"], body["source"], body["text"]) == (
        *("raised", "events.jsonl"),
        "a source cannot be read: events.jsonl",
    )
    assert "secret" not in str(told.logs) + json.dumps(body)


@pytest.mark.parametrize(
    "case",
    [
        ((503, 200), 2, "hook_done"),
        ((500,), 3, "hook_failed"),
        ((429, 429, 200), 3, "hook_done"),
        ((404,), 1, "hook_failed"),
        ((401,), 1, "hook_failed"),
    ],
)
def test_what_may_pass_is_tried_three_times_and_a_refusal_once(
    make: Callable[..., Told],
    receive: Callable[..., Receiver],
    eventually: Eventually,
    case: tuple[tuple[int, ...], int, str],
) -> None:
    statuses, tries, end = case
    receiver = receive(*statuses)
    told = make(hook_url=receiver.url)
    told.hook.notify(WAITING)
    told.hook.notify(WELL)  # what comes next shows that the first is done with
    eventually(lambda: len(receiver.taken) == tries + 1, 60)

    assert [body["event"] for _, _, body in receiver.taken] == [*["raised"] * tries, "resolved"]
    first = [entry for entry in told.logs if entry.get("alarm") == "raised" and entry.get("how") == "url"]
    assert (first[-1]["event"], first[-1]["http_status"]) == (end, statuses[-1])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    make: Callable[..., Told], receive: Callable[..., Receiver], eventually: Eventually, status: int
) -> None:
    other = receive(200)
    receiver = receive(status, Location=other.url)
    told = make(hook_url=receiver.url)
    told.hook.notify(WAITING)
    eventually(lambda: told.logged("hook_failed"), 20)

    assert (len(receiver.taken), other.taken) == (1, [])
    assert told.logged("hook_failed")[0]["http_status"] == status


def test_nobody_at_a_url_is_three_tries(make: Callable[..., Told], eventually: Eventually) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    told = make(hook_url=f"http://127.0.0.1:{port}/secret")
    told.hook.notify(WAITING)
    eventually(lambda: len(told.logged("hook_failed")) == 3, 20)

    assert [entry["attempt"] for entry in told.logged("hook_failed")] == [1, 2, 3]
    assert "secret" not in str(told.logs)


def test_a_url_that_answers_a_byte_now_and_then_is_given_up(
    make: Callable[..., Told], eventually: Eventually, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ended = threading.Event()

        def drip() -> None:
            with listening.accept()[0] as client, contextlib.suppress(OSError):
                while not ended.wait(0.05):
                    client.sendall(b"HTTP/1.1 200 OK\r\nX: y\r\n" if not ended.is_set() else b"")

        dripping = threading.Thread(target=drip, daemon=True)
        dripping.start()
        told = make(hook_url=f"http://127.0.0.1:{listening.getsockname()[1]}/")
        monkeypatch.setattr(hooks, "TIMEOUT_S", 1.0)
        told.hook.notify(WAITING)
        eventually(lambda: told.logged("hook_timed_out"), 20)
        ended.set()
        dripping.join()


@pytest.mark.parametrize("command", [("sleep", "60"), ("false",), ("no-such-program",)])
def test_a_slow_or_failing_command_neither_delays_nor_prevents_the_url(
    make: Callable[..., Told], receive: Callable[..., Receiver], eventually: Eventually, command: tuple[str, ...]
) -> None:
    receiver = receive(200)
    told = make(hook_command=command, hook_url=receiver.url)
    told.hook.notify(WAITING)
    told.hook.notify(WELL)
    eventually(lambda: len(told.logged("hook_done")) == 2, 30)

    assert [body["event"] for _, _, body in receiver.taken] == ["raised", "resolved"]
    assert not told.logged("hook_timed_out"), "the URL waited for the command"


def test_a_slow_url_does_not_delay_the_command(make: Callable[..., Told], kept: Path, eventually: Eventually) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        told = make(hook_url=url, hook_command=("sh", "-c", KEEP, str(kept)))
        told.hook.notify(WAITING)
        told.hook.notify(WELL)
        eventually(lambda: len(told.logged("hook_done")) == 2, 30)

    assert not [entry for entry in told.logs if entry.get("how") == "url"]


def test_a_certificate_that_nobody_vouches_for_is_refused(
    make: Callable[..., Told], tmp_path: Path, eventually: Eventually
) -> None:
    made = tmp_path / "both.pem"
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run(
        ["openssl", "req", *options, "-keyout", made, "-out", f"{made}.crt"], capture_output=True, check=True
    )
    made.write_text(made.read_text() + Path(f"{made}.crt").read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made)
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client, contextlib.suppress(OSError), context.wrap_socket(client, server_side=True) as secured:
                    seen.append(secured.recv(1_000))

        threading.Thread(target=serve, daemon=True).start()
        told = make(hook_url=f"https://localhost:{listening.getsockname()[1]}/")
        told.hook.notify(WAITING)
        eventually(lambda: len(told.logged("hook_failed")) == 3, 20)
        listening.shutdown(socket.SHUT_RDWR)

    assert seen == []


# -- what is told


def test_the_payload_has_no_control_characters_and_nothing_of_the_data() -> None:
    found = payload(Notice(RAISED, Trouble("source_error", "x\x1b[2J\n\u2028.json"), 12.34), 1_790_000_000.0)

    assert found["source"] == "x\\x1b[2J\\n\\u2028.json"
    assert found["text"] == "a source cannot be read: x\\x1b[2J\\n\\u2028.json"
    assert (found["stood_s"], found["at"]) == (12.3, "2026-09-21T14:13:20Z")


def test_nobody_is_notified_and_nothing_is_started_without_a_hook(make: Callable[..., Told]) -> None:
    before = set(threading.enumerate())
    told = make()
    told.hook.notify(WAITING)

    assert set(threading.enumerate()) <= before
