"""HTTP as the adapters speak it: one request, one whole answer, within one deadline and one size.

Owns the only use of requests in `adapters`. No redirect, no environment, no retry, no compression;
TLS is verified, against `ca_file` where one is declared; a proxy only where one is declared. Raises
Retry where nobody answers in time and Look where a person must look. A URL's query, a body and a
key never stand in an error; the far side's own words do, without any longer number in them.
"""

import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from adapters.base import Look, Retry
from adapters.connection import Connection

_CHUNK = 1 << 16


class Request(NamedTuple):
    """What is asked at a host's path: `params` travel in the query, as JSON or as a form, by `style`."""

    method: str
    path: str
    params: Mapping[str, Any]
    headers: Mapping[str, str]
    style: str = "query"

    def query(self) -> str:
        """The query exactly as it is sent: sorted, percent-encoded."""
        return _pairs(self.params) if self.style == "query" else ""

    def body(self) -> bytes | None:
        if self.style == "json":
            return json.dumps(dict(self.params), ensure_ascii=False, separators=(",", ":")).encode()
        return _pairs(self.params).encode() if self.style == "form" else None

    def with_(self, params: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None) -> "Request":
        """The same request with more parameters and headers."""
        return self._replace(params={**self.params, **(params or {})}, headers={**self.headers, **(headers or {})})


def _pairs(params: Mapping[str, Any]) -> str:
    said = ((key, str(value).lower() if isinstance(value, bool) else str(value)) for key, value in params.items())
    return "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in sorted(said))


class Reply(NamedTuple):
    """What was answered."""

    where: str
    status: int
    headers: Mapping[str, str]
    body: bytes


class Fetcher:
    """Sends requests to one system over one kept connection; `timeout` is each one's deadline in s."""

    def __init__(self, connection: Connection, timeout: float, max_bytes: int) -> None:
        parts = urlsplit(connection.need("base_url"))
        self.host, self.prefix = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        self._where = connection.where
        if (
            parts.scheme not in ("http", "https")
            or not parts.netloc
            or parts.query
            or parts.fragment
            or "@" in parts.netloc
        ):
            raise Look(connection.where, "connection.base_url: expected http://… or https://… with a host")
        self._timeout, self._max = timeout, max_bytes
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.mount("http://", _Adapter(max_retries=0))
        self._session.mount("https://", _Adapter(max_retries=0))
        authority = connection.get("ca_file")
        self._session.verify = str(connection.base / authority) if authority else True
        proxy = connection.get("proxy")
        self._session.proxies = {"http": proxy, "https": proxy} if proxy else {}
        self._sockets: list[socket.socket] = []

    def send(self, request: Request) -> Reply:
        """The whole answer, whatever its status; Retry or Look as the module says."""
        where = f"{self._where}: {request.method} {self.host}{request.path}"
        query = request.query()
        url = self.host + request.path + (f"?{query}" if query else "")
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **request.headers}
        if request.style != "query":
            headers["Content-Type"] = _CONTENT_TYPES[request.style]
        late = threading.Event()
        with self._deadline(late):
            try:
                with self._session.request(
                    request.method,
                    url,
                    data=request.body(),
                    headers=headers,
                    timeout=self._timeout,
                    stream=True,
                    allow_redirects=False,
                ) as response:
                    reply = Reply(where, response.status_code, dict(response.headers), self._read(where, response))
            except (
                requests.RequestException,
                urllib3.exceptions.HTTPError,
                OSError,
                ValueError,
            ) as error:
                raise self._unanswered(where, error, late.is_set()) from None
        if late.is_set():  # what a cut connection gave may be half an answer
            raise self._unanswered(where, TimeoutError(), True)
        return reply

    def close(self) -> None:
        self._session.close()

    def _read(self, where: str, response: requests.Response) -> bytes:
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise Look(
                where,
                "the answer is compressed though none was asked for",
                "let the server send it plainly",
            )
        parts, size = [], 0
        for part in response.raw.stream(_CHUNK, decode_content=False):
            size += len(part)
            if size > self._max:
                raise Look(
                    where,
                    f"the answer is longer than {self._max} bytes",
                    "ask for smaller pages, or raise max_bytes",
                )
            parts.append(part)
        return b"".join(parts)

    def _unanswered(self, where: str, error: Exception, late: bool) -> Retry | Look:
        if late or isinstance(error, (requests.Timeout, TimeoutError)):
            return Retry(where, f"no whole answer within {self._timeout:g} s")
        if isinstance(error, requests.exceptions.SSLError):
            return Look(
                where,
                "its certificate is not trusted",
                "set connection.ca_file to the authority that signed it",
            )
        if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
            return Look(where, "not an address that can be asked", "mend base_url or path")
        if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
            return Look(where, "connection.ca_file cannot be read", "mend its path")
        return Retry(where, f"no answer ({type(error).__name__})")

    @contextmanager
    def _deadline(self, late: threading.Event) -> Iterator[None]:
        """Cut the connection at the deadline: a socket's own timeout starts anew with each byte."""
        self._sockets[:] = [each for each in self._sockets if each.fileno() != -1]
        token = _opened.set(self._sockets)

        def cut() -> None:
            late.set()
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self._timeout, cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            _opened.reset(token)


_CONTENT_TYPES = {"json": "application/json; charset=utf-8", "form": "application/x-www-form-urlencoded"}
_opened: ContextVar[list[socket.socket]] = ContextVar("opened")


class _Http(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _opened.get().append(self.sock)


class _Https(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _opened.get().append(self.sock)


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


_POOLS = {"http": _HttpPool, "https": _HttpsPool}


class _Adapter(HTTPAdapter):
    """An adapter whose connections tell the request that opened them."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager


# --- what an answer says ---


def judge(reply: Reply) -> None:
    """Raise for an answer that is not 200: Look where a person must act, Retry where time may help."""
    status, said = reply.status, said_by(reply)
    if status == 200:
        return
    if status in (401, 403):
        raise Look(
            reply.where,
            f"refused with {status}{said}",
            "check the keys, their rights and this machine's clock",
        )
    if status in (408, 429) or status >= 500:
        raise Retry(reply.where, f"answered {status}{said}")
    if 300 <= status < 400:
        raise Look(
            reply.where,
            f"answered {status}, a redirect, which is not followed",
            "declare the address it moved to",
        )
    raise Look(reply.where, f"answered {status}{said}", "check path, method and params")


def said_by(reply: Reply) -> str:
    """The far side's own words as `: words`, short, without longer numbers or controls; "" if none."""
    try:
        content = json.loads(reply.body[:_CHUNK])
    except (ValueError, RecursionError):
        content = reply.body[:400].decode("utf-8", "replace")
    if isinstance(content, dict):
        known = (content.get(name) for name in ("message", "msg", "error_msg", "error", "detail"))
        content = next((each for each in known if isinstance(each, str)), "")
    return clean_words(content) if isinstance(content, str) and not content.lstrip().startswith("<") else ""


def clean_words(text: str) -> str:
    """Words of a far side that may stand in an error: one short line, no number of five digits or more."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = re.sub(r"\w*[0-9]{5,}\w*", "…", line)[:160]
    return f": {line}" if line else ""
