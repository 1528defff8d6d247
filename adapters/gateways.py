"""How requests to a city's gateway are signed: the signatures that gateways in use really ask for.

Sources: the 业务协同网关 (IRS) and the provincial data-sharing gateway of Zhejiang; a county's edition of
the latter differs in paths, names and method, so those are options. Keys come from the connection
by reference and stay in memory. Times: the IRS gateway allows 90 s of skew; a refresh secret lives
48 h, a request secret 15 min.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Protocol

from marshmallow import Schema, fields, validate

from adapters.base import Look
from adapters.connection import Connection
from adapters.fetch import Fetcher, Request, clean_words, judge
from adapters.transforms import finder, parse_json, plain

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Auth(Protocol):
    """Signs requests to one system."""

    def sign(self, request: Request) -> Request:
        """The request with what proves who asks; may itself ask the gateway first."""
        ...

    def renew(self) -> bool:
        """Forget what may have run out early; True where asking once more can help."""
        ...


class Plain:
    """Headers and parameters that never change: none, bearer, api_key, http_basic."""

    def __init__(self, headers: Mapping[str, str], params: Mapping[str, str]) -> None:
        self._headers, self._params = headers, params

    def sign(self, request: Request) -> Request:
        return request.with_(self._params, self._headers)

    def renew(self) -> bool:
        return False


# --- 业务协同网关 ---


def http_date(moment: datetime) -> str:
    """RFC 1123 in GMT, whatever the locale: Tue, 09 Nov 2021 08:49:20 GMT."""
    at = moment.astimezone(UTC)
    return f"{_DAYS[at.weekday()]}, {at.day:02} {_MONTHS[at.month - 1]} {at.year:04} {at:%H:%M:%S} GMT"


class IrsHmac:
    """HMAC-SHA256 over method, path, sorted query, access key and date, each with a line feed; no body."""

    def __init__(self, access_key: str, secret_key: str, now: Callable[[], datetime]) -> None:
        self._access, self._secret, self._now = access_key, secret_key, now

    def sign(self, request: Request) -> Request:
        date = http_date(self._now())
        text = "".join(f"{part}\n" for part in (request.method, request.path, request.query(), self._access, date))
        digest = hmac.digest(self._secret.encode(), text.encode(), "sha256")
        return request.with_(
            headers={
                "X-BG-HMAC-SIGNATURE": base64.b64encode(digest).decode(),
                "X-BG-HMAC-ALGORITHM": "hmac-sha256",
                "X-BG-HMAC-ACCESS-KEY": self._access,
                "X-BG-DATE-TIME": date,
            }
        )

    def renew(self) -> bool:
        return False


# --- the data-sharing gateway ---

REFRESH_LIFE = timedelta(hours=48)
REQUEST_LIFE = timedelta(minutes=15)
_MARGIN = timedelta(minutes=1)


class DataSharingToken:
    """App secret → refresh secret → request secret → call; each signed md5(app key + secret + ms)."""

    def __init__(self, options: Mapping[str, Any], connection: Connection, fetcher: Fetcher) -> None:
        self._options, self._now, self._fetcher = options, connection.now, fetcher
        self._key, self._app_secret = connection.need("access_key"), connection.need("secret_key")
        self._payload = finder(options["payload"])
        self._refresh = self._request = ("", datetime.min.replace(tzinfo=UTC))

    def sign(self, request: Request) -> Request:
        return request.with_(self._signed(self._current()))

    def renew(self) -> bool:
        """Drop the request secret: a gateway may end it before its time."""
        held = bool(self._request[0])
        self._request = ("", self._request[1])
        return held

    def _signed(self, secret: str) -> dict[str, Any]:
        moment = round(self._now().timestamp() * 1000)
        digest = hashlib.md5(f"{self._key}{secret}{moment}".encode(), usedforsecurity=False).hexdigest()
        options = self._options
        return {
            options["key_name"]: self._key,
            options["sign_name"]: digest,
            options["time_name"]: str(moment),
        }

    def _current(self) -> str:
        now = self._now()
        if self._request[0] and now < self._request[1]:
            return self._request[0]
        if not (self._refresh[0] and now < self._refresh[1]):
            self._ask(self._options["refresh_path"], self._app_secret, now, first=True)
        else:
            self._ask(self._options["request_path"], self._refresh[0], now, first=False)
        return self._request[0]

    def _ask(self, path: str, secret: str, now: datetime, first: bool) -> None:
        method = self._options["method"]
        style = "query" if method == "GET" else self._options["send"]
        whole = self._fetcher.prefix + path
        reply = self._fetcher.send(Request(method, whole, self._signed(secret), {}, style))
        judge(reply)
        try:
            content = parse_json(reply.body.decode())
        except ValueError:
            raise Look(reply.where, "the answer is not JSON") from None
        given = content if isinstance(content, dict) else {}
        code = plain_or_none(given.get("code"))
        if code != self._options["success"]:
            raise Look(
                reply.where,
                f"refused{said(given)}",
                "check access_key, secret_key and this machine's clock",
            )
        payload = self._payload(given)
        found = payload if isinstance(payload, dict) else {}
        request_secret = plain_or_none(found.get("requestSecret"))
        refresh_secret = plain_or_none(found.get("refreshSecret"))
        if not (refresh_secret if first else request_secret):
            raise Look(reply.where, f"no secret at {self._options['payload']} of the answer", "mend payload:")
        if refresh_secret and first:
            self._refresh = (refresh_secret, now + REFRESH_LIFE - _MARGIN)
        if request_secret:
            self._request = (request_secret, now + REQUEST_LIFE - _MARGIN)
        else:
            self._ask(self._options["request_path"], self._refresh[0], now, first=False)


def plain_or_none(value: Any) -> str | None:
    """A scalar of an answer as text; None for anything else."""
    return plain(value) if isinstance(value, (str, int)) else None


def said(content: Mapping[str, Any]) -> str:
    """A gateway's own words beside its code, as `: words`."""
    words = next((content[name] for name in ("msg", "message") if isinstance(content.get(name), str)), "")
    return clean_words(words)


# --- options and choice ---


class _None(Schema):
    pass


class _ApiKey(Schema):
    class Meta:
        include: ClassVar = {"in": fields.String(load_default="header", validate=validate.OneOf(("header", "query")))}

    name = fields.String(required=True)


def _path(default: str) -> fields.String:
    return fields.String(
        load_default=default, validate=validate.Regexp(r"\A/[^?#\s]*\Z", error="expected a path from /")
    )


class _Token(Schema):
    key_name = fields.String(load_default="appKey")
    sign_name = fields.String(load_default="sign")
    time_name = fields.String(load_default="requestTime")
    refresh_path = _path("/gateway/app/refreshTokenByKey.htm")
    request_path = _path("/gateway/app/refreshTokenBySec.htm")
    method = fields.String(load_default="GET", validate=validate.OneOf(("GET", "POST")))
    send = fields.String(load_default="json", validate=validate.OneOf(("json", "form", "query")))
    payload = fields.String(load_default="datas")
    success = fields.String(load_default="00")


OPTIONS: dict[str, type[Schema]] = {
    "none": _None,
    "bearer": _None,
    "api_key": _ApiKey,
    "http_basic": _None,
    "irs_hmac": _None,
    "data_sharing_token": _Token,
}


def authenticator(name: str, options: Mapping[str, Any], connection: Connection, fetcher: Fetcher) -> Auth:
    """The signer that a declaration names; Look where the connection lacks a key."""
    if name == "irs_hmac":
        return IrsHmac(connection.need("access_key"), connection.need("secret_key"), connection.now)
    if name == "data_sharing_token":
        return DataSharingToken(options, connection, fetcher)
    if name == "bearer":
        return Plain({"Authorization": f"Bearer {connection.need('token')}"}, {})
    if name == "http_basic":
        pair = f"{connection.need('username')}:{connection.need('password')}"
        return Plain({"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}, {})
    if name == "api_key":
        pair_of = {options["name"]: connection.need("api_key")}
        return Plain(pair_of, {}) if options["in"] == "header" else Plain({}, pair_of)
    return Plain({}, {})
