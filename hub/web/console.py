"""The console: the pages for people, put together from one module each; wording, order and drawing, no rule.

Rule 1. A strict content policy: own style and script files, nothing inline, nothing from elsewhere, forms to this origin.
Rule 2. No personal data stands in an address, and what a session saw is kept by no cache.
"""

import flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from hub.errors import HubError
from hub.web import agreements, differences, doors, journal, jurisdictions, ledger, nights, overview, records
from hub.web.page import Rooms, me, mine, rooms

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
LOGINS = "20 per minute"
SEARCHES = "60 per minute"


def _strict(reply: flask.Response) -> flask.Response:
    reply.headers["Content-Security-Policy"] = POLICY
    reply.headers["X-Content-Type-Options"] = "nosniff"
    # Not no-referrer: a browser then gives a form's origin as null.
    reply.headers["Referrer-Policy"] = "same-origin"
    if rooms().secure:
        reply.headers["Strict-Transport-Security"] = "max-age=31536000"
    reply.headers.setdefault("Cache-Control", "no-cache" if me() is None else "no-store")
    return reply


def unknown(code: int) -> flask.Response:
    """What a person is told who asked for an address that there is not, in a page as strict as every other."""
    return _strict(doors.unknown(code))


def add_console(app: flask.Flask, behind: Rooms) -> None:
    """Put the console at the root of an application."""
    console = flask.Blueprint(
        "console", __name__, template_folder="templates", static_folder="static", static_url_path="/static"
    )
    app.extensions["console"] = behind
    doors.doors(console)
    for module in (overview, jurisdictions, differences, records, nights, agreements, ledger, journal):
        module.pages(console)

    console.after_request(_strict)
    console.register_error_handler(HubError, doors.refused)
    console.register_error_handler(429, doors.too_often)
    app.register_blueprint(console)
    # Per process and address: the account's own waiting is what holds across processes.
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")
    app.view_functions["console.enter"] = limiter.limit(LOGINS)(  # type: ignore[assignment]
        app.view_functions["console.enter"]
    )
    # By account: who tries numbers until one is found is slowed down, wherever it sits.
    app.view_functions["console.search"] = limiter.limit(SEARCHES, key_func=lambda: mine().name)(  # type: ignore[assignment]
        app.view_functions["console.search"]
    )
