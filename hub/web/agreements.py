"""The framework in words: each agreement, its members, and who gives whom which groups under which clause."""

from collections.abc import Callable, Mapping

import flask

from hub.accounts import sees
from hub.errors import NotFound
from hub.framework import Framework, Selector
from hub.kinds import Kind
from hub.web.page import frame, mine, page, rooms, there, words
from hub.web.words import Words


def pages(console: flask.Blueprint) -> None:
    """Register the agreements and one agreement."""
    console.add_url_rule("/agreements", "agreements", _agreements)
    console.add_url_rule("/agreements/<name>", "agreement", _agreement)


def _framework() -> Framework:
    return there(rooms().framework)()


def _agreements() -> flask.Response:
    known = _framework()
    shown = [each for name, each in sorted(known.agreements.items()) if sees(mine(), (name,))]
    today = words(frame()).now.date()
    return page("agreements.html", frame(), agreements=shown, known=known, today=today)


def _agreement(name: str) -> flask.Response:
    known, now = _framework(), frame()
    found = known.agreements.get(name)
    if found is None or not sees(mine(), (name,)):
        raise NotFound("no such agreement", where=name, mend="see the list of agreements")
    said = words(now)
    today = said.now.date()
    codes = found.codes(today)
    # Who receives what of whom on this day, as every answer to a partner is cut.
    given = {
        (origin, to, kind): known.decide(kind, origin, to, today, name)
        for kind in sorted({share.kind for share in found.shares})
        for origin in codes
        for to in codes
        if origin != to
    }
    versions = rooms().versions
    return page(
        "agreement.html", now, a=found, versions=versions(name) if versions else [], known=known, codes=codes,
        today=today, given=given, kinds=rooms().kinds, whom=_whom(known, said), group=_group(rooms().kinds, said),
    )  # fmt: skip


def _whom(known: Framework, said: Words) -> Callable[[Selector], str]:
    """Words for whom a share means."""

    def worded(selector: Selector) -> str:
        if selector.how == "tier":
            return said("whom_tier", tier=said.word("tier", selector.what[0]))
        if selector.how in ("codes", "except"):
            names = [said.of(known.members[code].name) if code in known.members else code for code in selector.what]
            return said(f"whom_{selector.how}", names=said("list").join(names))
        return said.word("whom", selector.how)

    return worded


def _group(kinds: Mapping[str, Kind], said: Words) -> Callable[[str, str], str]:
    """What a group of a kind is called."""

    def worded(kind: str, group: str) -> str:
        return said.of(kinds[kind].group_labels[group]) if kind in kinds else group

    return worded
