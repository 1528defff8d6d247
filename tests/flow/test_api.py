"""The web over real sockets: waitress serves it in a thread, signed clients and hostile bytes come to it.

Behind it stands a small Desk that enforces the partner protocol's own rules (an origin pushes only its own
entries, each continues its chain, the same one again gives the same receipt, a bad one is refused with each
of its problems), so that the web renders what refusals really carry; the hub's own Desk has its own tests.
"""

import http.client
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import requests
from console_states import STATES
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask
from waitress import wasyncore
from waitress.server import create_server

from hub import note, web, wire
from hub.errors import ForkError, GapError, KeyRefused, Locked, NotFound, Problem, RecordError, Unreachable
from hub.web import tiles
from hub.web.page import Rooms

TYPE = "application/vnd.crossregion.batch"
CANARY = "张三丰330483199001011234"


def key(owner: str) -> wire.HttpKey:
    return wire.HttpKey.signing(owner, note.signer(f"{owner}/http", Ed25519PrivateKey.generate()))


HUB, CITY, OTHER = key("hub"), key("330483"), key("330424")


@dataclass
class RuleDesk:
    """Enforces what it can without a ledger: whose, which place in the chain, every problem at once."""

    chains: dict[str, list[bytes]] = field(default_factory=dict)
    acked: list[tuple[Any, ...]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    size: int = 700

    def push(self, owner: str, body: bytes) -> tuple[int, dict[str, Any]]:
        entry = json.loads(body)
        if entry.get("origin") != owner:
            raise KeyRefused(f"a key of {owner} cannot push entries of another")
        bad = [Problem(f"records.{n}", "not a record", "send a record") for n in entry.get("bad", [])]
        if bad:
            raise RecordError("the batch holds records that cannot be accepted", problems=bad)
        if "raise" in entry:
            raise {"locked": Locked("another process appends"), "bug": RuntimeError(CANARY)}[entry["raise"]]
        with self.lock:
            chain = self.chains.setdefault(owner, [])
            if body in chain:
                return 200, {"index": chain.index(body), "receipt": "proof"}
            prev = sha256(chain[-1] if chain else b"").hexdigest()
            if entry["seq"] != len(chain) + 1:
                kind = GapError if entry["seq"] > len(chain) else ForkError
                raise kind("the entry does not continue the chain", seq=len(chain) + 1, prev=prev)
            chain.append(body)
            return 201, {"index": len(chain) - 1, "receipt": "proof"}

    def entries(self, owner: str, after: int, notice: int, root: str = "") -> bytes:
        self.acked.append((owner, after, notice, root) if root else (owner, after, notice))
        if after > self.size:
            raise RecordError("there are fewer entries", where="after")
        return f'{{"index":{after},"leaves":0,"note":"…"}}\n{{"next":{after + 1},"notice":{notice}}}\n'.encode()

    def framework(self, owner: str) -> dict[str, Any]:
        return {"member": owner, "agreements": [{"name": {"zh": "嘉湖"}}]}

    def evidence(self, owner: str, kind: str, origin: str, id: str) -> dict[str, Any]:
        if (kind, origin) != ("case", owner):
            raise NotFound("withheld" if id == "known" else "unknown", mend=CANARY)
        return {"record": id}

    def attach(self, owner: str, kind: str, origin: str, id: str, content: bytes) -> tuple[int, dict[str, Any]]:
        if origin != owner:
            raise KeyRefused("another city's")
        return 201, {"sha256": id, "size": len(content)}

    def attachment(self, owner: str, kind: str, origin: str, id: str, digest: str) -> bytes:
        if digest != "known" or origin != owner:
            raise NotFound("withheld" if digest == "known" else "unknown", mend=CANARY)
        return bytes(range(256))

    def checkpoint(self) -> bytes:
        return f"hub\n{self.size}\n".encode()

    def tile(self, level: int, index: int, width: int) -> bytes | None:
        held = (self.size >> 8 * level) - index * 256
        return bytes([level]) * 32 * width if 1 <= width <= min(held, 256) else None

    def entry_bundle(self, index: int, width: int) -> bytes | None:
        return b"\x00\x01e" * width if 1 <= width <= min(self.size - index * 256, 256) else None


class Served:
    """One web on one loopback port, until closed."""

    def __init__(self, application: Any = None, **more: Any) -> None:
        self.desk, self.clock = RuleDesk(), [datetime(2026, 11, 24, 3, 0, tzinfo=UTC)]
        self.calls: list[str] = []
        self._inner: Any = None
        self._sockets: dict[int, Any] = {}
        self._server = create_server(self._serve, host="127.0.0.1", port=0, threads=8, ident=None, map=self._sockets)
        self.authority = f"127.0.0.1:{self._server.effective_port}"
        self.gate = wire.Gate(self.authority, self.find, wire.MemoryNonces(), HUB, self.now)
        self.status: Callable[[], dict[str, Any]] = lambda: {
            "verdict": {"state": "ok"},
            "as_of": "2026-11-24",
        }
        options = {"tiles_open": False, "console": None} | more
        self.app: Flask = web.create_app(self.desk, self.gate, lambda: self.status(), **options)
        self._inner = application or self.app
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()

    def _serve(self, environ: dict[str, Any], start: Any) -> Any:
        return self._inner(environ, start)

    def answer(self, application: Any) -> None:
        self._inner = application

    def find(self, keyid: str) -> wire.HttpKey | None:
        found = {each.keyid: each for each in (CITY, OTHER)}.get(keyid)
        return wire.HttpKey.pinned(found.owner, str(found.vkey)) if found else None

    def now(self) -> datetime:
        return self.clock[0]

    def client(self, signer: wire.HttpKey = CITY, peer: wire.HttpKey = HUB, **more: Any) -> wire.Client:
        options = {"now": self.now, "timeout": 20.0} | more
        return wire.Client(f"http://{self.authority}", signer, str(peer.vkey), **options)

    def plain(self, path: str, **headers: str) -> requests.Response:
        return requests.get(f"http://{self.authority}{path}", headers=headers, timeout=20, allow_redirects=False)

    def raw(self, request: bytes) -> tuple[int, bytes]:
        """The status and body of whatever comes back for exactly these bytes."""
        host, port = self.authority.split(":")
        with socket.create_connection((host, int(port)), timeout=20) as sock:
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
            answer = http.client.HTTPResponse(sock, method=request.split(b" ", 1)[0].decode())
            answer.begin()
            return answer.status, answer.read()

    def close(self) -> None:
        self._server.trigger.pull_trigger(lambda: wasyncore.close_all(self._sockets))
        self._thread.join(5)
        self._server.task_dispatcher.shutdown()


@pytest.fixture(scope="module")
def _shared() -> Iterator[Served]:
    served = Served()
    yield served
    served.close()


@pytest.fixture
def hub(_shared: Served) -> Served:
    _shared.desk.__init__()  # type: ignore[misc]
    _shared.answer(_shared.app)
    return _shared


def entry(seq: int, origin: str = "330483", **more: Any) -> bytes:
    return json.dumps({"origin": origin, "seq": seq} | more).encode()


# --- the protocol ---


def test_push_gives_a_receipt_once_and_the_same_receipt_again(hub: Served) -> None:
    client = hub.client()
    first, again = (client.post("/v1/batches", entry(1), TYPE) for _ in range(2))
    assert (first.status, again.status) == (201, 200)
    assert json.loads(first.body) == json.loads(again.body) == {"index": 0, "receipt": "proof"}


def test_a_gap_and_a_fork_say_what_is_expected(hub: Served) -> None:
    client = hub.client()
    client.post("/v1/batches", entry(1), TYPE)
    prev = sha256(entry(1)).hexdigest()
    for seq, error in ((3, "gap_error"), (1, "fork_error")):
        reply = client.post("/v1/batches", entry(seq, other=True), TYPE)
        told = json.loads(reply.body)
        assert (reply.status, told["error"], told["expected"]) == (409, error, {"seq": 2, "prev": prev})


def test_every_problem_of_a_batch_is_told_and_nothing_stored(hub: Served) -> None:
    reply = hub.client().post("/v1/batches", entry(1, bad=[0, 7, 9]), TYPE)
    told = json.loads(reply.body)
    assert reply.status == 422
    assert [each["where"] for each in told["problems"]] == ["records.0", "records.7", "records.9"]
    assert all(each["what"] and each["mend"] for each in told["problems"])
    assert not hub.desk.chains


def test_another_citys_entry_is_forbidden_and_the_refusal_is_signed(hub: Served) -> None:
    with pytest.raises(KeyRefused, match="cannot push") as refused:
        hub.client(OTHER).post("/v1/batches", entry(1), TYPE)
    assert "HTTP 403" in str(refused.value)
    assert not hub.desk.chains


def test_an_unknown_key_is_refused_in_a_way_that_can_be_believed(hub: Served) -> None:
    with pytest.raises(KeyRefused, match="known key") as refused:
        hub.client(key("330483")).get("/v1/entries")
    assert "HTTP 401" in str(refused.value)


def test_pull_framework_and_evidence(hub: Served) -> None:
    client = hub.client()
    pulled = client.get("/v1/entries", {"after": 5, "notice": 2})
    assert pulled.headers["content-type"] == "application/x-ndjson"
    assert json.loads(pulled.body.splitlines()[-1]) == {"next": 6, "notice": 2}
    assert hub.desk.acked == [("330483", 5, 2)]
    assert json.loads(client.get("/v1/framework").body)["agreements"][0]["name"] == {"zh": "嘉湖"}
    assert json.loads(client.get("/v1/records/case/330483/abc/proof").body) == {"record": "abc"}
    assert client.get("/v1/entries", {"after": 701}).status == 422


def test_files_go_and_come_as_their_bytes(hub: Served) -> None:
    client, at = hub.client(), "/v1/records/case/330483/abc/attachments"
    brought = client.post(at, bytes(range(256)), "application/octet-stream")
    assert brought.status == 201 and json.loads(brought.body) == {"sha256": "abc", "size": 256}
    assert client.post(at, b"x", "image/jpeg").status == 415
    assert client.post(at, bytes(web.MAX_BODY + 1), "application/octet-stream").status == 413
    with pytest.raises(KeyRefused):
        client.post(at.replace("330483", "330503"), b"x", "application/octet-stream")
    got = client.get(f"{at}/known")
    assert got.body == bytes(range(256)) and got.headers["content-type"] == "application/octet-stream"
    refused = [client.get(f"{at}/other"), client.get(f"{at.replace('330483', '330503')}/known")]
    assert {reply.status for reply in refused} == {404} and len({reply.body for reply in refused}) == 1


@pytest.mark.parametrize(
    "query", [{"after": "-1"}, {"after": "01"}, {"after": "1_0"}, {"after": ""}, {"x": 1}, {"after": "９"}]
)
def test_a_query_that_is_not_plain_is_refused(hub: Served, query: dict[str, Any]) -> None:
    reply = hub.client().get("/v1/entries", query)
    assert (reply.status, json.loads(reply.body)["error"]) == (422, "bad_query")
    assert not hub.desk.acked


def test_withheld_and_unknown_are_the_same_bytes(hub: Served) -> None:
    client = hub.client()
    paths = ("case/330424/known", "case/330424/unknown", "other/330483/known")
    replies = [client.get(f"/v1/records/{path}/proof") for path in paths]
    assert {reply.status for reply in replies} == {404}
    assert len({reply.body for reply in replies}) == 1
    names = {tuple(sorted(name for name in reply.headers if name != "Date")) for reply in replies}
    assert len(names) == 1


def test_refusals_before_the_desk_are_problems_and_signed(hub: Served) -> None:
    client = hub.client()
    cases = [
        (client.get("/v1/nothing"), 404, "not_found"),
        (client.get("/v1/batches"), 405, "method_not_allowed"),
        (client.post("/v1/batches", b"{}", "application/json"), 415, "unsupported_media_type"),
        (client.post("/v1/batches", b"{}", TYPE + "; charset=utf-8"), 415, "unsupported_media_type"),
        (client.post("/v1/batches", bytes(web.MAX_BODY + 1), TYPE), 413, "too_large"),
        (client.post("/v1/batches", entry(1, **{"raise": "locked"}), TYPE), 503, "locked"),
    ]
    for reply, status, error in cases:
        told = json.loads(reply.body)
        assert (reply.status, told["error"]) == (status, error)
        assert set(told) == {"error", "what", "mend", "problems"}
    assert "POST" in cases[1][0].headers["allow"]
    assert cases[-1][0].headers["retry-after"]


def test_an_unforeseen_error_tells_and_logs_no_value(hub: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        reply = hub.client().post("/v1/batches", entry(1, **{"raise": "bug"}), TYPE)
    assert (reply.status, json.loads(reply.body)["error"]) == (500, "internal")
    assert CANARY not in reply.body.decode() + caplog.text
    assert "RuntimeError in push" in caplog.text


def test_two_partners_push_at_once_and_each_has_its_own_chain(hub: Served) -> None:
    def push(signer: wire.HttpKey) -> list[int]:
        client = hub.client(signer)
        return [client.post("/v1/batches", entry(n, signer.owner), TYPE).status for n in range(1, 11)]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(push, (CITY, OTHER))) == [[201] * 10] * 2


# --- the ledger ---


def test_the_checkpoint_is_sent_once(hub: Served) -> None:
    client = hub.client()
    first = client.get("/ledger/checkpoint")
    assert first.headers["content-type"] == "text/plain; charset=utf-8"
    assert first.headers["etag"] == f'"{sha256(first.body).hexdigest()}"'
    again = client.get("/ledger/checkpoint", held=first.body)
    assert (again.status, again.body) == (304, b"")
    hub.desk.size += 1
    assert client.get("/ledger/checkpoint", held=first.body).status == 200


@pytest.mark.parametrize(
    ("path", "length"),
    [
        ("0/000", 8192),
        ("0/001", 8192),
        ("0/002.p/188", 188 * 32),
        ("0/000.p/5", 160),
        ("1/000.p/2", 64),
        ("entries/000", 768),
        ("entries/002.p/188", 564),
    ],
)
def test_tiles(hub: Served, path: str, length: int) -> None:
    reply = hub.client().get(f"/ledger/tile/{path}")
    assert (reply.status, len(reply.body)) == (200, length)
    assert reply.headers["content-type"] == "application/octet-stream"
    assert reply.headers["cache-control"] == "private, max-age=31536000, immutable"


BAD_TILES = (
    "0/002",
    "0/002.p/189",
    "1/000",
    "1/000.p/3",
    "2/000.p/1",
    "63/000.p/1",
    "64/000",
    "00/000",
    "0/0",
    "0/00",
    "0/0000",
    "0/000.p/0",
    "0/000.p/256",
    "0/000.p/05",
    "0/000.p",
    "0/x000/000",
    "0/x001",
    "0/x001/x002",
    "0/001/002",
    "0/X001/000",
    "-1/000",
    "0/000.p/1/2",
    "entries/x000/000",
    "entries",
    "entries/0",
    "x/000",
    "0/x001/x234/067",
    "1e0/000",
)


@pytest.mark.parametrize("path", BAD_TILES)
def test_no_tile(hub: Served, path: str) -> None:
    assert hub.client().get(f"/ledger/tile/{path}").status == 404


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "0/../0/000", "%30/000", "0/000%00", "0\\000", "0//000", "./0/000"]
)
def test_no_way_out_of_the_tiles(hub: Served, path: str) -> None:
    signed = request_bytes(hub, f"/ledger/tile/{path}")
    assert hub.raw(signed)[0] in (400, 401)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("0/000", (0, 0, 256)),
        ("7/x001/x234/067.p/9", (7, 1234067, 9)),
        ("entries/x009/999", (None, 9999, 256)),
        ("63/x999/x999/x999/x999/x999/x999/999.p/255", (63, 10**21 - 1, 255)),
    ],
)
def test_tile_paths(path: str, place: tuple[int | None, int, int]) -> None:
    assert tiles.parse(path) == place


def test_an_open_ledger_is_for_everybody_and_still_signed_for_members() -> None:
    served = Served(tiles_open=True)
    try:
        for path in ("/ledger/checkpoint", "/ledger/tile/0/000", "/ledger/tile/entries/000"):
            anybody = served.plain(path)
            assert anybody.status_code == 200
            assert "Signature" not in anybody.headers
            assert anybody.headers["cache-control"].startswith("public")
            assert served.client().get(path).body == anybody.content
        for path in (
            "/ledger//checkpoint",
            "/ledger/tile/0%2F000",
            "/ledger/%74ile/0/000",
            "/ledger/tile/../checkpoint",
        ):
            assert served.raw(f"GET {path} HTTP/1.1\r\nHost: {served.authority}\r\n\r\n".encode())[0] == 404
        assert served.plain("/v1/entries").status_code == 401
        assert served.plain("/ledger/checkpoint", Signature="sig=:x:").status_code == 401
    finally:
        served.close()


def test_a_ledger_that_is_open_is_read_without_a_key_and_a_closed_one_is_not(hub: Served) -> None:
    served = Served(tiles_open=True)
    try:
        reader = wire.OpenLedger(f"http://{served.authority}")
        assert reader.checkpoint() == served.desk.checkpoint()
        assert len(reader.bundle(0, 256)) == 768
        assert len(reader.bundle(2, 188)) == 564
        served.desk.size = 256 * 1_234_068
        assert len(reader.bundle(1_234_067, 256)) == 768
        with pytest.raises(Unreachable, match="HTTP 404"):
            reader.bundle(1_234_068, 1)
        reader.close()
    finally:
        served.close()
    with pytest.raises(Unreachable, match="HTTP 401"):
        wire.OpenLedger(f"http://{hub.authority}").checkpoint()


# --- what is open, and how pages leave ---


@pytest.mark.parametrize(
    "path", ["/v1/entries", "/v1/framework", "/v1/nothing", "/ledger/checkpoint", "/ledger/tile/0/000"]
)
def test_nothing_is_told_without_a_signature(hub: Served, path: str) -> None:
    reply = hub.plain(path)
    assert (reply.status_code, reply.json()["error"]) == (401, "key_refused")


def test_document_is_valid_and_describes_every_route(hub: Served) -> None:
    validator = pytest.importorskip("openapi_spec_validator")
    document = hub.plain("/v1/openapi.json").json()
    validator.validate(document)
    assert document["openapi"] == "3.1.0"
    assert document["components"]["securitySchemes"]["signature"]["name"] == "Signature"
    routes = {
        rule.rule.replace("<string:", "{").replace("<path:", "{").replace(">", "}")
        for rule in hub.app.url_map.iter_rules()
        if rule.endpoint.startswith(("partner.", "ledger."))
    }
    assert set(document["paths"]) == routes
    batches = document["paths"]["/v1/batches"]["post"]
    assert list(batches["requestBody"]["content"]) == [TYPE]
    assert set(batches["responses"]) >= {"200", "201", "401", "403", "409", "413", "415", "422", "503"}
    pulled = document["paths"]["/v1/entries"]["get"]["responses"]["200"]["content"]
    assert list(pulled) == ["application/x-ndjson"]


def test_the_docs_page_asks_nobody_else(hub: Served) -> None:
    page = hub.plain("/v1/docs/")
    policy = page.headers["content-security-policy"]
    assert page.status_code == 200
    assert "http" not in policy
    assert "unsafe" not in policy.split("script-src")[1].split(";")[0]
    assert "//" not in "".join(part for part in page.text.split('"') if part.startswith(("http", "//")))
    for asset in ("swagger-ui-bundle.js", "swagger-ui-standalone-preset.js", "swagger-ui.css", "index.css"):
        assert hub.plain(f"/v1/docs/{asset}").status_code == 200


def test_pages_leave_under_a_strict_policy(hub: Served) -> None:
    for path in ("/healthz", "/v1/entries", "/v1/openapi.json", "/nothing"):
        headers = hub.plain(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "set-cookie" not in headers
        assert "server" not in headers


def test_health_tells_the_state_and_no_more(hub: Served) -> None:
    assert hub.plain("/healthz").json() == {"state": "ok", "as_of": "2026-11-24"}
    good, hub.status = hub.status, lambda: {}[CANARY]
    try:
        broken = hub.plain("/healthz")
        assert (broken.status_code, broken.json()) == (503, {"state": "broken"})
    finally:
        hub.status = good


def test_another_host_name_is_not_answered(hub: Served) -> None:
    assert hub.plain("/healthz", Host="evil.example").status_code == 400


def test_the_console_brings_its_own_pages() -> None:
    well = STATES["well"]()
    frame = {name: well[name] for name in ("hub", "as_of")}
    served = Served(console=Rooms(lambda: frame, lambda agreements: well, lambda: (True, "well"), is_open=True))
    try:
        assert "按约定时间同步" in served.plain("/").text
        assert served.plain("/healthz").json() == {"ok": True, "what": "well"}
    finally:
        served.close()


# --- hostile bytes ---


def request_bytes(
    hub: Served,
    path: str = "/v1/entries",
    *,
    line: str = "",
    method: str = "GET",
    body: bytes = b"",
    extra: str = "",
) -> bytes:
    """A request validly signed for `path`, then sent with another request line, more headers or a body."""
    request = wire._Request(method, f"hub://{hub.authority}{path}", {})
    covers: tuple[str, ...] = wire.GET_COVERS
    if method == "POST":
        request.headers = {"content-type": TYPE, "content-digest": wire.digest(body)}
        covers = wire.POST_COVERS
    try:
        wire._sign(request, covers, CITY, hub.now())
    except Exception:
        # What the library will not sign is sent under a signature for another path.
        request.url = f"hub://{hub.authority}/v1/entries"
        wire._sign(request, covers, CITY, hub.now())
    headers = {"Host": hub.authority, **request.headers}
    lines = [line or f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "Connection: close"]).encode("latin-1") + f"\r\n{extra}\r\n".encode() + body


def test_a_raw_request_as_the_client_sends_it_is_taken(hub: Served) -> None:
    assert hub.raw(request_bytes(hub))[0] == 200
    assert (
        hub.raw(
            request_bytes(
                hub, "/v1/batches", method="POST", body=entry(1), extra=f"Content-Length: {len(entry(1))}\r\n"
            )
        )[0]
        == 201
    )


def hostile(hub: Served) -> dict[str, bytes]:
    own = hub.authority
    good = request_bytes(hub)
    body = entry(1)
    signature = next(part for part in good.split(b"\r\n") if part.lower().startswith(b"signature: "))
    chunked = "Transfer-Encoding: chunked\r\n"
    chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    post = f"Content-Length: {len(body)}\r\n"
    return {
        "percent": request_bytes(hub, "/v1/%65ntries"),
        "percent, signed plain": request_bytes(hub, line="GET /v1/%65ntries HTTP/1.1"),
        "encoded slash": request_bytes(hub, "/v1%2Fentries"),
        "encoded slash, signed plain": request_bytes(hub, line="GET /v1%2Fentries HTTP/1.1"),
        "two slashes": request_bytes(hub, "//v1/entries"),
        "two slashes, signed plain": request_bytes(hub, line="GET //v1/entries HTTP/1.1"),
        "empty segment": request_bytes(hub, "/v1//entries"),
        "dots": request_bytes(hub, "/ledger/../v1/entries"),
        "dots, signed plain": request_bytes(hub, line="GET /ledger/../v1/entries HTTP/1.1"),
        "absolute form": request_bytes(hub, line=f"GET http://{own}/v1/entries HTTP/1.1"),
        "absolute form of another": request_bytes(hub, line="GET http://evil.example/v1/entries HTTP/1.1"),
        "fragment": request_bytes(hub, line="GET /v1/entries#x HTTP/1.1"),
        "query added": request_bytes(hub, line="GET /v1/entries?after=5 HTTP/1.1"),
        "another method": request_bytes(hub, line="POST /v1/entries HTTP/1.1"),
        "head": request_bytes(hub, line="HEAD /v1/entries HTTP/1.1"),
        "two hosts": good.replace(b"Host:", f"Host: {own}\r\nHost:".encode(), 1),
        "two hosts, evil first": good.replace(b"Host:", b"Host: evil.example\r\nHost:", 1),
        "no host": good.replace(f"Host: {own}\r\n".encode(), b"", 1),
        "another host": good.replace(f"Host: {own}".encode(), b"Host: localhost", 1),
        "get with a body": request_bytes(hub, extra="Content-Length: 1\r\n", body=b"x"),
        "get with a chunked body": request_bytes(hub, extra=chunked, body=b"1\r\nx\r\n0\r\n\r\n"),
        "two signature headers": good.replace(signature, signature + b"\r\n" + signature, 1),
        "signature under an underscore": good.replace(b"signature-input:", b"signature_input:").replace(
            b"Signature-Input:", b"Signature_Input:"
        ),
        "two content types": request_bytes(
            hub, "/v1/batches", method="POST", body=body, extra=post + "Content-Type: text/plain\r\n"
        ),
        "two lengths": request_bytes(
            hub, "/v1/batches", method="POST", body=body, extra=post + f"Content-Length: {len(body) - 1}\r\n"
        ),
        "shorter length": request_bytes(
            hub, "/v1/batches", method="POST", body=body, extra=f"Content-Length: {len(body) - 1}\r\n"
        ),
        "length and chunks": request_bytes(hub, "/v1/batches", method="POST", extra=post + chunked) + chunk,
        "compressed": request_bytes(hub, "/v1/batches", method="POST", extra=chunked.replace(": ", ": gzip, ")) + chunk,
        "too long a header": request_bytes(hub, extra=f"X-Long: {'x' * 300_000}\r\n"),
    }


HOSTILE = list(hostile(type("Any", (), {"authority": "h", "now": staticmethod(lambda: datetime.now(UTC))})()))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bytes_reach_no_desk(hub: Served, name: str) -> None:
    status, _ = hub.raw(hostile(hub)[name])
    assert 400 <= status < 600
    assert not hub.desk.acked and not hub.desk.chains


def test_a_chunked_post_is_the_same_body(hub: Served) -> None:
    body = entry(1)
    sent = request_bytes(hub, "/v1/batches", method="POST", body=body, extra="Transfer-Encoding: chunked\r\n")
    sent = sent[: -len(body)] + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    assert hub.raw(sent)[0] == 201


def test_a_recorded_request_is_not_taken_again(hub: Served) -> None:
    body = entry(1)
    sent = request_bytes(hub, "/v1/batches", method="POST", body=body, extra=f"Content-Length: {len(body)}\r\n")
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(status for status, _ in pool.map(hub.raw, [sent] * 8))
    assert statuses == [201] + [401] * 7


# --- what the client does not believe ---


def answering(hub: Served, status: int = 200, body: bytes = b"answer", **more: Any) -> Callable[..., list[bytes]]:
    """A server that signs as the hub does, but for what `more` bends."""

    def app(environ: dict[str, Any], start: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        gate = more.get("gate", hub.gate)
        headers = gate.sign(
            environ | more.get("environ", {}), more.get("signed_status", status), {}, more.get("signed", body)
        )
        headers = {name: value for name, value in headers.items() if name not in more.get("drop", ())}
        start(f"{status} X", [*headers.items(), *more.get("headers", [])])
        return [body]

    return app


def named(name: str) -> wire.HttpKey:
    assert HUB.private is not None
    return wire.HttpKey.signing("hub", note.signer(name, HUB.private))


def other_gate(hub: Served, signer: wire.HttpKey) -> wire.Gate:
    return wire.Gate(hub.authority, hub.find, wire.MemoryNonces(), signer, hub.now)


def test_the_client_believes_what_the_hub_signed(hub: Served) -> None:
    hub.answer(answering(hub))
    assert hub.client().get("/v1/entries").body == b"answer"


DISBELIEVED: dict[str, Callable[[Served], Any]] = {
    "unsigned": lambda hub: answering(hub, drop=("Signature", "Signature-Input")),
    "no digest": lambda hub: answering(hub, drop=("Content-Digest",)),
    "another body": lambda hub: answering(hub, signed=b"other"),
    "another status": lambda hub: answering(hub, signed_status=201),
    "answer to another path": lambda hub: answering(hub, environ={"REQUEST_URI": "/v1/x", "PATH_INFO": "/v1/x"}),
    "answer to another method": lambda hub: answering(hub, environ={"REQUEST_METHOD": "POST"}),
    "answer to another request": lambda hub: answering(hub, environ={"HTTP_SIGNATURE": f"sig=:{'A' * 86}==:"}),
    "another key": lambda hub: answering(hub, gate=other_gate(hub, key("hub"))),
    "its key under another name": lambda hub: answering(hub, gate=other_gate(hub, named("other.example/http"))),
    "a partner's key": lambda hub: answering(hub, gate=other_gate(hub, OTHER)),
    "compressed": lambda hub: answering(hub, headers=[("Content-Encoding", "gzip")]),
    "too long": lambda hub: answering(hub, body=bytes(100_001)),
    "unsigned redirect": lambda hub: answering(
        hub, 307, drop=("Signature",), headers=[("Location", f"http://{hub.authority}/v1/entries")]
    ),
    "unsigned refusal": lambda hub: answering(hub, 401, drop=("Signature",)),
    "unsigned 404": lambda hub: answering(hub, 404, drop=("Signature-Input",)),
}


@pytest.mark.parametrize("name", DISBELIEVED)
def test_the_client_does_not_believe(hub: Served, name: str) -> None:
    hub.answer(DISBELIEVED[name](hub))
    with pytest.raises(Unreachable):
        hub.client(max_bytes=100_000).get("/v1/entries")


def test_a_recorded_answer_is_no_answer_to_the_next_request(hub: Served) -> None:
    kept: list[Any] = []

    def app(environ: dict[str, Any], start: Any) -> list[bytes]:
        if not kept:
            kept.append(list(hub.gate.sign(environ, 200, {}, b"old").items()))
        start("200 OK", kept[0])
        return [b"old"]

    hub.answer(app)
    client = hub.client()
    assert client.get("/v1/entries").body == b"old"
    with pytest.raises(Unreachable, match="does not hold"):
        client.get("/v1/entries")


def test_a_signed_redirect_is_told_and_not_followed(hub: Served) -> None:
    hub.answer(answering(hub, 307, headers=[("Location", "http://127.0.0.1:9/")]))
    assert hub.client().get("/v1/entries").status == 307
    hub.answer(answering(hub, 307, bytes(100_001), headers=[("Location", "http://127.0.0.1:9/")]))
    with pytest.raises(Unreachable, match="longer than"):
        hub.client(max_bytes=100_000).get("/v1/entries")


def test_clocks_apart_are_named(hub: Served) -> None:
    late = hub.now() + timedelta(hours=2)
    with pytest.raises(Unreachable, match="set both clocks"):
        hub.client(now=lambda: late).get("/v1/entries")


def test_no_cookie_is_kept(hub: Served) -> None:
    seen: list[Any] = []

    def app(environ: dict[str, Any], start: Any) -> list[bytes]:
        seen.append(environ.get("HTTP_COOKIE"))
        start("200 OK", [*hub.gate.sign(environ, 200, {}, b"").items(), ("Set-Cookie", "a=b; Path=/")])
        return [b""]

    hub.answer(app)
    client = hub.client()
    client.get("/v1/entries")
    client.get("/v1/entries")
    assert seen == [None, None]


def test_the_environment_is_not_asked(hub: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    seen: list[Any] = []

    def app(environ: dict[str, Any], start: Any) -> list[bytes]:
        seen.append((environ.get("HTTP_AUTHORIZATION"), environ["HTTP_ACCEPT_ENCODING"]))
        start("200 OK", list(hub.gate.sign(environ, 200, {}, b"").items()))
        return [b""]

    hub.answer(app)
    hub.client().get("/v1/entries")
    assert seen == [(None, "identity")]


class Drip:
    """A server that sends one byte at a time for ten seconds, faster than any timeout of a single read."""

    def __init__(self, start: bytes) -> None:
        self.start, self.done = start, threading.Event()
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.authority = f"127.0.0.1:{self.sock.getsockname()[1]}"
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            peer, _ = self.sock.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(self.start)
                for _ in range(200):
                    if self.done.wait(0.05):
                        break
                    peer.sendall(b"x")
        except OSError:
            pass

    def close(self) -> None:
        self.done.set()
        self.sock.close()
        self.thread.join(5)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n"])
def test_a_dripping_server_is_left_at_the_deadline(start: bytes) -> None:
    server = Drip(start)
    began = datetime.now(UTC)
    try:
        with pytest.raises(Unreachable, match="no answer"):
            wire.Client(f"http://{server.authority}", CITY, str(HUB.vkey), timeout=0.5).get("/v1/entries")
    finally:
        server.close()
    assert datetime.now(UTC) - began < timedelta(seconds=5)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(Unreachable, match="no answer"):
        wire.Client(f"http://127.0.0.1:{port}", CITY, str(HUB.vkey), timeout=2).get("/v1/entries")


def test_the_client_signs_only_canonical_paths(hub: Served) -> None:
    client = hub.client()
    for path in ("/v1//entries", "/v1/../x", "/v1/%41", "v1", "/v1/entries?x=1", "/v1/é"):
        with pytest.raises(ValueError, match="canonical"):
            client.get(path)
