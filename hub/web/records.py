"""The records pages: looking for records, one record with its history and provenance, and its evidence to take along.

Rule 1. What is typed comes by POST and is remembered by its room; an address carries kinds, jurisdictions, days and what to
ask by alone.
"""

from dataclasses import fields, replace

import flask
from werkzeug.wrappers import Response as AnyResponse

from hub.records import Records
from hub.searching import Asked
from hub.web.page import frame, mine, page, rooms, there

_SAFE = ("kind", "origin", "since", "until")
ASKED = "q"


def pages(console: flask.Blueprint) -> None:
    """Register search, record and evidence."""
    one = "/records/<kind>/<origin>/<id>"
    console.add_url_rule("/records", "records", _records)
    console.add_url_rule("/records", "search", _search, methods=["POST"])
    console.add_url_rule(one, "record", _record)
    console.add_url_rule(f"{one}/evidence", "evidence", _evidence)


def _room() -> Records:
    return there(rooms().records)


def _records() -> flask.Response:
    room, args = _room(), flask.request.args
    asked: Asked | None = Asked(**{name: args.get(name, "") for name in _SAFE})
    if args.get(ASKED):
        asked = room.recall(mine(), args[ASKED])
    forgotten = asked is None
    asked = asked or Asked()
    choices = room.choices(mine())
    wrong = room.check(asked, choices)
    # Nothing is shown before it is asked for: the menu alone is no look at anybody's party.
    seen = not forgotten and not wrong and any(name in args for name in ("page", ASKED, *_SAFE))
    found = room.search(mine(), asked, args.get("page", 1, type=int)) if seen else None
    return page("records.html", frame(), 400 if wrong else 200, asked=asked, found=found, wrong=wrong, forgotten=forgotten,
                choices=choices)  # fmt: skip


def _search() -> flask.Response | AnyResponse:
    room, form = _room(), flask.request.form
    asked = Asked(**{field.name: form.get(field.name, "").strip() for field in fields(Asked)})
    told = {name: getattr(asked, name) for name in _SAFE if getattr(asked, name)}
    if asked != replace(asked, words="", item="") or room.check(asked, room.choices(mine())):
        # What cannot be is remembered too: whatever was typed, none of it is an address.
        told = {ASKED: room.remember(mine(), asked)}
    return flask.redirect(flask.url_for("console.records", page=1, _anchor="found", **told), 303)


def _record(kind: str, origin: str, id: str) -> flask.Response:
    args = flask.request.args
    found = _room().record(mine(), kind, origin, id, args.get("page", 1, type=int), check=args.get("check") == "1")
    return page("record.html", frame(), r=found, short=kind, tiles_open=rooms().tiles_open)


def _evidence(kind: str, origin: str, id: str) -> flask.Response:
    bundle = _room().evidence(mine(), kind, origin, id)
    reply = flask.make_response(flask.json.dumps(bundle, ensure_ascii=False, indent=1))
    reply.headers["Content-Type"] = "application/json"
    reply.headers["Content-Disposition"] = f'attachment; filename="evidence-{kind}-{origin}-{id}.json"'
    return reply
