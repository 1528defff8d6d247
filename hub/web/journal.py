"""The journal: who signed in, looked at what and changed what, the newest first."""

import flask

from hub.web.page import ROWS, frame, page, rooms


def pages(console: flask.Blueprint) -> None:
    """Register the journal."""
    console.add_url_rule("/journal", "journal", _journal)


def _journal() -> flask.Response:
    held = rooms().accounts
    assert held is not None
    asked = {name: flask.request.args[name] for name in ("who", "what", "about") if flask.request.args.get(name)}
    rows = held.journal(ROWS + 1, flask.request.args.get("before", type=int), **asked)
    older = rows[ROWS - 1].number if len(rows) > ROWS else None
    return page("journal.html", frame(), rows=rows[:ROWS], older=older, asked=asked)
