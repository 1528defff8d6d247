"""The journal: who signed in, looked at what and changed what, the newest first."""

import flask

from hub.pauses import REASONS
from hub.store.base import Noted
from hub.web.page import ROWS, city_name, frame, kind_word, page, rooms, words
from hub.web.words import Words


def pages(console: flask.Blueprint) -> None:
    """Register the journal."""
    console.add_url_rule("/journal", "journal", _journal)


def _journal() -> flask.Response:
    held = rooms().accounts
    assert held is not None
    asked = {name: flask.request.args[name] for name in ("who", "what", "about") if flask.request.args.get(name)}
    rows = held.journal(ROWS + 1, flask.request.args.get("before", type=int), **asked)
    older = rows[ROWS - 1].number if len(rows) > ROWS else None
    now = frame()
    said = words(now)
    return page(
        "journal.html", now, rows=rows[:ROWS], older=older, asked=asked, about=lambda what: _about(said, what),
        detail=lambda row: _detail(said, row), by=lambda who: _by(said, who),
    )  # fmt: skip


def _by(said: Words, who: str) -> str:
    """Who did it: an account by its name, or an operator at the command line, whose name no account can have."""
    how, _, name = who.partition(" ")
    return f"{said.word('by', how)} {name}" if name else who


def _about(said: Words, about: str) -> str:
    """What a line is about: an account, a jurisdiction, how many records, or one record by kind, jurisdiction and id."""
    what, _, rest = about.partition(" ")
    if what in rooms().kinds:
        origin, _, id = rest.partition(" ")
        return f"{kind_word(said, what)} {said.of(city_name(origin))} {id}"
    if what == "jurisdiction":
        rest = said.of(city_name(rest))
    return said("no_account") if about == "no account" else f"{said.word('about', what)} {rest}".strip()


def _detail(said: Words, row: Noted) -> str:
    """What a line adds; a word that is none of this hub's stands as it was noted."""
    if row.what == "user_added":
        return said.word("role", row.detail)
    if row.what == "paused":
        reason, _, until = row.detail.partition(" until ")
        told = said.of(REASONS.get(reason, {"zh": reason}))
        return f"{told} · {said('paused_until', day=said.day(until))}" if until else told
    if row.what == "user_changed":
        return said("list").join(said.word("changed", name) for name in row.detail.split())
    if row.what in ("look", "search", "evidence"):
        seen, _, rev = row.detail.partition("rev ")
        parts = [_seen(said, row.about.partition(" ")[0], part) for part in seen.split()]
        return said("list").join([*parts, *([said("rev_n", rev=rev)] if rev else [])])
    return row.detail


def _seen(said: Words, kind: str, part: str) -> str:
    """A group that was shown, by its kind's label; a record of a list; or that it was seen beside a difference."""
    kinds = rooms().kinds
    if part.count(":") == 2:
        name, origin, id = part.split(":")
        return f"{kind_word(said, name)} {said.of(city_name(origin))} {id}"
    # Of a list no one kind is noted: a group is called as the first kind that has it calls it.
    of = [kinds[kind]] if kind in kinds else kinds.values()
    label = next((each.group_labels[part] for each in of if part in each.group_labels), None)
    return said.of(label) if label else said("difference") if part == "difference" else part
