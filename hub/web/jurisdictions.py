"""A jurisdiction's page: how it stands and is read, what was set aside; sync now with live progress, pause and resume."""

import hashlib
import json
from datetime import timedelta

import flask

from hub.web.page import JurisdictionsLike, frame, mine, page, rooms, sheet, there, words
from hub.web.words import Words


def pages(console: flask.Blueprint) -> None:
    """Register the page, its progress, and what a coordinator does there."""
    console.add_url_rule("/jurisdictions/<code>", "jurisdiction", _jurisdiction)
    console.add_url_rule("/jurisdictions/<code>/progress.json", "progress_json", _progress)
    console.add_url_rule("/jurisdictions/<code>/sync", "sync", _sync, methods=["POST"])
    console.add_url_rule("/jurisdictions/<code>/pause", "pause", _pause, methods=["POST"])
    console.add_url_rule("/jurisdictions/<code>/resume", "resume", _resume, methods=["POST"])


def _room() -> JurisdictionsLike:
    return there(rooms().jurisdictions)


def _jurisdiction(code: str) -> flask.Response:
    told, now = _room()(mine(), code), frame()
    said = words(now)
    return page(
        "jurisdiction.html",
        now,
        j=told,
        city=told["row"],
        aside=sheet(told["quarantine"]),
        tomorrow=(said.now + timedelta(days=1)).date().isoformat(),
        by=lambda who: _by(said, who),
    )


def _by(said: Words, who: str) -> str:
    """Who began a run: the schedule, a night, a node, the operator, or an account by its name."""
    how, _, what = who.partition(" ")
    return said.word("by", how) + (f" {what}" if what else "")


def _progress(code: str) -> flask.Response:
    text = json.dumps(_room().progress(mine(), code))
    reply = flask.Response(text, mimetype="application/json")
    reply.set_etag(hashlib.sha256(text.encode()).hexdigest()[:32])
    return reply.make_conditional(flask.request)  # type: ignore[return-value]


def _sync(code: str) -> flask.Response:
    _room().sync(mine(), code)
    return _back(code)


def _pause(code: str) -> flask.Response:
    form = flask.request.form
    _room().pause(mine(), code, form.get("reason", ""), form.get("until", ""))
    return _back(code)


def _resume(code: str) -> flask.Response:
    _room().resume(mine(), code)
    return _back(code)


def _back(code: str) -> flask.Response:
    return flask.make_response(flask.redirect(flask.url_for("console.jurisdiction", code=code), 303))
