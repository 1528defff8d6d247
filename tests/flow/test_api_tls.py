"""The signed client over TLS and through a proxy: a real server, a real proxy, certificates made here."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from hub import note, wire
from hub.errors import Unreachable


def key(owner: str) -> wire.HttpKey:
    return wire.HttpKey.signing(owner, note.signer(f"{owner}/http", Ed25519PrivateKey.generate()))


HUB, CITY = key("hub"), key("330483")


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """A certificate for loopback that is its own authority: PEM files of certificate and key."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    began = datetime.now(UTC) - timedelta(days=1)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(began)
        .not_valid_after(began + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    pem, secret = directory / f"{name}.pem", directory / f"{name}.key"
    pem.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return pem, secret


class Handler(BaseHTTPRequestHandler):
    """Checks and signs as the hub does; below /drip it never comes to an end."""

    protocol_version = "HTTP/1.1"
    gate: wire.Gate
    ended: threading.Event

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/drip":
            self._drip()
            return
        environ = {
            "REQUEST_METHOD": "GET",
            "REQUEST_URI": self.path,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "HTTP_HOST": self.headers["Host"],
            "HTTP_SIGNATURE": self.headers["Signature"],
            "HTTP_SIGNATURE_INPUT": self.headers["Signature-Input"],
        }
        body = self.gate.check(environ, b"").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        for name, value in self.gate.sign(environ, 200, {}, body).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "99999")
        self.end_headers()
        for _ in range(200):
            if self.ended.wait(0.05):
                break
            with suppress(OSError):
                self.wfile.write(b"x")
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that turns away is what some tests are about."""


@dataclass
class Tls:
    authority: str
    pem: Path
    other: Path


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    directory = tmp_path_factory.mktemp("tls")
    pem, secret = certificate(directory, "hub")
    other, _ = certificate(directory, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, secret)
    server = Server(("127.0.0.1", 0), Handler)
    # Each connection's thread does its handshake: in accept() one that gives up would stop the rest.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    authority = f"127.0.0.1:{server.server_address[1]}"
    known = wire.HttpKey.pinned("330483", str(CITY.vkey))
    Handler.gate = wire.Gate(authority, {known.keyid: known}.get, wire.MemoryNonces(), HUB)
    Handler.ended = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield Tls(authority, pem, other)
    Handler.ended.set()
    server.shutdown()
    server.server_close()


def client(tls: Tls, **more: object) -> wire.Client:
    return wire.Client(f"https://{tls.authority}", CITY, str(HUB.vkey), **more)  # type: ignore[arg-type]


def test_tls_with_the_operators_own_authority(tls: Tls) -> None:
    with closing(client(tls, ca_file=tls.pem)) as caller:
        assert caller.get("/v1/entries", {"after": 3}).body == b"330483"
        assert caller.get("/v1/entries").body == b"330483"


@pytest.mark.parametrize("authority", [None, "other"])
def test_a_certificate_of_nobody_we_trust_is_refused(tls: Tls, authority: str | None) -> None:
    with (
        pytest.raises(Unreachable, match="SSLError"),
        closing(client(tls, ca_file=authority and tls.other)) as caller,
    ):
        caller.get("/v1/entries")


def test_a_certificate_of_another_host_is_refused(tls: Tls) -> None:
    named = tls.authority.replace("127.0.0.1", "localhost")
    with pytest.raises(Unreachable, match="SSLError"):
        wire.Client(f"https://{named}", CITY, str(HUB.vkey), ca_file=tls.pem).get("/v1/entries")


def test_the_environment_cannot_swap_the_authority(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls.pem))
    monkeypatch.setenv("CURL_CA_BUNDLE", str(tls.pem))
    with pytest.raises(Unreachable, match="SSLError"):
        client(tls).get("/v1/entries")


def test_the_deadline_holds_under_tls(tls: Tls) -> None:
    began = datetime.now(UTC)
    with pytest.raises(Unreachable, match="no answer"):
        client(tls, ca_file=tls.pem, timeout=0.5).get("/drip")
    assert datetime.now(UTC) - began < timedelta(seconds=5)


class Proxy:
    """A CONNECT proxy that notes whom it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._sock.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            peer, _ = self._sock.accept()
            asked = peer.recv(65536).split(b" ")[1].decode()
            self.asked.append(asked)
            host, port = asked.split(":")
            far = socket.create_connection((host, int(port)))
            peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=self._copy, args=(far, peer), daemon=True)
            back.start()
            self._copy(peer, far)

    @staticmethod
    def _copy(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while part := one.recv(65536):
                other.sendall(part)
            other.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._sock.close()


def test_a_declared_proxy_sees_only_where_to(tls: Tls) -> None:
    with closing(Proxy()) as proxy, closing(client(tls, ca_file=tls.pem, proxy=proxy.url)) as caller:
        assert caller.get("/v1/entries").body == b"330483"
        assert proxy.asked == [tls.authority]
