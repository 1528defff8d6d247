"""The 27 months played as nights of a real hub: a partner away for five of them, one bureau's list cut in another.

What each night must add, edit and withdraw is worked out by csv alone.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hub_parts import PHRASE, ROOT, Clock
from jp_parts import FILES, MONTHS, ORIGINS, UPDATED, Table, difference

from adapters.declaration import load
from adapters.declared import read_yaml
from hub import app, audit, partner
from hub.framework import parse_framework
from hub.keys import KeyRing
from hub.kinds import load_kinds, parse_kind
from hub.partner import Node, NodeFile
from hub.reconcile.deadlines import Calendar, Deadlines
from hub.settings import load as load_settings

HERE = Path(__file__).parent
PARTNER, AWAY, CUT, LEAST = "jp-99", range(5, 10), 12, 10
FIRST = datetime.fromisoformat("2017-05-01T02:00:00+08:00")


# --- what csv alone says ---


def bureau_of(rows: Table) -> dict[str, set[tuple[str, ...]]]:
    found: dict[str, set[tuple[str, ...]]] = {}
    for key in rows:
        found.setdefault(key[0], set()).add(key)
    return found


def victim() -> str:
    """The largest bureau of the month before that which is cut."""
    before = bureau_of(MONTHS[CUT - 2])
    return max(before, key=lambda name: (len(before[name]), name))


def months() -> Iterator[tuple[Table, tuple[int, int, int]]]:
    """Each month's list as it is dropped, and what must come of it: added, withdrawn, edited."""
    state: Table = {}
    for number, month in enumerate(MONTHS, 1):
        dropped = dict(month)
        if number == CUT:
            stood = sorted(bureau_of(state)[victim()])
            for key in stood[: len(stood) * 4 // 5]:
                dropped.pop(key, None)
            lost = len([key for key in stood if key not in dropped])
            assert len(stood) > LEAST and lost > 0.7 * len(stood)
        added, withdrawn, edited = difference(state, dropped, UPDATED)
        if number == CUT:
            # The cut bureau withdraws nothing; what its list still says counts.
            kept = {key: row for key, row in state.items() if key[0] == victim() and key not in dropped}
            withdrawn, state = withdrawn - len(kept), dropped | kept
        else:
            state = dropped
        yield dropped, (added, withdrawn, edited)


def test_honest_months_lose_at_most_what_is_allowed() -> None:
    losses = []
    for before, month in pairwise(MONTHS):
        for keys in bureau_of(before).values():
            if len(keys) > LEAST:
                losses.append(len(keys - month.keys()) / len(keys))
    assert max(losses) <= 0.64


# --- the nights ---


class Played(NamedTuple):
    hub: Any
    node: Node
    told: list[dict[str, Any]]
    open: list[list[Any]]
    copies: list[bool]


FRAMEWORK = """members:
{members}
  "jp-99": {{name: {{zh: 伙伴, en: Partner}}, tier: city, custody: self}}
agreements:
  list:
    name: {{zh: 公表, en: List}}
    basis: 協定
    in_force: 2016-01-01
    night: "02:00"
    freshness: 24 hours
    when_ended: keep
    members: [{codes}]
    shares:
      - {{kind: publication/1, from: all, to: all, groups: [{groups}], clause: 一, purpose: 公表, legal_basis: 法}}
"""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    base = tmp_path_factory.mktemp("nights")
    drops = base / "drops"
    drops.mkdir()
    settings = load_settings(ROOT / "config")
    publication = parse_kind(read_yaml(HERE / "jp_publication.yaml"))
    hub_kinds = {name: kind for name, kind in load_kinds(ROOT / "config" / "kinds").items() if name in app.HUB_KINDS}
    kinds = hub_kinds | {publication.name: publication}
    codes = sorted(ORIGINS.values())
    members = "\n".join(
        f'  "{code}": {{name: {{zh: {code}, en: {code}}}, tier: city, custody: custodial}}' for code in codes
    )
    listed = ", ".join(f'{{code: "{code}", joined: 2016-01-01}}' for code in [*codes, PARTNER])
    path = base / "framework.yaml"
    path.write_text(FRAMEWORK.format(members=members, codes=listed, groups=", ".join(publication.groups)))
    settings = replace(
        settings, kinds=kinds, framework=parse_framework(read_yaml(path), kinds), items={},
        declarations={"jp": load(HERE / "jp_labor_bureaus.yaml")}, deadlines=Deadlines({}, Calendar()),
    )  # fmt: skip
    clock, bound = Clock(), app.bind("127.0.0.1", 0)
    clock.at = FIRST - timedelta(hours=1)
    port = bound.getsockname()[1]
    settings = app.with_data(settings, base / "hub", "127.0.0.1", port)
    ring = app.make_keys(settings, base / "hub" / "keys", PHRASE, clock())
    card = app.card(settings, base / "hub" / "keys", f"http://127.0.0.1:{port}")
    keys = KeyRing(base / PARTNER / "keys", PHRASE)
    made = partner.init(base / PARTNER, NodeFile(card, PARTNER), keys, clock)
    hub = app.Hub(
        settings, base / "hub", ring, port=port, now=clock, connection=lambda code: {"directory": str(drops)},
        first_keys={PARTNER: made["first_key"]}, http_keys={PARTNER: [made["http_key"]]},
    )  # fmt: skip
    hub.announce()
    server = app.Server(hub.web(), bound, None)
    server.start()
    node = Node(base / PARTNER, keys, kinds, clock, timeout=60)
    found = Played(hub, node, [], [], [])
    try:
        for number, (path_, (rows, _)) in enumerate(zip(FILES, months(), strict=True), 1):
            clock.at = FIRST + timedelta(days=31 * (number - 1))
            header = next(csv.reader(path_.open(encoding="utf-8"), delimiter="\t"))
            with (drops / path_.name).open("w", encoding="utf-8-sig", newline="") as file:
                writer = csv.DictWriter(file, header, delimiter="\t")
                writer.writeheader()
                writer.writerows(rows.values())
            night = clock.at.date().isoformat()
            hub.reconcile("list", [night])
            found.told.append(hub.reports("list", night))
            found.open.append(hub.store.differences("list"))
            if number not in AWAY:
                node.pull()
            found.copies.append(node.copy.checkpoint() == hub.ledger.checkpoint() if node.copy_store.size() else False)
        yield found
    finally:
        server.stop()
        node.close()
        hub.close()


def test_each_night_adds_edits_and_withdraws_what_the_files_say(played: Played) -> None:
    expected = [counts for _, counts in months()]
    done = []
    for report in played.told:
        kinds = Counter(row["type"] for row in report["repairs"])
        done.append((kinds["missing"], kinds["vanished"], kinds["stale"]))
        assert report["repaired"] == kinds["missing"] + kinds["stale"] and report["retracted"] == kinds["vanished"]
    assert done == expected
    assert [report["compared"] for report in played.told] == [len(rows) for rows, _ in months()]


def test_the_bureau_that_was_cut_is_caught_named_and_loses_nothing(played: Played) -> None:
    for number, found in enumerate(played.open, 1):
        types = [each.type for each in found if each.type != "copy_behind"]
        assert types == (["unexpected_total"] if number == CUT else []), number
    code = ORIGINS[victim()]
    (report,) = (each for number, each in enumerate(played.told, 1) if number == CUT)
    assert not [row for row in report["repairs"] if (row["origin"], row["type"]) == (code, "vanished")]
    assert [row["type"] for row in report["differences"] if row["type"] == "unexpected_total"] == ["unexpected_total"]


def test_a_partner_that_was_away_is_told_behind_and_catches_up_by_itself(played: Played) -> None:
    assert played.copies == [number not in AWAY for number in range(1, len(MONTHS) + 1)]
    behind = [
        number for number, found in enumerate(played.open, 1) if any(each.type == "copy_behind" for each in found)
    ]
    # A month lies between two nights: each finds the copy a month old, and after its absence it is older.
    assert set(AWAY) <= set(behind)
    report = audit.fsck(played.node.copy, played.node.kinds, played.node.digest_key)
    assert report.problems == [] and played.node.beyond() == []


def test_the_copy_and_the_ledger_hold_the_last_list(played: Played) -> None:
    standing = {each.origin: each.standing for each in played.hub.store.series() if each.kind == "publication/1"}
    assert {code: n for code, n in standing.items() if n} == {
        ORIGINS[name]: len(keys) for name, keys in bureau_of(MONTHS[-1]).items()
    }
    assert len(list(played.node.records("publication/1"))) == len(MONTHS[-1])
    report = audit.fsck(played.hub.ledger, played.hub.settings.kinds, played.hub.digest_key)
    assert report.problems == []
