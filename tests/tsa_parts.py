"""A time-stamping authority for tests: OpenSSL's own (`openssl ts`), with its own root, behind a small HTTP server.

Its certificate stands under the root and is critically for time stamping (RFC 3161, 2.3); `other` is a root that never
signed for it. What it answers can be replaced by `answer`, to be an authority that errs.
"""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CONFIG = """
[req]
distinguished_name = dn
[dn]
[root]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[signer]
basicConstraints = CA:false
extendedKeyUsage = critical,timeStamping
[careless]
basicConstraints = CA:false
extendedKeyUsage = timeStamping
[tsa]
serial = serial
default_policy = 1.2.3.4.1
digests = sha256
signer_digest = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
"""
SIGNER = "CN=Time stamps of the tests,O=测试授时中心"
QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"
Answer = tuple[int, bytes]


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


class Tsa:
    """The authority below `folder`; `url` once it is served, `asked` the requests that came."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, ""
        self.root, self.other = folder / "root.pem", folder / "other.pem"
        self.asked: list[tuple[str, str | None, bytes]] = []
        self.answer: Callable[[bytes], Answer] = lambda request: (200, self.stamp(request))
        self.chained = False
        (folder / "tsa.cnf").write_text(CONFIG)
        (folder / "serial").write_text("01\n")
        for name in ("root", "other"):
            self._key(name)
            openssl(folder, "req", "-x509", "-new", "-key", f"{name}.key", "-out", f"{name}.pem", "-days", "30",
                    "-subj", f"/CN={name}", "-config", "tsa.cnf", "-extensions", "root")  # fmt: skip
        for name in ("signer", "careless"):
            self._key(name)
            # A signer's certificate longer than the root's stands behind it in DER's order, as OpenSSL does not have it.
            openssl(folder, "req", "-new", "-key", f"{name}.key", "-out", f"{name}.csr", "-config", "tsa.cnf", "-utf8",
                    "-subj", "/O=测试授时中心/CN=Time stamps of the tests")  # fmt: skip
            openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial",
                    "-days", "30", "-extfile", "tsa.cnf", "-extensions", name, "-out", f"{name}.pem")  # fmt: skip

    def _key(self, name: str) -> None:
        openssl(self.folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")

    def stamp(self, request: bytes) -> bytes:
        """OpenSSL's answer to a request."""
        (self.folder / "query.tsq").write_bytes(request)
        chain = ["-chain", "root.pem"] if self.chained else []
        openssl(self.folder, "ts", "-reply", "-queryfile", "query.tsq", "-config", "tsa.cnf", "-section", "tsa",
                "-signer", "signer.pem", "-inkey", "signer.key", *chain, "-out", "reply.tsr")  # fmt: skip
        return (self.folder / "reply.tsr").read_bytes()

    def info(self, reply: bytes) -> bytes:
        """The TSTInfo that a reply's token signs."""
        (self.folder / "reply.tsr").write_bytes(reply)
        openssl(self.folder, "ts", "-reply", "-in", "reply.tsr", "-token_out", "-out", "token.der")
        openssl(self.folder, "cms", "-verify", "-noverify", "-inform", "DER", "-in", "token.der", "-out", "info.der")
        return (self.folder / "info.der").read_bytes()

    def signed_by(self, name: str, info: bytes) -> bytes:
        """A granted reply with this TSTInfo, by a certificate with which `openssl ts` itself may refuse to sign."""
        (self.folder / "info.der").write_bytes(info)
        openssl(self.folder, "cms", "-sign", "-binary", "-nodetach", "-econtent_type", "1.2.840.113549.1.9.16.1.4",
                "-in", "info.der", "-signer", f"{name}.pem", "-inkey", f"{name}.key", "-md", "sha256", "-outform", "DER",
                "-out", "token.der")  # fmt: skip
        token = (self.folder / "token.der").read_bytes()
        granted = bytes.fromhex("3003020100")
        return b"\x30\x82" + (len(granted) + len(token)).to_bytes(2, "big") + granted + token


@contextmanager
def serving(folder: Path) -> Iterator[Tsa]:
    """The authority on a loopback port; it answers one request at a time."""
    tsa, busy = Tsa(folder), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with busy:
                tsa.asked.append((self.path, self.headers["Content-Type"], body))
                status, answer = tsa.answer(body)
            self.send_response(status)
            self.send_header("Content-Type", REPLY)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tsa.url = f"http://127.0.0.1:{server.server_address[1]}/stamp?policy=1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield tsa
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
