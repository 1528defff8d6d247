"""Signed HTTP between the hub and its partners: the strict profile of RFC 9421 and RFC 9530, for both ends.

Rule 1. A request covers exactly @method, @authority, @path and @query, and a POST also content-type and
content-digest; a response exactly @status, content-digest and its request's @method, @path and signature.
No more, no less, under one label.
Rule 2. created, expires, nonce, keyid, alg and tag are all there; the algorithm is that of the key (Ed25519),
never the message's choice. Times are Unix seconds; a signature lives 300 s, and clocks may differ by 30 s.
Rule 3. The path is the raw one of the request line; the authority comes from configuration, never a header.
Rule 4. A header has one spelling: signature headers that do not re-encode to themselves are refused.
Rule 5. A nonce is taken only once everything else held, so that nobody can spend another's.
Rule 6. What is not signed by the pinned key is no answer: `Unreachable`, whatever it says.

The PyPI library http-message-signatures builds and checks the signature base; every rule above that it leaves
open is held here. The only user of requests in the hub. It knows no record and no framework, and has no off
switch.
"""

import io
import re
import secrets
import socket
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple, NoReturn, Protocol
from urllib.parse import urlencode, urlsplit

import msgspec
import requests
import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    PreparedSignature,
    VerifyResult,
)
from http_message_signatures.algorithms import ED25519
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from hub import __version__
from hub.errors import ConfigError, HubError, KeyRefused, Unreachable
from hub.note import Signer, VKey, parse_vkey

TAG = "crossregion-hub/v1"
LABEL = "sig"
LIFETIME = 300
SKEW = 30
MAX_REPLY = 64 << 20
MAX_PLAIN = 1 << 16  # what a witness or a time-stamping authority answers

GET_COVERS = ("@method", "@authority", "@path", "@query")
POST_COVERS = (*GET_COVERS, "content-type", "content-digest")
REPLY_COVERS = ("@status", "content-digest", '"@method";req', '"@path";req', '"signature";req')

PARAMETERS = frozenset({"created", "expires", "nonce", "keyid", "alg", "tag"})
_nonce = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]").fullmatch
_signature = re.compile(r"[a-z*][a-z0-9_.*-]*=:[A-Za-z0-9+/]{85}[AQgw]==:").fullmatch
_segment = r"(?!\.\.?(?:/|\Z))[A-Za-z0-9._~!$&'()*+,;=:@-]+"
_path = re.compile(rf"/|(?:/{_segment})+").fullmatch
_query = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*").fullmatch
_authority = re.compile(r"(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?").fullmatch
_signature_headers = ("signature-input", "signature", "content-digest", "content-type")


# --- keys and nonces ---


@dataclass(frozen=True, slots=True)
class HttpKey:
    """An Ed25519 key that signs requests or responses; `owner` is a jurisdiction's code or "hub", `until` its last second."""

    owner: str
    vkey: VKey
    private: Ed25519PrivateKey | None = field(default=None, repr=False)
    until: datetime | None = None

    @classmethod
    def pinned(cls, owner: str, vkey: str, until: datetime | None = None) -> "HttpKey":
        """The public key of a vkey's text; RecordError unless it is an Ed25519 vkey."""
        return cls(owner, parse_vkey(vkey), until=until)

    @classmethod
    def signing(cls, owner: str, signer: Signer) -> "HttpKey":
        """A private Ed25519 key under its public name."""
        if not isinstance(signer.private, Ed25519PrivateKey):
            raise KeyRefused("requests are signed by Ed25519 keys", where=signer.vkey.name)
        return cls(owner, signer.vkey, signer.private)

    @property
    def name(self) -> str:
        return self.vkey.name

    @property
    def keyid(self) -> str:
        """What stands on the wire: the vkey's name, a plus and its key id in hex."""
        return self.vkey.handle

    @property
    def public(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.vkey.raw)


class Nonces(Protocol):
    """The nonces already used: shared by all processes of one hub, bounded, with a quota for each key."""

    def take(self, keyid: str, nonce: str, until: int, now: int) -> bool:
        """Keep a nonce until the Unix second `until`; False where seen, or no room for this key."""
        ...


class MemoryNonces:
    """Nonces of one process, forgotten at its end: for tests and for a hub that serves nobody else."""

    def __init__(self, each: int = 10_000) -> None:
        self._each = each
        self._seen: dict[str, dict[str, int]] = {}
        self._lock = Lock()

    def take(self, keyid: str, nonce: str, until: int, now: int) -> bool:
        with self._lock:
            seen = self._seen.setdefault(keyid, {})
            if len(seen) >= self._each:
                seen = self._seen[keyid] = {old: end for old, end in seen.items() if end >= now}
            if nonce in seen or len(seen) >= self._each:
                return False
            seen[nonce] = until
            return True


# --- what both ends share ---


def authority(url: str) -> str:
    """The `@authority` of a base URL: lower case, no default port; ValueError if no base URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("not a base URL such as https://hub.example.cn")
    name = parts.netloc.lower().removesuffix({"http": ":80", "https": ":443"}[parts.scheme])
    if not _authority(name):
        raise ValueError("the host and port of the base URL are not plain")
    return name


def digest(body: bytes) -> str:
    """The Content-Digest of a body in its one spelling (RFC 9530, sha-256)."""
    return f"sha-256=:{b64encode(sha256(body).digest()).decode()}:"


def etag(body: bytes) -> str:
    """The ETag under which a body is served: its SHA-256, so that whoever holds a body can name it."""
    return f'"{sha256(body).hexdigest()}"'


@dataclass(slots=True)
class _Request:
    """A request as the signature library reads it; the URL's scheme is one that has no default port."""

    method: str
    url: str
    headers: dict[str, str]


@dataclass(slots=True)
class _Response:
    status_code: int
    headers: dict[str, str]
    request: _Request


class _Keys(HTTPSignatureKeyResolver):
    """Looks a key up for the library; remembers which it was, or why it could not be looked up."""

    def __init__(self, find: Callable[[str], HttpKey | None]) -> None:
        self._find = find
        self.found: HttpKey | None = None
        self.failed: HubError | None = None

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey | None:
        try:
            self.found = self._find(key_id)
        except HubError as error:
            self.failed = error
            raise
        return self.found.public if self.found else None


class _Verifier(HTTPMessageVerifier):
    def validate_created_and_expires(self, sig_input: Any, max_age: timedelta | None = None) -> None:
        """Left to `_check_times`: the library asks the machine's clock and allows an expiry of ten years."""


_signer = HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=None)


def _sign(message: _Request | _Response, covers: tuple[str, ...], key: HttpKey, now: datetime) -> None:
    """Add Signature-Input and Signature to a message's headers."""
    prepared = _signer.prepare(
        message,
        key_id=key.keyid,
        created=now,
        expires=now + timedelta(seconds=LIFETIME),
        nonce=secrets.token_urlsafe(16),
        label=LABEL,
        tag=TAG,
        covered_component_ids=covers,
        use_existing_digest="content-digest" in covers,
    )
    _attach(message, prepared, key)


def _attach(message: _Request | _Response, prepared: PreparedSignature, key: HttpKey) -> None:
    """The library's `apply`, which makes the whole base again: nobody else has the message in hand meanwhile."""
    if key.private is None:
        raise ValueError("this key cannot sign")
    signature = b64encode(key.private.sign(prepared.signature_base)).decode()
    message.headers["Signature-Input"] = f"{prepared.label}={prepared.signature_params}"
    message.headers["Signature"] = f"{prepared.label}=:{signature}:"


class _Checked(NamedTuple):
    key: HttpKey
    nonce: str
    created: int
    expires: int


def _refuse(what: str, mend: str = "") -> NoReturn:
    raise KeyRefused(what, where="signature", mend=mend)


def _check(
    message: _Request | _Response, covers: tuple[str, ...], find: Callable[[str], HttpKey | None], now: int
) -> _Checked:
    """Who signed a message exactly as the profile asks, or KeyRefused; digest and nonce are the caller's."""
    _check_bounds(message.headers)
    keys = _Keys(find)
    try:
        results = _Verifier(signature_algorithm=ED25519, key_resolver=keys).verify(message, max_age=None)
    except (HTTPMessageSignaturesException, ValueError, TypeError):
        if keys.failed is not None:
            # The library takes any error for a bad signature; a key store that is locked is none.
            raise keys.failed from None
        if keys.found is None:
            _refuse("no signature by a known key", "check the key's vkey at the hub")
        _refuse("the signature does not hold", "compare the signature base with the partner guide's")
    if len(results) != 1 or keys.found is None:
        _refuse("not exactly one signature", "send one label")
    result = results[0]
    _check_form(result, message.headers, covers)
    return _check_times(result, keys.found, now)


def _check_bounds(headers: Mapping[str, str]) -> None:
    for name, limit in (("signature-input", 1024), ("signature", 160)):
        if len(headers.get(name, "")) > limit:
            _refuse(f"{name} is longer than {limit} characters")
        if not headers.get(name):
            _refuse(f"no {name} header", "sign every request")


def _check_form(result: VerifyResult, headers: Mapping[str, str], covers: tuple[str, ...]) -> None:
    """Coverage, parameters and spelling: what the library accepts in more ways than one."""
    parts = dict(result.covered_components)
    params = parts.pop('"@signature-params"')
    wanted = [name if name.startswith('"') else f'"{name}"' for name in covers]
    if set(parts) != set(wanted):
        _refuse("the signature covers other components", f"cover exactly {' '.join(wanted)}")
    if headers["signature-input"] != f"{result.label}={params}" or not _signature(headers["signature"]):
        _refuse("the signature headers are not in their canonical form", "write them as RFC 8941 does")
    if set(result.parameters) != PARAMETERS:
        _refuse("the signature has other parameters", f"give exactly {', '.join(sorted(PARAMETERS))}")
    if result.parameters["alg"] != ED25519.algorithm_id:
        _refuse("the algorithm is not that of the key", "alg is ed25519")
    if result.parameters["tag"] != TAG:
        _refuse("the signature is for another protocol", f"tag is {TAG}")
    if not _nonce(str(result.parameters["nonce"])):
        _refuse("the nonce is not 128 bits", "16 random bytes as base64url without padding, 22 characters")


def _check_times(result: VerifyResult, key: HttpKey, now: int) -> _Checked:
    created, expires = int(result.parameters["created"]), int(result.parameters["expires"])
    if not 0 < expires - created <= LIFETIME:
        _refuse("the signature lives too long", f"expires is 1 to {LIFETIME} seconds after created")
    if created > now + SKEW:
        _refuse(f"the signature is {created - now} seconds in the future", "set both clocks")
    if expires < now - SKEW:
        _refuse(f"the signature expired {now - expires} seconds ago", "sign again; set both clocks")
    if key.until is not None and now > key.until.timestamp():
        mend = "make and announce a next one: `keys new http`, see the operations guide"
        _refuse(f"the last day of the key {key.keyid} was {key.until.date()}", mend)
    return _Checked(key, str(result.parameters["nonce"]), created, expires)


# --- the hub's end ---


def target(environ: Mapping[str, Any]) -> tuple[str, str]:
    """The raw path of a WSGI request, and its query with the "?"; KeyRefused unless in canonical form.

    Waitress and werkzeug give the request line's target as REQUEST_URI, gunicorn as RAW_URI. PATH_INFO, by
    which Flask routes, is decoded; both must be the same characters, or what is signed is not what is served.
    """
    raw = environ.get("REQUEST_URI") or environ.get("RAW_URI")
    if not isinstance(raw, str):
        _refuse("the server does not tell the raw request target", "serve the hub with waitress")
    path, mark, query = raw.partition("?")
    if not _path(path) or not _query(query):
        _refuse("not a canonical request target", "origin form, no % in the path, no empty or dot segment")
    routed = (environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO"), environ.get("QUERY_STRING", ""))
    if routed != ("", path, query):
        _refuse("the request target is not what the server routes by", "send it in its plain form")
    return path, mark + query


class Gate:
    """Checks signed requests and signs their responses, at the hub.

    `own` is the hub's authority (host and port of its public URL) and `key` its private HTTP key; `keys`
    finds a partner's key in force by keyid; `not_before` is the Unix second from which on `nonces` knows
    what was spent: older requests are refused. Safe for many threads if `keys` and `nonces` are.
    """

    def __init__(
        self,
        own: str,
        keys: Callable[[str], HttpKey | None],
        nonces: Nonces,
        key: HttpKey,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        not_before: int = 0,
    ) -> None:
        if not _authority(own):
            raise ConfigError(["the hub's authority is not host or host:port in lower case"])
        self.authority, self.key = own, key
        self._keys, self._nonces, self._now, self._not_before = keys, nonces, now, not_before

    def check(self, environ: Mapping[str, Any], body: bytes) -> str:
        """The owner of the key that signed this WSGI request; KeyRefused where anything at all is amiss."""
        request = self._request(environ)
        if str(environ.get("HTTP_HOST", "")).lower() != self.authority:
            _refuse("not addressed to this hub", "send one Host header, that of the hub's public URL")
        posted = self._has_body(request, environ, body)
        now = int(self._now().timestamp())
        checked = _check(request, POST_COVERS if posted else GET_COVERS, self._keys, now)
        if posted and not compare_digest(request.headers["content-digest"].encode(), digest(body).encode()):
            _refuse("the body is not the signed one", "Content-Digest is sha-256 over the raw body")
        if checked.created < self._not_before:
            _refuse("the request is older than what the hub knows of spent nonces", "sign again, half a minute after a restore")
        if not self._nonces.take(checked.key.keyid, checked.nonce, checked.expires + SKEW, now):
            _refuse("the nonce was used before, or the key's quota is", "sign again with a fresh nonce")
        return checked.key.owner

    def sign(self, environ: Mapping[str, Any], status: int, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        """The headers to add to a response of this raw `body`; KeyRefused if the request has no signature."""
        if any(name.lower() == "content-encoding" for name in headers):
            raise ValueError("a signed response is sent without content encoding")
        request = self._request(environ)
        if not _signature(request.headers.get("signature", "")):
            _refuse("the request has no signature that a response could answer")
        response = _Response(status, {"Content-Digest": digest(body)}, request)
        _sign(response, REPLY_COVERS, self.key, self._now())
        return response.headers

    def _request(self, environ: Mapping[str, Any]) -> _Request:
        path, query = target(environ)
        headers = {}
        for name in _signature_headers:
            variable = name.upper().replace("-", "_")
            value = environ.get(variable if name == "content-type" else f"HTTP_{variable}")
            if value:
                headers[name] = str(value)
        return _Request(str(environ["REQUEST_METHOD"]), f"hub://{self.authority}{path}{query}", headers)

    @staticmethod
    def _has_body(request: _Request, environ: Mapping[str, Any], body: bytes) -> bool:
        if request.method not in ("GET", "POST"):
            _refuse("another method than GET and POST")
        if request.method == "POST":
            return True
        sent = environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ
        if body or sent or "content-digest" in request.headers:
            _refuse("a GET with a body", "send the body in a POST, or none")
        return False


# --- the partner's end ---


class Reply(NamedTuple):
    """A response whose signature held; of `headers` (any case) only content-digest is signed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


_until: ContextVar[float] = ContextVar("until")


def _left() -> float:
    left = _until.get() - monotonic()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left


class _Drip(io.RawIOBase):
    """A socket's input under one deadline: a timeout of its own starts anew with each byte that drips in."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._raw = sock, sock.makefile("rb", buffering=0)
        self._end = _until.get()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(max(self._end - monotonic(), 0.001))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Bounded:
    """Stands for a socket while http.client opens its input."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_Drip(self._sock))


class _Timed(HTTPConnection):
    """A connection whose every step counts against the call's one deadline."""

    def connect(self) -> None:
        self.timeout = _left()
        super().connect()

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self.sock.settimeout(_left())
        super().send(data)

    def getresponse(self) -> Any:
        sock, self.timeout = self.sock, _left()
        self.sock = _Bounded(sock)
        try:
            return super().getresponse()
        finally:
            if self.sock is not None:
                self.sock = sock


class _TimedTls(_Timed, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Timed


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TimedTls


class _Adapter(HTTPAdapter):
    """requests' own adapter over timed connections, used without a session.

    A session reads the environment, keeps cookies, and takes in a redirect's whole body even where it is told
    not to follow; an adapter does none of these.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        return manager


class _Problem(msgspec.Struct):
    what: str = "refused"
    mend: str = ""


class _Caller:
    """One peer, reached within a deadline and read within a bound, over TLS except on loopback."""

    def __init__(
        self, base_url: str, ca_file: str | Path | None, proxy: str | None, timeout: float, max_bytes: int,
        *, clear: bool = False,
    ) -> None:  # fmt: skip
        """`clear` lets http:// leave this machine: only where the answer is believed by a signature of its own."""
        try:
            self._authority = authority(base_url)
        except ValueError as error:
            raise ConfigError([f"the address given: {error}"]) from None
        self._base = f"{urlsplit(base_url).scheme}://{self._authority}"
        if self._base.startswith("http:") and not clear and not _is_loopback(urlsplit(base_url).hostname or ""):
            raise ConfigError(["the address given: http:// is for loopback only; write https://"])
        if ca_file is not None and not Path(ca_file).is_file():
            raise ConfigError(["ca_file: no such file; give the PEM of the authority behind the hub's certificate"])
        self._timeout, self._max = timeout, max_bytes
        self._verify = str(ca_file) if ca_file is not None else True
        self._proxies = {"http": proxy, "https": proxy} if proxy else {}
        self._adapter = _Adapter()

    def _send(
        self, method: str, route: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        plain = {"User-Agent": f"crossregion-sync-hub/{__version__}", "Accept-Encoding": "identity"}
        prepared = requests.Request(method, self._base + route, headers=plain | headers, data=body).prepare()
        if prepared.path_url != route:
            raise ValueError("the path or query does not stay as it is signed")
        _until.set(monotonic() + self._timeout)
        try:
            with self._adapter.send(
                prepared, stream=True, timeout=self._timeout, verify=self._verify, proxies=self._proxies
            ) as response:
                return response.status_code, response.headers, self._read(response)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            cause = f"no answer ({type(error).__name__})"
            raise self._unreachable(cause, "check address, network and certificate") from None

    def _read(self, response: requests.Response) -> bytes:
        if "content-encoding" in response.headers:
            raise self._unreachable("a compressed answer that was not asked for")
        parts, size = [], 0
        for part in response.raw.stream(1 << 16, decode_content=False):
            size += len(part)
            if size > self._max:
                raise self._unreachable(f"an answer longer than {self._max} bytes")
            parts.append(part)
        return b"".join(parts)

    def _unreachable(self, what: str, mend: str = "") -> Unreachable:
        return Unreachable(what, where=self._authority, mend=mend)

    def close(self) -> None:
        """Close the idle connections."""
        self._adapter.close()


class Client(_Caller):
    """Sends signed requests to one hub and believes only responses that its pinned key signed.

    `peer` is the vkey of the hub's HTTP key; `timeout` is the whole call's deadline in seconds, name lookup
    apart; `max_bytes` bounds a response. TLS except on loopback; no redirect, no environment, no retry, no
    compression. Raises ConfigError for connection settings that cannot be used. Safe for several threads.
    """

    def __init__(
        self,
        base_url: str,
        key: HttpKey,
        peer: str,
        *,
        ca_file: str | Path | None = None,
        proxy: str | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        timeout: float = 30.0,
        max_bytes: int = MAX_REPLY,
    ) -> None:
        super().__init__(base_url, ca_file, proxy, timeout, max_bytes)
        self._key, self._peer, self._now = key, HttpKey.pinned("hub", peer), now

    def get(self, path: str, query: Mapping[str, str | int] | None = None, *, held: bytes | None = None) -> Reply:
        """The signed response to a GET; with `held`, a body got earlier, 304 says that it is still served.

        Raises Unreachable where no believable answer came within the deadline, KeyRefused for a signed 401 or
        403, and ValueError for a path that is not canonical.
        """
        extra = {"If-None-Match": etag(held)} if held is not None else {}
        return self._exchange("GET", path, urlencode(query or {}), extra, None)

    def post(self, path: str, body: bytes, content_type: str) -> Reply:
        """The signed response to a POST; raises as `get` does."""
        extra = {"content-type": content_type, "content-digest": digest(body)}
        return self._exchange("POST", path, "", extra, body)

    def _exchange(self, method: str, path: str, query: str, extra: dict[str, str], body: bytes | None) -> Reply:
        if not _path(path):
            raise ValueError("not a canonical path")
        route = path + ("?" + query if query else "")
        request = _Request(method, f"hub://{self._authority}{route}", dict(extra))
        _sign(request, GET_COVERS if body is None else POST_COVERS, self._key, self._now())
        status, headers, content = self._send(method, route, request.headers, body)
        reply = self._believe(request, status, headers, content)
        if status in (401, 403):
            raise _refusal(reply)
        return reply

    def _believe(self, request: _Request, status: int, headers: Mapping[str, str], body: bytes) -> Reply:
        signed = {name: headers[name] for name in _signature_headers if name in headers}
        now = int(self._now().timestamp())
        try:
            _check(_Response(status, signed, request), REPLY_COVERS, self._find, now)
        except KeyRefused as error:
            mend = error.mend if "clock" in error.mend else "check the hub's vkey and what stands between"
            cause = f"an answer (HTTP {status}) that cannot be believed: {error.what}"
            raise self._unreachable(cause, mend) from None
        if signed["content-digest"] != digest(body):
            raise self._unreachable(f"an answer (HTTP {status}) whose body is not the signed one")
        return Reply(status, headers, body)

    def _find(self, keyid: str) -> HttpKey | None:
        return self._peer if keyid == self._peer.keyid else None


class OpenLedger(_Caller):
    """A ledger served to everybody by C2SP tiles, read without a key: believed once it verifies.

    `url` is the hub's address; the ledger lies below /ledger. Raises Unreachable where no answer came.
    """

    def __init__(
        self, url: str, *, ca_file: str | Path | None = None, proxy: str | None = None, timeout: float = 30.0
    ) -> None:
        super().__init__(url, ca_file, proxy, timeout, MAX_REPLY)

    def checkpoint(self) -> bytes:
        """The signed checkpoint served now."""
        return self._fetch("/ledger/checkpoint")

    def bundle(self, index: int, width: int) -> bytes:
        """The first `width` entries of an entry bundle."""
        text = str(index).zfill(-(-len(str(index)) // 3) * 3)
        groups = [text[n : n + 3] for n in range(0, len(text), 3)]
        path = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
        return self._fetch(f"/ledger/tile/entries/{path}" + (f".p/{width}" if width < 256 else ""))

    def _fetch(self, path: str) -> bytes:
        status, _, body = self._send("GET", path, {}, None)
        if status != 200:
            raise self._unreachable(f"HTTP {status} for {path}", "is this ledger open to everybody?")
        return body


class WitnessPost:
    """Takes add-checkpoints to witnesses: one plain POST each, over TLS except on loopback."""

    def __init__(self, timeout: float = 10.0) -> None:
        self._timeout = timeout

    def __call__(self, url: str, body: bytes) -> tuple[int, bytes]:
        """The status and body of a POST; Unreachable where no answer came."""
        parts = urlsplit(url)
        caller = _Caller(f"{parts.scheme}://{parts.netloc}", None, None, self._timeout, MAX_PLAIN)
        return _post(caller, parts.path, "text/plain", body)


def ask_timestamp(url: str, request: bytes, *, rooted: bool, timeout: float = 30.0) -> bytes:
    """The answer of a time-stamping authority to a request (RFC 3161, 3.4), not yet looked at; Unreachable where none came.

    Many authorities speak http:// alone. `rooted` says that their signature is checked by roots held beforehand: then, and
    on loopback, that is enough; else TLS is asked for. ConfigError for a URL that cannot be used.
    """
    try:
        parts = urlsplit(url)
        route = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        caller = _Caller(f"{parts.scheme}://{parts.netloc}", None, None, timeout, MAX_PLAIN, clear=rooted)
        status, answer = _post(caller, route, "application/timestamp-query", request)
    except (ConfigError, ValueError):
        mend = "write it like https://tsa.example.cn/stamp; http:// needs --tsa, for then its signature is checked at once"
        raise ConfigError([f"--timestamp: not a URL that a timestamp can be asked of; {mend}"]) from None
    if status != 200:
        raise caller._unreachable(f"HTTP {status} to a request for a timestamp", "is this the authority's address?")
    return answer


def _post(caller: _Caller, route: str, content_type: str, body: bytes) -> tuple[int, bytes]:
    try:
        status, _, answer = caller._send("POST", route, {"Content-Type": content_type}, body)
    finally:
        caller.close()
    return status, answer


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _refusal(reply: Reply) -> KeyRefused:
    """The hub's refusal in its own words, cut to a line."""
    try:
        problem = msgspec.json.decode(reply.body, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem()
    what, mend = ("".join(c for c in text if c.isprintable())[:300] for text in (problem.what, problem.mend))
    return KeyRefused(what, where=f"the hub (HTTP {reply.status})", mend=mend)
