"""Connections to registries: TLS, kept ones, and their end."""

from __future__ import annotations

import datetime
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from workers.engine.transfer import connections
from workers.engine.transfer.connections import Answer, Broken, Client, Origin, Patience, Policy, Stopped
from workers.errors import RegistryError

QUICK = Patience(connect=5.0, silence=20.0)


class Server(ThreadingHTTPServer):
    """Answers every request; keeps what it saw of connections."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ports: list[int] = []
        self.hosts: list[str] = []
        self.closes_at_once = False
        self.silent = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""

    def do_GET(self) -> None:
        self.server.ports.append(self.client_address[1])
        self.server.hosts.append(self.headers["Host"])
        if self.path == "/silent":
            self.server.silent.set()
            threading.Event().wait(30)
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")
        self.close_connection = self.server.closes_at_once


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server()
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def nobody(_: Origin) -> Mapping[str, str]:
    return {}


def get(client: Client, url: str) -> bytes:
    return client.request("GET", url, headers={}, credentials=nobody).text(100)


@pytest.fixture
def make_client() -> Iterator[Callable[[], Client]]:
    made: list[Client] = []

    def make() -> Client:
        made.append(Client(Policy(allow_private=True, plain_http=True), QUICK))
        return made[-1]

    yield make
    for client in made:
        client.close()


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """One that signs itself: file of it, file of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "cert").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (directory / "key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return directory / "cert", directory / "key"


def test_a_registry_with_a_certificate_is_believed_under_its_name_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_client: Callable[[], Client]
) -> None:
    cert, key = certificate(tmp_path, "localhost")
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(cert, key)
    ours = ssl.create_default_context(cafile=str(cert))
    with serving(theirs) as server:
        with pytest.raises(Broken, match="certificate verify failed"):
            get(make_client(), f"https://localhost:{server.port}/")
        monkeypatch.setattr(connections, "_context", lambda: ours)
        assert get(make_client(), f"https://localhost:{server.port}/") == b"hello"
        assert server.hosts == [f"localhost:{server.port}"]
        with pytest.raises(Broken, match="certificate verify failed"):
            get(make_client(), f"https://127.0.0.1:{server.port}/")


def test_a_connection_is_kept_and_one_that_ended_is_made_anew(make_client: Callable[[], Client]) -> None:
    with serving() as server:
        client, url = make_client(), f"http://127.0.0.1:{server.port}/"
        assert [get(client, url) for _ in range(3)] == [b"hello"] * 3
        assert len(set(server.ports)) == 1
        server.closes_at_once = True
        get(client, url)
        get(client, url)
        get(client, url)
        assert len(set(server.ports)) == 3


def test_an_answer_that_is_longer_than_taken_is_refused_and_costs_only_its_connection(
    make_client: Callable[[], Client],
) -> None:
    with serving() as server:
        client, url = make_client(), f"http://127.0.0.1:{server.port}/"
        with pytest.raises(RegistryError, match="more than 3 bytes"):
            client.request("GET", url, headers={}, credentials=nobody).text(3)
        assert get(client, url) == b"hello"


def test_waiting_for_an_answer_ends_when_it_is_not_wanted(make_client: Callable[[], Client]) -> None:
    with serving() as server:
        client = make_client()
        raised: list[Exception] = []

        def ask() -> None:
            try:
                get(client, f"http://127.0.0.1:{server.port}/silent")
            except Exception as error:  # noqa: BLE001 - the test looks at it
                raised.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        assert server.silent.wait(10)
        client.stop()
        thread.join(10)
        assert [type(error) for error in raised] == [Stopped]
        with pytest.raises(Stopped):
            get(client, f"http://127.0.0.1:{server.port}/")


def test_credentials_go_to_the_origin_they_are_for(make_client: Callable[[], Client]) -> None:
    asked: list[Origin] = []

    def credentials(origin: Origin) -> Mapping[str, str]:
        asked.append(origin)
        return {}

    with serving() as server:
        url = f"http://localhost:{server.port}/"
        answer: Answer = make_client().request("GET", url, headers={}, credentials=credentials)
        answer.close()
    assert asked == [Origin("http", "localhost", server.port)]
