"""JSON APIs keep the contract of sources: paging ends, cursors heed their lag, answers are read strictly."""

import hmac
import json
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from source_contract import CANARY, NOW, SourceContract, everything, refused

from adapters import http_json
from adapters.base import FAULT, Look, Retry
from adapters.connection import Connection

Answer = tuple[int, dict[str, str], bytes]


class Server:
    """A real HTTP server; `answer` gets (method, path, parameters, headers), `drip` slows what it sends."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.answer: Callable[..., Answer] = lambda *asked: (200, {}, b"{}")
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.released = threading.Event()
        self.drip: str = ""
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                target = urlsplit(self.path)
                given = dict(parse_qsl(target.query, keep_blank_values=True))
                if body:
                    given |= (
                        json.loads(body) if "json" in self.headers["Content-Type"] else dict(parse_qsl(body.decode()))
                    )
                server.asked.append((self.command, target.path, given))
                status, headers, content = server.answer(self.command, target.path, given, self.headers)
                if server.drip == "headers":
                    server.trickle(self.wfile, b"HTTP/1.1 200 OK\r\nX-A: ")
                    return
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if server.drip == "body":
                    server.trickle(self.wfile, content[:1])
                    return
                self.wfile.write(content)

            do_POST = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        if context:
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def trickle(self, out, first: bytes) -> None:
        """A byte now and then for some seconds, or until the other side hangs up."""
        try:
            out.write(first)
            for _ in range(400):
                if self.released.wait(0.02):
                    break
                out.write(b" ")
                out.flush()
        except OSError:
            pass

    def stop(self) -> None:
        self.released.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(context)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


def reading(server: Server, values=(), **options):
    options = {"path": "/list", "records": "data.rows", **options}
    kept = {"base_url": f"http://127.0.0.1:{server.port}", **dict(values)}
    secrets = {"env:AK": "access", "env:SK": "secret"}
    connection = Connection("330400 cases", kept, secrets.__getitem__, Clock(), Path())
    return http_json.source(http_json.SourceYaml().load(options), connection, set())


def body(rows, **more) -> bytes:
    return json.dumps({"data": {"rows": rows, **more}}, ensure_ascii=False).encode()


class Api:
    """An API that pages by number and knows changes since a time."""

    incremental = True

    def __init__(self, server: Server) -> None:
        self.server, self.rows, self.broken = server, [], False
        server.answer = self.answer

    def answer(self, method, path, given, headers) -> Answer:
        rows = [row for row in self.rows if row["at"] >= given.get("since", "")]
        number, size = int(given["page"]), int(given["size"])
        content = body(rows[(number - 1) * size : number * size], total=len(rows))
        return 200, {}, content[:-3] if self.broken else content

    def put(self, rows):
        self.rows = rows

    def source(self, **options):
        paginator = {"type": "page_number", "size_param": "size", "size": 500}
        ordinary = {
            "paginator": paginator,
            "total": "data.total",
            "incremental": {"cursor": "at", "param": "since"},
        }
        return reading(self.server, **{**ordinary, **options})

    def ruin(self):
        self.broken = True

    def go(self):
        self.server.http.shutdown()
        self.server.http.server_close()


class TestHttpJson(SourceContract):
    @pytest.fixture
    def city(self, server):
        return Api(server)


def test_an_api_that_lists_versions_is_asked_for_some_rows(server):
    def answer(method, path, given, headers) -> Answer:
        assert headers["Authorization"] == "Bearer access" and "since" not in given
        if path == "/versions":
            return 200, {}, body([{"id": str(n), "v": n} for n in range(5)])
        return 200, {}, body([{"id": n, "v": 1, "name": "x"} for n in given["ids"].split(",")])

    server.answer = answer
    inventory = {"path": "/versions", "by": "id", "version": "v", "param": "ids", "most": 2}
    source = reading(server, {"token": "env:AK"}, auth="bearer", inventory=inventory,
                     incremental={"cursor": "v", "param": "since", "initial": "0"})  # fmt: skip
    rows = [row for page in source.listing() for row in page.rows]
    assert [row.data["id"] for row in rows] == list("01234")
    found = [row.data["id"] for page in source.fetch(rows[1:4]) for row in page.rows]
    assert found == ["1", "2", "3"] and [given.get("ids") for *_, given in server.asked] == [None, "1,2", "3"]


# --- paging ---

SEVEN = [{"id": n} for n in range(7)]


def paged(server: Server, **options):
    rows, _ = everything(reading(server, **options))
    return [row["id"] for row in rows], [given for _, _, given in server.asked]


def slices(start: str, size: str, first: int = 0, by_page: bool = False, **more):
    def answer(method, path, given, headers) -> Answer:
        at = (int(given[start]) - first) * (int(given[size]) if by_page else 1)
        return 200, {}, body(SEVEN[at : at + int(given[size])], **more)

    return answer


@pytest.mark.parametrize("first", [0, 1])
def test_pages_by_number_until_the_total(server, first):
    server.answer = slices("p", "s", first, by_page=True, total="7")
    paginator = {"type": "page_number", "page_param": "p", "size_param": "s", "size": 3, "start": first}
    ids, asked = paged(server, paginator=paginator, total="data.total", params={"kind": "x", "all": True})
    assert ids == list(range(7))
    assert asked == [{"p": str(n + first), "s": "3", "kind": "x", "all": "true"} for n in range(3)]


def test_without_a_total_only_an_empty_page_ends_the_list(server):
    def capped(method, path, given, headers) -> Answer:  # asked for 100 a page, it gives 2
        at = (int(given["page"]) - 1) * 2
        return 200, {}, body(SEVEN[at : at + 2])

    server.answer = capped
    ids, asked = paged(server, paginator={"type": "page_number", "size_param": "size", "size": 100})
    assert ids == list(range(7))
    assert len(asked) == 5


def test_pages_by_offset_count_what_came(server):
    server.answer = slices("offset", "limit", total=7)
    ids, asked = paged(server, paginator={"type": "offset", "limit": 4}, total="data.total")
    assert ids == list(range(7))
    assert [each["offset"] for each in asked] == ["0", "4"]


def test_pages_by_cursor_in_a_json_post(server):
    def answer(method, path, given, headers) -> Answer:
        at = int(given.get("after", 0))
        return 200, {}, body(SEVEN[at : at + 3], next=at + 3 if at + 3 < 7 else None)

    server.answer = answer
    paginator = {
        "type": "cursor",
        "cursor": "data.next",
        "cursor_param": "after",
        "limit_param": "n",
        "limit": 3,
    }
    ids, asked = paged(server, method="POST", paginator=paginator)
    assert ids == list(range(7))
    assert asked == [{"n": 3}, {"n": 3, "after": "3"}, {"n": 3, "after": "6"}]
    assert {method for method, _, _ in server.asked} == {"POST"}


@pytest.mark.parametrize("kind", ["json_link", "header_link"])
def test_pages_by_link(server, kind):
    def answer(method, path, given, headers) -> Answer:
        at = int(given.get("at", 0))
        link = f"/list?at={at + 4}&q=%E7%94%B2" if at == 0 else None
        return (
            200,
            {"Link": f'<{link}>; rel="next"'} if link and kind == "header_link" else {},
            body(SEVEN[at : at + 4], next=link),
        )

    server.answer = answer
    ids, asked = paged(server, paginator={"type": kind, **({"next": "data.next"} if kind == "json_link" else {})})
    assert ids == list(range(7))
    assert asked == [{}, {"at": "4", "q": "甲"}]


def test_a_link_to_another_server_is_not_followed(server):
    server.answer = lambda *asked: (200, {}, body([{"id": 1}], next="http://127.0.0.1:9/list"))
    with refused(Look, "another server"):
        everything(reading(server, paginator={"type": "json_link", "next": "data.next"}))


@pytest.mark.parametrize(
    ("paginator", "words"),
    [
        ({"type": "page_number"}, "a page repeats"),
        ({"type": "offset", "limit": 1}, "a page repeats"),
        ({"type": "cursor", "cursor": "data.next", "cursor_param": "c"}, "a page repeats"),
    ],
)
def test_an_api_that_does_not_heed_its_paging_is_refused(server, paginator, words):
    server.answer = lambda *asked: (200, {}, body([{"id": CANARY}], next="x"))
    with refused(Look, words):
        everything(reading(server, paginator=paginator, max_pages=50))


def test_a_cursor_that_leads_back_is_refused(server):
    server.answer = lambda *asked: (200, {}, body([{"id": len(server.asked)}], next="x"))
    with refused(Look, "leads back"):
        everything(reading(server, paginator={"type": "cursor", "cursor": "data.next", "cursor_param": "c"}))


def test_paging_without_end_is_refused(server):
    server.answer = lambda *asked: (200, {}, body([{"id": len(server.asked)}]))
    with refused(Look, "more than 20 pages"):
        everything(reading(server, paginator={"type": "page_number"}, max_pages=20))


@pytest.mark.parametrize(
    ("totals", "words"),
    [([9, 9, 9], "6 rows came of the 9"), ([9, 8, 8], "the list shrank from 9 to 8 rows")],
)
def test_a_list_that_comes_short_is_no_whole_list(server, totals, words):
    def answer(method, path, given, headers) -> Answer:
        number = int(given["page"])
        rows = [{"id": 3 * number + n} for n in range(3)] if number < 3 else []
        return 200, {}, body(rows, total=totals[number - 1])

    server.answer = answer
    with refused(Retry, words):
        everything(reading(server, paginator={"type": "page_number"}, total="data.total"))


def test_a_null_list_is_empty_only_where_the_total_says_so(server):
    server.answer = lambda *asked: (200, {}, body(None, total=0))
    assert everything(reading(server, total="data.total"))[0] == []
    with refused(Look, "expected a list at data.rows, found nothing"):
        everything(reading(server))


# --- cursors ---


def asked_since(server: Server, cursor: str | None, rows=(), **incremental) -> tuple[str | None, str | None]:
    server.asked.clear()
    server.answer = lambda *asked: (200, {}, body(list(rows)))
    _, reached = everything(reading(server, incremental={"cursor": "t.u", "param": "since", **incremental}), cursor)
    return server.asked[0][2].get("since"), reached


@pytest.mark.parametrize(
    ("cursor", "since"),
    [
        ("2026-11-22 08:05:00", "2026-11-22 07:55:00"),
        ("2026-11-22T00:05:00+08:00", "2026-11-21T23:55:00+08:00"),
        ("2026-11-22T00:05:00.123Z", "2026-11-21T23:55:00Z"),
        ("2026/11/22 00:05:00", "2026/11/21 23:55:00"),
        ("opaque", "opaque"),
    ],
)
def test_the_lag_is_taken_off_in_the_sources_own_spelling(server, cursor, since):
    assert asked_since(server, cursor, lag="10 minutes") == (since, cursor)


def test_a_whole_read_starts_at_the_initial_value_if_any(server):
    assert asked_since(server, None, initial="2000-01-01T00:00:00+08:00")[0] == "2000-01-01T00:00:00+08:00"
    assert asked_since(server, None)[0] is None


@pytest.mark.parametrize(
    ("values", "reached"),
    [
        (
            ["2026-11-22 08:00:00", "2026-11-22 09:00:00", None, "2026-11-21 10:00:00"],
            "2026-11-22 09:00:00",
        ),
        (["2026-11-22T09:00:00+08:00", "2026-11-22T02:00:00Z"], "2026-11-22T02:00:00Z"),
        (["9", "10", 8], "10"),
        (["2026-11-22 08:00:00", "2999-12-31 00:00:00"], "2026-11-22 17:00:00"),
    ],
)
def test_the_cursor_is_the_highest_seen_and_never_in_the_future(server, values, reached):
    assert asked_since(server, None, [{"t": {"u": value}} for value in values])[1] == reached


# --- what answers may be ---


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not whole JSON"),
        (b'{"data":{"rows":[{"a":1}', "not whole JSON"),
        (f'{{"data":{{"rows":[{{"a":"{CANARY}","a":1}}]}}}}'.encode(), "a name stands twice"),
        (b'{"data":{"rows":[NaN]}}', "NaN is not JSON"),
        (b'{"data":{"rows":[{"a":Infinity}]}}', "Infinity is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"data":{"rows":' + b"9" * 5_000 + b"}}", "found text"),
        ("名".encode("gb18030"), "not UTF-8"),
        (f'{{"data":{{"rows":"{CANARY}"}}}}'.encode(), "expected a list at data.rows, found text of"),
        (b'{"data":{"rows":{}}}', "found a map"),
        (b"[1]", "found nothing"),
        (b"<html>busy</html>", "not whole JSON"),
    ],
)
def test_answers_of_another_shape_are_for_a_person(server, content, words):
    server.answer = lambda *asked: (200, {}, content)
    with refused(Look, words):
        everything(reading(server))


def test_rows_that_are_none_are_faulty_and_the_others_go_on(server):
    server.answer = lambda *asked: (
        200,
        {},
        b'{"data":{"rows":[1,{"a":"\\ud83d"},{"a":"\\ud83d\\ude00","n":1.50,"big":' + b"1" * 30 + b"}]}}",
    )
    [page] = reading(server).pages(None)
    assert [row.data.get(FAULT) for row in page.rows] == [
        "expected a map, found a whole number",
        "holds half a character (a lone surrogate)",
        None,
    ]
    assert page.rows[2] == ({"a": "😀", "n": "1.50", "big": "1" * 30}, "page 1 row 3")


@pytest.mark.parametrize(
    ("status", "headers", "content", "error", "words"),
    [
        (401, {}, b'{"message":"Invalid signature"}', Look, "refused with 401: Invalid signature"),
        (403, {}, b"The route_id is forbidden.", Look, "refused with 403: The route_id is forbidden."),
        (
            401,
            {},
            f'{{"message":"no {CANARY} here\\n{"x" * 500}"}}'.encode(),
            Look,
            "refused with 401: no … here",
        ),
        (404, {}, b"<html>gone</html>", Look, "answered 404; check path"),
        (302, {"Location": "http://127.0.0.1:9/"}, b"", Look, "a redirect, which is not followed"),
        (408, {}, b"", Retry, "answered 408"),
        (429, {}, b'{"msg":"slow down"}', Retry, "answered 429: slow down"),
        (500, {}, b"[" * 70_000, Retry, "answered 500"),
        (503, {}, b"", Retry, "answered 503"),
        (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b", Look, "compressed though none was asked for"),
    ],
)
def test_statuses_say_who_must_act(server, status, headers, content, error, words):
    server.answer = lambda *asked: (status, headers, content)
    with refused(error, words):
        everything(reading(server, params={"secret": CANARY}))
    assert len(server.asked) == 1, "no retries here"


def test_success_is_what_the_declaration_says(server):
    server.answer = lambda *asked: (
        200,
        {},
        b'{"code":"14","msg":"\xe8\xaf\xb7\xe6\xb1\x82\xe7\xa7\x98\xe9\x92\xa5","data":{"rows":[]}}',
    )
    with refused(Look, "refused by its code: 请求秘钥"):
        everything(reading(server, success={"path": "code", "value": "00"}))
    assert everything(reading(server, success={"path": "code", "value": "14"}))[0] == []


def test_it_asks_for_plain_json(server):
    server.answer = lambda method, path, given, headers: (200, {}, body([dict(headers)]))
    [row] = everything(reading(server))[0]
    assert (row["Accept"], row["Accept-Encoding"]) == ("application/json", "identity")


# --- time and size ---


@pytest.mark.parametrize("drip", ["body", "headers"])
def test_a_dripping_server_is_left_at_the_deadline(server, drip):
    server.drip, server.answer = drip, lambda *asked: (200, {"Content-Length": "9999"}, b"{")
    started = time.monotonic()
    with refused(Retry, "no whole answer within 1 s"):
        everything(reading(server, timeout="1 second"))
    assert time.monotonic() - started < 5


def test_a_silent_server_is_left_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as silent, refused(Retry, "no whole answer within 1 s"):
        everything(reading(SimpleNamespace(port=silent.getsockname()[1]), timeout="1 second"))


def test_half_a_body_is_no_answer(server):
    server.answer = lambda *asked: (200, {"Content-Length": "9999", "Connection": "close"}, body(SEVEN))
    with refused(Retry, "no answer"):
        everything(reading(server))


def test_size_is_counted_not_believed(server):
    server.answer = lambda *asked: (200, {}, b" " * 3_000)
    with refused(Look, "longer than 2999 bytes"):
        everything(reading(server, max_bytes=2_999))
    server.answer = lambda *asked: (200, {}, body([]).rjust(3_000))
    assert everything(reading(server, max_bytes=3_000))[0] == []


# --- the way there ---


def certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "city")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1), [])
    signed = built.add_extension(address, False).sign(key, hashes.SHA256())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "city.pem").write_bytes(key.private_bytes(*form) + signed.public_bytes(serialization.Encoding.PEM))
    (folder / "ca.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    return folder / "ca.pem"


def test_tls_is_verified_against_the_declared_authority(tmp_path):
    authority = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "city.pem")
    with serving(context) as server:
        server.answer = lambda *asked: (200, {}, body(SEVEN))
        secure = {"base_url": f"https://127.0.0.1:{server.port}"}
        assert len(everything(reading(server, {**secure, "ca_file": str(authority)}))[0]) == 7
        with refused(Look, "certificate is not trusted"):
            everything(reading(server, secure))
        with refused(Look, "ca_file cannot be read"):
            everything(reading(server, {**secure, "ca_file": str(tmp_path / "gone.pem")}))


def test_the_environment_says_nothing_and_a_declared_proxy_is_used(server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", "/nonexistent")
    server.answer = lambda *asked: (200, {}, body(SEVEN))
    assert len(everything(reading(server))[0]) == 7
    with serving() as proxy:
        proxy.answer = lambda *asked: (200, {}, body([{"id": "by proxy"}]))
        way = {"base_url": "http://city.invalid", "proxy": f"http://127.0.0.1:{proxy.port}"}
        assert everything(reading(server, way))[0] == [{"id": "by proxy"}]
    with refused(Retry):
        everything(reading(server, way))


def test_an_address_may_have_a_path_of_its_own(server):
    server.answer = lambda *asked: (200, {}, body([]))
    everything(reading(server, {"base_url": f"http://127.0.0.1:{server.port}/front/"}))
    assert server.asked[0][1] == "/front/list"


@pytest.mark.parametrize("address", ["http://", "http://h/?q=1", "http://h:99999/"])
def test_addresses_that_are_none(server, address):
    with refused(Look):
        everything(reading(server, {"base_url": address}))


def test_the_connection_is_given_back_when_a_read_is_left_early(server):
    server.answer = lambda *asked: (200, {}, body([{"id": len(server.asked)}]))
    pages = reading(server, paginator={"type": "page_number"}).pages(None)
    next(pages)
    pages.close()
    assert len(server.asked) == 1


# --- signatures on the way ---


def test_a_secret_that_ran_out_early_is_renewed_once(server):
    state = {"good": "request-1", "issued": 1}

    def answer(method, path, given, headers) -> Answer:
        if path.startswith("/gateway/app/"):
            state["issued"] += path.endswith("refreshTokenBySec.htm")
            state["good"] = secret = f"request-{state['issued']}"
            return (
                200,
                {},
                json.dumps({"code": "00", "datas": {"refreshSecret": "r", "requestSecret": secret}}).encode(),
            )
        right = md5(f"access{state['good']}{given['requestTime']}".encode()).hexdigest()
        if given["sign"] != right:
            return 200, {}, b'{"code":"14","msg":"expired"}'
        number = int(given["page"])
        return 200, {}, json.dumps({"code": "00", "data": {"rows": SEVEN[number - 1 : number]}}).encode()

    server.answer = answer
    keys = {"access_key": "env:AK", "secret_key": "env:SK"}
    options = {
        "auth": "data_sharing_token",
        "success": {"path": "code", "value": "00"},
        "paginator": {"type": "page_number"},
    }
    pages = reading(server, keys, **options).pages(None)
    next(pages)
    state["good"] = "ended"
    assert len([row for page in pages for row in page.rows]) == 6
    assert [path for _, path, _ in server.asked].count("/gateway/app/refreshTokenBySec.htm") == 1

    def never(method, path, given, headers) -> Answer:
        return answer(method, path, {**given, "sign": ""} if path == "/list" else given, headers)

    server.answer = never
    with refused(Look, "refused by its code: expired"):
        everything(reading(server, keys, **options))


def test_an_irs_request_is_signed_over_the_whole_path_and_query(server):
    def answer(method, path, given, headers) -> Answer:
        text = f"{method}\n{path}\nname=%E7%94%B2&page=1\naccess\n{headers['X-BG-DATE-TIME']}\n"
        right = b64encode(hmac.digest(b"secret", text.encode(), "sha256")).decode()
        return (200, {}, body([])) if headers["X-BG-HMAC-SIGNATURE"] == right else (401, {}, b"Invalid signature")

    server.answer = answer
    keys = {
        "access_key": "env:AK",
        "secret_key": "env:SK",
        "base_url": f"http://127.0.0.1:{server.port}/restapi/prod",
    }
    paginator = {"type": "page_number"}
    assert everything(reading(server, keys, auth="irs_hmac", params={"name": "甲"}, paginator=paginator))[0] == []
