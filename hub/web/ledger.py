"""The ledger's page: its head, its witnesses, who verified it last, its entries, and how to verify it by oneself."""

import flask

from hub.book import Book
from hub.web.page import ROWS, frame, page, rooms, there


def pages(console: flask.Blueprint) -> None:
    """Register the ledger's page and the trust file."""
    console.add_url_rule("/ledger", "ledger", _ledger)
    console.add_url_rule("/trust.json", "trust", _trust)


def _book() -> Book:
    return there(rooms().book)


def _ledger() -> flask.Response:
    book = _book()
    rows = book.entries(flask.request.args.get("before", type=int), ROWS)
    older = rows[-1]["index"] if rows and rows[-1]["index"] else None
    return page("ledger.html", frame(), head=book.head(), rows=rows, older=older, url=book.url)


def _trust() -> flask.Response:
    reply = flask.Response(_book().trust_file(), content_type="application/json")
    reply.headers["Content-Disposition"] = 'attachment; filename="trust.json"'
    return reply
