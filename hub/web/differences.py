"""The worklist: what nights could not settle, gravest first, and the page on which one difference is decided.

Rule 1. A filter is a link, a decision a form. Rule 2. A decision rests on what the person saw: one that changed meanwhile is
shown again. Rule 3. An account sees its agreements' differences, and works on those of the jurisdictions it works for.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import flask

from hub.accounts import works_for
from hub.decisions import MOVED, Worklist, basis_of
from hub.errors import HubError, NotFound
from hub.reconcile.worklist import SEVERITIES, Difference
from hub.web.doors import forbidden
from hub.web.page import frame, mine, page, rooms, sheet, there

MOST_SIDES = 4
"""Records that stand beside each other; of more there are links."""
FILTERS = ("agreement", "severity", "type", "origin", "state", "assigned")
_OF: dict[str, Callable[[Difference], Iterable[str]]] = {
    "agreement": lambda row: (row.agreement,),
    "severity": lambda row: (row.severity,),
    "type": lambda row: (row.type,),
    "origin": lambda row: {ref.origin for ref in row.refs},
    "state": lambda row: (row.state,),
    "assigned": lambda row: (row.assigned,) if row.assigned else (),
}


def pages(console: flask.Blueprint) -> None:
    """Register the worklist, a difference, and what may be done with it."""
    console.add_url_rule("/differences", "differences", _list)
    console.add_url_rule("/differences/<identity>", "difference", _one)
    console.add_url_rule("/differences/<identity>/decide", "decide", _decide, methods=["POST"])
    console.add_url_rule("/differences/<identity>/assign", "assign", _assign, methods=["POST"])


def _work() -> Worklist:
    return there(rooms().worklist)


def _asked() -> dict[str, str]:
    return {name: flask.request.args[name] for name in FILTERS if flask.request.args.get(name)}


def _fits(row: Difference, asked: dict[str, str]) -> bool:
    return all(value in _OF[name](row) for name, value in asked.items())


def _list() -> flask.Response:
    work, asked = _work(), _asked()
    closed = flask.request.args.get("closed") == "1" or asked.get("state") in ("verified", "closed")
    rows = work.rows(mine().agreements, closed=closed)
    found = [row for row in rows if _fits(row, asked)]
    # What another choice of one filter would leave, the others kept.
    counts = {
        name: Counter(
            value for row in rows if _fits(row, {k: v for k, v in asked.items() if k != name}) for value in _OF[name](row)
        )
        for name in FILTERS
    }
    counts["severity"] = Counter({name: counts["severity"][name] for name in SEVERITIES if counts["severity"][name]})
    shown = sheet(found)
    told = [work.told(row) for row in shown.rows]
    return page("differences.html", frame(), work=work, asked=asked, counts=counts, sheet=shown, rows=told, closed=closed)


def _found(identity: str) -> Difference:
    """The difference, if it is of an agreement of the reader's."""
    row = _work().find(identity)
    if mine().agreements and row.agreement not in mine().agreements:
        raise NotFound("no such difference", where=f"difference {identity}", mend="see the worklist")
    return row


def _may_work(row: Difference) -> bool:
    return works_for(mine(), (ref.origin for ref in row.refs))


def _one(identity: str) -> flask.Response:
    work, row = _work(), _found(identity)
    may_work = flask.g.is_coordinator and _may_work(row)
    if may_work and row.state == "opened":
        row = work.decisions.see(row.identity, mine().name)
    queue = [each.identity for each in work.rows(mine().agreements) if _fits(each, _asked())]
    place = queue.index(row.identity) if row.identity in queue else -1
    choices, reasons = work.choices(row)
    refs = [(ref.origin, ref.kind, ref.id) for ref in row.refs[:MOST_SIDES] if ref.rev]
    records = rooms().records
    sides = records.sides(mine(), refs) if records and refs else []
    return page(
        "difference.html",
        frame(),
        work=work,
        d=work.told(row),
        row=row,
        history=work.history(row),
        may_work=may_work,
        sides=sides,
        refs=refs,
        choices=choices,
        reasons=reasons,
        basis=basis_of(row),
        asked=_asked(),
        place=place + 1,
        queue=len(queue),
        before=queue[place - 1] if place > 0 else None,
        after=queue[place + 1] if 0 <= place < len(queue) - 1 else None,
    )


def _decide(identity: str) -> flask.Response:
    form = flask.request.form
    return _do(
        identity, "decided",
        lambda row: _work().decisions.decide(
            row.identity, form.get("decision", ""), form.get("reason", ""), mine().name, form.get("basis", "")
        ),
    )  # fmt: skip


def _assign(identity: str) -> flask.Response:
    to = flask.request.form.get("to", "").strip() or mine().name
    return _do(identity, "assigned", lambda row: _work().decisions.assign(row.identity, to, mine().name))


def _do(identity: str, done: str, step: Callable[[Difference], Difference]) -> flask.Response:
    row = _found(identity)
    if not _may_work(row):
        return forbidden()
    try:
        step(row)
    except HubError as error:
        if error.what != MOVED:
            raise
        done = "moved"
    query: dict[str, Any] = {"identity": row.identity, "done": done, **_asked()}
    where = flask.url_for("console.difference", **query)
    return flask.make_response(flask.redirect(where, 303))
