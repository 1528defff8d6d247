"""The hub's web: one Flask application of partner API, tiles and console; it holds no rule of its own.

Rule 1. Everything below /v1 and /ledger is for signed requests, save the OpenAPI document, its page and,
where the operator opened it, the ledger. Whoever signed gets a signed answer, a refusal too.
Rule 2. No third-party address: pages work offline under a strict content policy. Sessions are the console's alone.
Rule 3. An unforeseen error is logged by its class and place alone: its text may hold what a record holds.
Sizes are bytes. Served by waitress, which gives the raw request target that signatures are checked against.
"""

import logging
import re
import traceback
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from ipaddress import ip_address
from typing import Any

import flask
from flask import Flask, Response, g, request
from flask_smorest import Api
from flask_swagger_ui import get_swaggerui_blueprint
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from hub import __version__
from hub.errors import HubError, KeyRefused, NotFound
from hub.web import api, tiles
from hub.web.api import Desk
from hub.web.console import add_console, unknown
from hub.web.doors import broken
from hub.web.page import Rooms
from hub.wire import Gate, target

__all__ = ["MAX_BODY", "Desk", "create_app"]

MAX_BODY = (8 << 20) + (64 << 10)

_DOCUMENT, _DOCS = "/v1/openapi.json", "/v1/docs"
_POLICY = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self'{styles}; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": _POLICY.format(scripts="", styles=""),
}
_log = logging.getLogger("hub.web")


def create_app(
    desk: Desk,
    gate: Gate,
    status: Callable[[], dict[str, Any]],
    *,
    tiles_open: bool,
    console: Rooms | None,
) -> Flask:
    """The application that waitress serves.

    `gate` carries the hub's authority; `tiles_open` serves the ledger to everybody; `console` is
    what stands behind the pages for people, or None: then only /healthz tells the state, by `status`.
    """
    app = Flask("hub.web", static_folder=None)
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY,
        MAX_FORM_MEMORY_SIZE=64 << 10,
        TRUSTED_HOSTS=_hosts(gate.authority),
        API_TITLE="Crossregion Sync Hub",
        API_VERSION="v1",
        OPENAPI_VERSION="3.1.0",
        API_SPEC_OPTIONS={
            "info": {
                "description": "Push, pull and verify records of a shared ledger.",
                "x-hub-version": __version__,
            },
            "security": [{"signature": []}],
        },
    )
    _answer_errors(app)
    _guard(app, gate, tiles_open)
    _document(app, desk, tiles_open)
    if console is not None:
        add_console(app, console)
    else:
        _health(app, status)
    return app


def _hosts(authority: str) -> list[str]:
    """The host names under which the hub may be asked: its own, and on loopback every name of loopback."""
    host = authority if authority.endswith("]") else re.sub(r":[0-9]+\Z", "", authority)
    try:
        local = host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        local = False
    return [host, "localhost", "127.0.0.1", "[::1]"] if local else [host]


# --- who may ask, and how every answer leaves ---


def _is_guarded() -> bool:
    path = request.path
    if path in (_DOCUMENT, _DOCS) or path.startswith(_DOCS + "/"):
        return False
    return path.startswith(("/v1/", "/ledger/"))


def _guard(app: Flask, gate: Gate, tiles_open: bool) -> None:
    @app.before_request
    def admit() -> None:
        if not _is_guarded():
            return
        if tiles_open and request.path.startswith("/ledger/") and "Signature" not in request.headers:
            return _plain_only()
        g.body = _body()
        g.owner = gate.check(request.environ, g.body)

    @app.after_request
    def leave(response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        if _is_guarded():
            response.headers.setdefault("Cache-Control", "no-store")
            if "Signature" in request.headers:
                _seal(gate, response)
        return response


def _body() -> bytes:
    """The request's whole body, read at once: piece by piece, as `get_data` reads, takes thirty times as long."""
    told = request.content_length
    read = request.stream.read(told) if told else b""
    return read if read and len(read) == told else read + request.get_data(cache=False)


def _plain_only() -> None:
    """A tile has one address for everybody: what decodes to it is none."""
    try:
        target(request.environ)
    except KeyRefused:
        raise NotFound("no such path", mend="see /v1/openapi.json") from None


def _seal(gate: Gate, response: Response) -> None:
    """Sign an answer, where the request has a signature that it can answer."""
    body = b"" if response.status_code == 304 or request.method == "HEAD" else response.get_data()
    # Refused where the request is not canonical: the answer leaves unsigned, and no strict client asked.
    with suppress(KeyRefused):
        signed = gate.sign(request.environ, response.status_code, dict(response.headers), body)
        response.headers.update(signed)


# --- errors ---


def _answer_errors(app: Flask) -> None:
    @app.errorhandler(HubError)
    def refused(error: HubError) -> Response:
        return api.refusal(error, known="owner" in g)

    @app.errorhandler(Exception)
    def unforeseen(error: Exception) -> Response:
        place = " < ".join(f"{f.name}:{f.lineno}" for f in reversed(traceback.extract_tb(error.__traceback__)[-4:]))
        _log.error("unforeseen %s in %s", type(error).__name__, place)
        if request.blueprint == "console" and request.accept_mimetypes.accept_html and not request.path.endswith(".json"):
            return broken()
        return api.problem(500, "internal", "the hub failed", "try again; tell the operator if it goes on")


def _http_problem(error: HTTPException) -> Any:
    """Flask's own errors: a problem object to a program, a page to a person."""
    if isinstance(error, RequestRedirect):
        return error
    if not (_is_guarded() or request.path == "/healthz"):
        return _page_instead(error)
    texts = {
        404: ("not_found", "no such path", "see /v1/openapi.json"),
        405: ("method_not_allowed", "this path does not take this method", "see /v1/openapi.json"),
        413: ("too_large", f"the body is longer than {MAX_BODY} bytes", "send smaller batches"),
    }
    code = error.code or 500
    answer = api.problem(code, *texts.get(code, (api.snake(type(error).__name__), "the request cannot be served", "")))
    for name, value in error.get_headers():
        if name == "Allow":
            answer.headers[name] = value
    return answer


def _page_instead(error: HTTPException) -> Any:
    """The console's page for an address that there is not, where a person asks; elsewhere the error as it is."""
    # Named, not merely accepted: a program that takes anything is no person.
    asks = "text/html" in request.accept_mimetypes.values() and not request.path.startswith(_DOCS)
    if error.code not in (404, 405) or not asks or "console" not in flask.current_app.extensions:
        return error
    answer = unknown(error.code)
    answer.headers.extend((name, value) for name, value in error.get_headers() if name == "Allow")
    return answer


# --- document, its page, health ---


class _Api(Api):  # type: ignore[misc]
    ERROR_SCHEMA = api.ProblemSchema


def _document(app: Flask, desk: Desk, tiles_open: bool) -> None:
    described = _Api(app)
    # flask-smorest registers its own form of HTTP errors; ours replaces it.
    app.register_error_handler(HTTPException, _http_problem)
    api.describe(described.spec)
    described.register_blueprint(api.blueprint(desk))
    described.register_blueprint(tiles.blueprint(desk, tiles_open))
    app.add_url_rule(_DOCUMENT, "openapi", lambda: flask.jsonify(described.spec.to_dict()))
    app.register_blueprint(_docs_page())


def _docs_page() -> Any:
    """Swagger UI from the installed package, reading only: no try-out, no validator, no other host."""
    page = get_swaggerui_blueprint(
        _DOCS,
        _DOCUMENT,
        config={
            "app_name": "Crossregion Sync Hub",
            "layout": "BaseLayout",
            "supportedSubmitMethods": [],
            "validatorUrl": None,
            "oauth2RedirectUrl": None,
        },
    )

    def allow(response: Response) -> Response:
        if response.mimetype == "text/html":
            # The page's one inline script is allowed by its hash, so that no other ever runs.
            inline = re.findall(rb"<script>(.*?)</script>", response.get_data(), re.DOTALL)
            hashes = "".join(f" 'sha256-{b64encode(sha256(each).digest()).decode()}'" for each in inline)
            response.headers["Content-Security-Policy"] = _POLICY.format(scripts=hashes, styles=" 'unsafe-inline'")
        return response

    page.after_request(allow)
    return page


def _health(app: Flask, status: Callable[[], dict[str, Any]]) -> None:
    @app.get("/healthz")
    def healthz() -> tuple[dict[str, str], int]:
        """Whether this process can serve: the status itself is told, never the reasons."""
        try:
            told = status()
        except Exception:
            return {"state": "broken"}, 503
        return {"state": str(told["verdict"]["state"]), "as_of": str(told["as_of"])}, 200
