"""The console's doors: who may open which page and do what, and how one comes in and leaves.

Rule 1. Every address is in RIGHTS, or it does not exist: what is forgotten is closed. Rule 2. What changes something comes
by POST, from a form of this session's own page, on this origin. Rule 3. A session lives in the store and ends there.
"""

import hmac
import secrets
from urllib.parse import urlsplit

import flask
from werkzeug.wrappers import Response as AnyResponse

from hub import accounts
from hub.errors import HubError, KeyRefused, NotFound
from hub.store.base import Account
from hub.web.page import frame, me, page, rooms

EVERYBODY, OPENED = "everybody", "opened"
VIEWER, COORDINATOR, ADMINISTRATOR = accounts.ROLES

RIGHTS = {
    "static": EVERYBODY,
    "healthz": EVERYBODY,
    "login": EVERYBODY,
    "enter": EVERYBODY,
    "leave": EVERYBODY,
    "oidc": EVERYBODY,
    "oidc_back": EVERYBODY,
    "overview": OPENED,
    "status_json": OPENED,
    "metrics_text": OPENED,
    "nights": VIEWER,
    "night": VIEWER,
    "night_export": VIEWER,
    "agreements": VIEWER,
    "agreement": VIEWER,
    "ledger": VIEWER,
    "trust": VIEWER,
    "differences": VIEWER,
    "difference": VIEWER,
    "decide": COORDINATOR,
    "assign": COORDINATOR,
    "jurisdiction": VIEWER,
    "progress_json": VIEWER,
    "sync": COORDINATOR,
    "pause": COORDINATOR,
    "resume": COORDINATOR,
    "records": VIEWER,
    "search": VIEWER,
    "record": VIEWER,
    "evidence": VIEWER,
    "journal": ADMINISTRATOR,
}
"""Endpoint of the console -> who may: everybody, everybody where the overview was opened, or a role and those above it."""

MENU = ("overview", "differences", "records", "nights", "agreements", "ledger", "journal")
FORM = "form"
_BEFORE = "before-login"
_ASKED = "asked-provider"


def session_cookie() -> str:
    """The cookie's name; by TLS one that no other host or path can set (RFC 6265bis, 4.1.3.2)."""
    return "__Host-crossregion" if rooms().secure else "crossregion"


def doors(console: flask.Blueprint) -> None:
    """Guard the blueprint, and register the login."""
    console.before_request(_admit)
    console.add_url_rule("/login", "login", _login)
    console.add_url_rule("/login", "enter", _enter, methods=["POST"])
    console.add_url_rule("/logout", "leave", _leave, methods=["POST"])
    console.add_url_rule("/login/oidc", "oidc", _oidc)
    console.add_url_rule("/login/oidc/back", "oidc_back", _oidc_back)
    # For the application: an address that there is not is of no blueprint, and its page needs them too.
    console.app_context_processor(lambda: {"form_token": _form_token, "may": _may, "nav": _nav})


def _admit() -> flask.Response | AnyResponse | None:
    right = RIGHTS.get((flask.request.endpoint or "").removeprefix("console."))
    _recognise()
    if flask.g.account is None and flask.request.authorization and right == OPENED:
        flask.g.account = _by_password()
    flask.g.is_coordinator = _may(COORDINATOR)
    if right is None:
        flask.abort(404)
    if flask.request.method not in ("GET", "HEAD"):
        _refuse_foreign()
    if right == EVERYBODY or (right == OPENED and (rooms().is_open or me())):
        return None
    if me() is None:
        return _sign_in_first()
    return None if _may("viewer" if right == OPENED else right) else forbidden()


def _recognise() -> None:
    """Whose session the request comes with."""
    held, token = rooms().accounts, flask.request.cookies.get(session_cookie(), "")
    flask.g.account = held.session(token) if held and token else None
    flask.g.token = token if flask.g.account else ""


def _nav() -> list[str]:
    """The endpoints of the menu that this reader may open."""
    if me() is None and not rooms().is_open:
        return []
    return [name for name in MENU if RIGHTS[name] == OPENED or _may(RIGHTS[name])]


def _by_password() -> Account | None:
    """Who asks for a page of figures by name and password with each request, as monitors do (RFC 7617)."""
    held, given = rooms().accounts, flask.request.authorization
    if held is None or given is None or given.type != "basic":
        return None
    try:
        return held.recognise(given.username or "", given.password or "")
    except KeyRefused:
        flask.abort(401)


def _may(role: str) -> bool:
    account = me()
    return account is not None and accounts.may(account, role)


def _sign_in_first() -> flask.Response | AnyResponse:
    wants_page = flask.request.method == "GET" and flask.request.accept_mimetypes.accept_html
    if rooms().accounts is None:
        flask.abort(404)
    if not wants_page or (flask.request.endpoint or "").endswith(("_json", "_text")):
        return flask.make_response("sign in first\n", 401)
    return flask.redirect(flask.url_for("console.login", next=flask.request.full_path.rstrip("?")))


def forbidden() -> flask.Response:
    """What a person is told whose account may not do this."""
    return page("refused.html", frame(), 403)


def _refuse_foreign() -> None:
    """A form must come from this origin and carry its session's token; before a login, that of its own cookie."""
    origin, site = flask.request.headers.get("Origin"), flask.request.headers.get("Sec-Fetch-Site", "same-origin")
    if (origin and urlsplit(origin).netloc != flask.request.host) or site not in ("same-origin", "none"):
        flask.abort(_stale())
    given = flask.request.form.get(FORM, "")
    if not hmac.compare_digest(given.encode(), _form_token().encode()) or not given:
        flask.abort(_stale())


def _stale() -> flask.Response:
    """What a person is told whose form is none of this session's: most often, the session ended while it was filled in."""
    return page("refused.html", frame(), 403, stale=True)


def _form_token() -> str:
    """What a form of this reader carries."""
    token = flask.g.token or flask.request.cookies.get(_BEFORE, "")
    return accounts.form_token(token) if token else ""


# --- in and out ---


def _login(problem: str = "", code: int = 200) -> flask.Response:
    if rooms().accounts is None:
        flask.abort(404)
    if me() is not None and not problem:
        return _go(flask.request.args.get("next", ""))
    fresh = secrets.token_urlsafe(32)
    if not flask.request.cookies.get(_BEFORE):
        flask.g.token = fresh
    reply = page("login.html", frame(), code, problem=problem,
                 next=flask.request.values.get("next", ""), provider=rooms().provider)  # fmt: skip
    if flask.g.token == fresh:
        _cookie(reply, _BEFORE, fresh)
    return reply


def _enter() -> flask.Response:
    held = rooms().accounts
    if held is None:
        flask.abort(404)
    form = flask.request.form
    try:
        token = held.enter(form.get("name", "").strip(), form.get("password", ""))
    except KeyRefused as error:
        return _login("wait" if "waits" in error.what else "refused", 401)
    reply = _go(form.get("next", ""))
    _cookie(reply, session_cookie(), token)
    reply.delete_cookie(_BEFORE)
    return reply


def _oidc() -> flask.Response:
    provider = rooms().provider
    if provider is None:
        flask.abort(404)
    try:
        url, kept = provider.begin()
    except HubError:
        return _login("provider", 503)
    reply = flask.make_response(flask.redirect(url, 303))
    # Lax: the way back begins at the provider, and a strict cookie would not come along.
    reply.set_cookie(_ASKED, kept, max_age=600, httponly=True, samesite="Lax", secure=rooms().secure)
    return reply


def _oidc_back() -> flask.Response:
    provider, held = rooms().provider, rooms().accounts
    if provider is None or held is None:
        flask.abort(404)
    try:
        token = held.admit(provider.finish(flask.request.query_string.decode(), flask.request.cookies.get(_ASKED, "")))
    except NotFound:
        return _login("stranger", 401)
    except HubError:
        return _login("provider", 401)
    # A page and no redirect: the strict cookie set here goes along only with what this origin itself asks for.
    reply = page("entered.html", frame())
    _cookie(reply, session_cookie(), token)
    reply.delete_cookie(_ASKED)
    return reply


def _leave() -> flask.Response:
    held = rooms().accounts
    if held is not None and flask.g.token:
        held.leave(flask.g.token)
    reply = _go("")
    reply.delete_cookie(session_cookie(), secure=rooms().secure, httponly=True, samesite="Strict")
    reply.headers["Clear-Site-Data"] = '"cache"'
    return reply


def _cookie(reply: flask.Response, name: str, value: str) -> None:
    reply.set_cookie(name, value, httponly=True, samesite="Strict", secure=rooms().secure, path="/")


def _go(where: str) -> flask.Response:
    """To a page of this console, never to another host."""
    # One slash only: `//host` and `/\\host` are other hosts to a browser, also with a tab between, which it passes over.
    inside = where.startswith("/") and not where.startswith(("//", "/\\")) and where.isprintable()
    return flask.make_response(flask.redirect(where if inside else flask.url_for("console.overview"), 303))


def broken() -> flask.Response:
    """What a person is told where something unforeseen failed: that it is known, and whom to tell; never what."""
    flask.g.token = flask.g.get("token", "")
    return page("refused.html", frame(), 500, broken=True)


def unknown(code: int) -> flask.Response:
    """What a person is told who asked for an address that there is not: the same whether or not one is signed in."""
    if "account" not in flask.g:
        _recognise()
    return page("refused.html", frame(), code, missing=True)


def too_often(_: Exception) -> flask.Response:
    """What a person is told who asked more often than the rate allows."""
    return page("refused.html", frame(), 429, often=True)


def refused(error: HubError) -> flask.Response:
    """What a page could not do, in its own frame."""
    return page("refused.html", frame(), 409 if error.status == 500 else error.status, error=error)
