"""The overview and its plain forms: what the one status dict says, in Chinese and in English.

Rule 1. No rule lives here. A state, a count or a time is shown as the dict gives it; what it does not say is not said.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import flask
from prometheus_client import CONTENT_TYPE_LATEST

from hub.web.drawing import NARROW, WIDE, ems, network, shorten
from hub.web.metrics import metrics
from hub.web.page import me, page, rooms, status, words
from hub.web.words import STATES, look


def pages(console: flask.Blueprint) -> None:
    """Register the overview, status.json, healthz and metrics."""
    console.add_url_rule("/", "overview", _overview)
    console.add_url_rule("/status.json", "status_json", _status_json)
    console.add_url_rule("/healthz", "healthz", _healthz)
    console.add_url_rule("/metrics", "metrics_text", _metrics_text)


def worst_first(cities: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Jurisdictions by state, worst first; within a state by the oldest success; then by code."""

    def rank(city: Mapping[str, Any]) -> tuple[int, float, str]:
        last = city["last_success"]
        state = look(city["state"])
        return (
            STATES.index(state) if state in STATES else 0,
            datetime.fromisoformat(last).timestamp() if last else 0.0,
            city["code"],
        )

    return sorted(cities, key=rank)


def etag(status: Mapping[str, Any]) -> str:
    """The same while nothing changes within a minute, which is as fine as the page tells time."""
    plain = json.dumps({**status, "as_of": status["as_of"][:16]}, sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:32]


def _overview() -> flask.Response:
    now = status()
    said = words(now)
    cities = worst_first(now["jurisdictions"])
    by_state = Counter(city["state"] for city in cities)
    asked = flask.request.args.get("state")
    only = asked if asked in by_state else None
    names = {one["agreement"]: said.of(one["name"]) for one in now["night"]["agreements"]}
    shapes = {"wide": WIDE, "narrow": NARROW}
    by_code = sorted(cities, key=lambda city: str(city["code"]))  # a box keeps its place, whatever its state
    return page(
        "overview.html",
        now,
        etag=etag(now),
        to=_to,
        shorten=shorten,
        ems=ems,
        cities=[city for city in cities if only is None or city["state"] == only],
        total=len(cities),
        by_state=[(state, by_state[state]) for state in sorted(by_state, key=_order)],
        only=only,
        worst=cities[0] if cities and look(cities[0]["state"]) != "on_time" else None,
        city_names={city["code"]: said.of(city["name"]) for city in cities},
        drawings={key: network(by_code, names, said("no_agreement"), shape, said.word) for key, shape in shapes.items()},
        copies={copy["partner"]: copy for copy in now.get("copies", [])},
    )


def _to(code: str) -> str:
    """Where a jurisdiction is told of: its page, or for the public its row."""
    return flask.url_for("console.jurisdiction", code=code) if me() else f"#j-{code}"


def _order(state: str) -> int:
    return STATES.index(state) if state in STATES else -1


def _status_json() -> flask.Response:
    now = status()
    reply = flask.Response(json.dumps(now, ensure_ascii=False), mimetype="application/json")
    reply.set_etag(etag(now), weak=True)
    return reply.make_conditional(flask.request)  # type: ignore[return-value]


def _healthz() -> tuple[flask.Response, int]:
    good, what = rooms().healthy()
    return flask.jsonify(ok=good, what=what), 200 if good else 503


def _metrics_text() -> flask.Response:
    return flask.Response(metrics(status(), rooms().healthy()[0]), content_type=CONTENT_TYPE_LATEST)
