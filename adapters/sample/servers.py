"""Sample gateways: HTTP servers on loopback that check what the real ones check and refuse in their words.

Three of them: the provincial 业务协同网关 (HMAC headers), the data-sharing gateway (a token in two steps,
signed with MD5) and the county variant of it (JSON POST, other paths, `appkey`). Each serves the rows of
its city's feeds in its own envelope and paging. They are written from the published interfaces and share no
code with `adapters.gateways`. Times are seconds; skew is 90 s. Nothing of a request is logged.
"""

import base64
import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

CHINA = timezone(timedelta(hours=8))
SKEW = timedelta(seconds=90)
MAX_BODY = 1 << 16

Rows = Callable[[str], list[dict[str, Any]]]  # a feed's rows as they are now
Clock = Callable[[], datetime]


class Asked(NamedTuple):
    """One request: `given` holds query parameters and, for a JSON body, its members."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    given: dict[str, Any]


class Answer(NamedTuple):
    """An HTTP status and the JSON it goes with."""

    status: int
    content: Any


class Gateway:
    """What the three have in common: an address that outlives a stop, and a thread that serves it."""

    def __init__(self, rows: Rows, now: Clock) -> None:
        self.rows, self.now = rows, now
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Serve, on the port of before where there was one."""
        if self._server:
            return
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                gateway._handle(self)

            do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass  # a request line may hold personal data

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections from now on."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, asked: Asked) -> Answer:
        """What it says to a request."""
        raise NotImplementedError

    def answer_with(self, rows: list[dict[str, Any]]) -> Any:
        """The JSON in which it hands over these rows, all on one page."""
        raise NotImplementedError

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = min(int(handler.headers.get("Content-Length") or 0), MAX_BODY)
        body = handler.rfile.read(length)
        parts = urlsplit(handler.path)
        query = parse_qsl(parts.query, keep_blank_values=True)
        given: dict[str, Any] = dict(query)
        if "json" in handler.headers.get("Content-Type", ""):
            given |= json.loads(body or b"{}")
        elif body:
            given |= dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True))
        status, content = self.answer(Asked(handler.command, parts.path, query, dict(handler.headers.items()), given))
        out = json.dumps(content, ensure_ascii=False).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json; charset=utf-8")
        handler.send_header("Content-Length", str(len(out)))
        handler.end_headers()
        handler.wfile.write(out)


class IrsGateway(Gateway):
    """The provincial gateway: HMAC headers in, pages by number out, `updateTimeStart` bounds an increment.

    `routes`: path → (feed, the column that says when a row changed).
    """

    def __init__(
        self,
        rows: Rows,
        now: Clock,
        *,
        access_key: str,
        secret_key: str,
        routes: Mapping[str, tuple[str, str]],
    ) -> None:
        super().__init__(rows, now)
        self.access_key, self.secret_key, self.routes = access_key, secret_key, routes

    def answer(self, asked: Asked) -> Answer:
        refusal = self._refuse(asked)
        if refusal:
            return Answer(401, {"message": refusal})
        feed, changed = self.routes[asked.path]
        rows = self.rows(feed)
        if since := asked.given.get("updateTimeStart"):
            rows = [row for row in rows if _moment(row[changed]) >= _moment(since)]
        number, size = int(asked.given.get("pageNum", 1)), int(asked.given.get("pageSize", 20))
        return Answer(200, self._envelope(len(rows), rows[(number - 1) * size : number * size]))

    def answer_with(self, rows: list[dict[str, Any]]) -> Any:
        return self._envelope(len(rows), rows)

    def _envelope(self, total: int, rows: list[dict[str, Any]]) -> Any:
        return {"code": 200, "msg": "success", "data": {"total": total, "rows": rows}}

    def _refuse(self, asked: Asked) -> str | None:
        headers = {k.upper(): v for k, v in asked.headers.items()}
        stamp, key = headers.get("X-BG-DATE-TIME", ""), headers.get("X-BG-HMAC-ACCESS-KEY", "")
        if asked.path not in self.routes:
            return "The route_id is forbidden."
        if key != self.access_key:
            return "Invalid access key"
        try:
            late = abs(self.now() - parsedate_to_datetime(stamp).replace(tzinfo=UTC)) > SKEW
        except ValueError:
            late = True
        if late:
            return "Clock skew exceeded"
        query = "&".join(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in sorted(asked.query))
        signed = "\n".join((asked.method, asked.path, query, key, stamp, ""))
        right = base64.b64encode(hmac.digest(self.secret_key.encode(), signed.encode(), "sha256")).decode()
        given = headers.get("X-BG-HMAC-SIGNATURE", "")
        if headers.get("X-BG-HMAC-ALGORITHM") != "hmac-sha256" or not hmac.compare_digest(right, given):
            return "Invalid signature"
        return None


def _moment(text: str) -> datetime:
    """A time a client may ask from: with an offset, or Beijing time without one."""
    at = datetime.fromisoformat(text.replace("/", "-"))
    return at if at.tzinfo else at.replace(tzinfo=CHINA)


class TokenGateway(Gateway):
    """The data-sharing gateway: app secret → refresh secret (48 h) → request secret (15 min) → data."""

    name = "appKey"
    refresh_path = "/gateway/app/refreshTokenByKey.htm"
    request_path = "/gateway/app/refreshTokenBySec.htm"

    def __init__(self, rows: Rows, now: Clock, *, app_key: str, app_secret: str, routes: Mapping[str, str]) -> None:
        super().__init__(rows, now)
        self.app_key, self.app_secret, self.routes = app_key, app_secret, routes
        self._lock = threading.Lock()
        self._refresh = self._request = ("", datetime(1970, 1, 1, tzinfo=CHINA))

    def answer(self, asked: Asked) -> Answer:
        """The codes beside "00" are this sample's own; the words are the gateway's."""
        if asked.given.get(self.name) != self.app_key:
            return self._failed("11", "应用标识不存在")
        if asked.path == self.refresh_path:
            return self._check(asked, self.app_secret) or self._issue(both=True)
        if asked.path == self.request_path:
            return self._check(asked, *self._refresh) or self._issue(both=False)
        if asked.path not in self.routes:
            return self._failed("12", "接口不存在或未授权")
        return self._check(asked, *self._request) or self._done(
            self.page(self.rows(self.routes[asked.path]), asked.given)
        )

    def answer_with(self, rows: list[dict[str, Any]]) -> Any:
        return self._done(self.page(rows, {"limit": len(rows)})).content

    def page(self, rows: list[dict[str, Any]], given: dict[str, Any]) -> Any:
        """One page of rows, as the request's parameters ask."""
        offset, limit = int(given.get("offset", 0)), int(given.get("limit", 20))
        return {"total": len(rows), "rows": rows[offset : offset + limit]}

    def expire(self) -> None:
        """Let the request secret run out, as it does after 15 minutes."""
        with self._lock:
            self._request = (self._request[0], self.now() - timedelta(seconds=1))

    def _check(self, asked: Asked, secret: str, until: datetime | None = None) -> Answer | None:
        given, now = asked.given, self.now()
        moment = str(given.get("requestTime", ""))
        if (
            not moment.isascii()
            or not moment.isdigit()
            or abs(now.timestamp() * 1000 - int(moment)) > SKEW.total_seconds() * 1000
        ):
            return self._failed("13", "请求时间超出允许范围")
        if until is not None and (not secret or now > until):
            return self._failed("14", "请求秘钥已过期")
        right = hashlib.md5(f"{self.app_key}{secret}{moment}".encode()).hexdigest()
        if not hmac.compare_digest(right, str(given.get("sign", "")).lower()):
            return self._failed("15", "签名错误")
        return None

    def _issue(self, both: bool) -> Answer:
        now = self.now()
        with self._lock:
            if both:
                self._refresh = (secrets.token_hex(16), now + timedelta(hours=48))
            self._request = (secrets.token_hex(16), now + timedelta(minutes=15))
            return self._done(
                {
                    "refreshSecret": self._refresh[0],
                    "refreshSecretEndTime": int(self._refresh[1].timestamp() * 1000),
                    "requestSecret": self._request[0],
                    "requestSecretEndTime": int(self._request[1].timestamp() * 1000),
                }
            )

    def _failed(self, code: str, why: str) -> Answer:
        return Answer(200, {"code": code, "msg": why, "datas": None})

    def _done(self, datas: Any) -> Answer:
        return Answer(200, {"code": "00", "msg": "成功", "datas": datas})


class CountyGateway(TokenGateway):
    """The county's own edition of it: JSON POST, other paths and names, a cursor in place of an offset."""

    name = "appkey"
    refresh_path = "/share/appsecret"
    request_path = "/share/interfaceSecurity"

    def answer(self, asked: Asked) -> Answer:
        if asked.method != "POST":
            return Answer(405, {"code": "16", "msg": "请使用POST方式", "data": None})
        return super().answer(asked)

    def page(self, rows: list[dict[str, Any]], given: dict[str, Any]) -> Any:
        start, limit = int(given.get("cursor") or 0), int(given.get("limit", 20))
        following = start + limit
        return {"list": rows[start:following], "next": str(following) if following < len(rows) else None}

    def _failed(self, code: str, why: str) -> Answer:
        return Answer(200, {"code": code, "msg": why, "data": None})

    def _done(self, datas: Any) -> Answer:
        return Answer(200, {"code": "00", "msg": "ok", "data": datas})
