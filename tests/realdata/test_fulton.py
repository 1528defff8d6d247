"""The same 6,475 inspections in two formats, through two declared adapters into one origin and one kind.

What must come of them is worked out here by csv, json and html alone, never by the mapping.
"""

import csv
import html
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from intake_parts import SmallHub
from shared_data import shared

from adapters.declaration import Declaration, load
from adapters.declared import read_yaml
from hub.intake import Outcome
from hub.kinds import parse_kind

DATA = shared("fulton_county_ga")
HERE = Path(__file__).parent
KIND = parse_kind(read_yaml(HERE / "fulton_inspection.yaml"))
FORM, PORTAL = load(HERE / "fulton_form.yaml"), load(HERE / "fulton_json.yaml")
ORIGIN, ROWS = "us-13121", 6_475

Bodies = list[dict[str, Any]]


def table(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


FORM_ROWS = table("form_data_2014_2015.csv")
PORTAL_ROWS = table("inspections_fromJSON_2014_2015.csv")


def folded(text: str) -> str:
    return " ".join(html.unescape(text).split())


def expected() -> Bodies:
    return [
        {
            "business": row["business_id"],
            "name": folded(row["name"]),
            "address": folded(row["address"]),
            "city": folded(row["city"]),
            "state": row["state"],
            "postal_code": row["postal_code"],
            "inspected_on": row["date"].replace("/", "-"),
            "score": int(row["score"]),
        }
        for row in FORM_ROWS
    ]


def counted(bodies: Bodies) -> Counter[tuple[tuple[str, Any], ...]]:
    return Counter(tuple(sorted(body.items())) for body in bodies)


class Fed(NamedTuple):
    """The hub after both pulls, and what each of them did and left."""

    hub: SmallHub
    outcomes: list[Outcome]
    views: list[Bodies]
    heads: list[bytes]


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fed]:
    hub = SmallHub(tmp_path_factory.mktemp("fulton"), KIND, {ORIGIN})
    found = Fed(hub, [], [], [])
    for declaration in (FORM, PORTAL):
        found.outcomes.append(hub.pull(declaration, DATA))
        assert {origin for origin, _ in hub.view()} == {ORIGIN}
        found.views.append([body for _, body in hub.view()])
        found.heads.append(hub.ledger.checkpoint()[0])
    yield found
    hub.store.close()


def test_the_data_are_one_list_in_two_formats() -> None:
    assert len(FORM_ROWS) == len(PORTAL_ROWS) == ROWS
    keys = Counter((row["business_id"], row["date"]) for row in FORM_ROWS)
    assert sum(count > 1 for count in keys.values()) == 19
    assert FORM.feeds[0].origins == PORTAL.feeds[0].origins == (ORIGIN,)


def test_the_first_pull_stores_every_inspection(fed: Fed) -> None:
    pull = fed.outcomes[0].pull
    assert (pull.state, pull.problem) == ("succeeded", "")
    assert (pull.read, pull.stored, pull.unchanged, pull.retracted, pull.quarantined) == (ROWS, ROWS, 0, 0, 0)
    assert counted(fed.views[0]) == counted(expected())
    assert [(each.standing, each.retracted) for each in fed.hub.store.series()] == [(ROWS, 0)]


def test_the_second_pull_through_the_other_adapter_finds_no_change(fed: Fed) -> None:
    pull = fed.outcomes[1].pull
    assert (pull.state, pull.problem) == ("succeeded", "")
    assert (pull.read, pull.stored, pull.unchanged, pull.retracted, pull.quarantined) == (ROWS, 0, ROWS, 0, 0)
    assert fed.views[0] == fed.views[1] and fed.heads[0] == fed.heads[1]


def without(folder: Path, *words: str) -> Declaration:
    """The portal's adapter with these words taken out of its file."""
    text = (HERE / "fulton_json.yaml").read_text("utf-8")
    for word in words:
        assert word in text
        text = text.replace(word, "")
    path = folder / "fulton.yaml"
    path.write_text(text, "utf-8")
    return load(path)


def test_each_declared_normalisation_is_what_makes_the_two_equal(fed: Fed, tmp_path: Path) -> None:
    """Counted against the store by trial: what a reading without one of them would revise."""
    entities = sum(unlike(row, html.unescape) for row in PORTAL_ROWS)
    blanks = sum(unlike(row, lambda text: " ".join(text.split())) for row in PORTAL_ROWS)
    assert entities and blanks
    for words, revised in [(["entities, "], entities), ([", blanks"], blanks), (["    null: [NA]\n"], ROWS)]:
        (feed,) = without(tmp_path, *words).feeds
        found = fed.hub.trial(feed, DATA)
        assert (found["revised"], found["new"], found["absent"]) == (revised, 0, 0), words
        assert found["unchanged"] == ROWS - revised


def unlike(row: dict[str, str], step: Any) -> bool:
    """Whether a step of normalisation changes the row's name, address or city beyond trimming."""
    place = json.loads(row["human_address"])
    return any(step(text).strip() != text.strip() for text in (row["name"], place["address"], place["city"]))


def test_the_ordinal_keeps_two_inspections_of_one_day_apart(fed: Fed) -> None:
    twice = [row for row in FORM_ROWS if (row["business_id"], row["date"]) == ("(1-96)", "2014/04/29")]
    key = ("(1-96)", "2014-04-29")
    scores = {body["score"] for body in fed.views[1] if (body["business"], body["inspected_on"]) == key}
    assert scores == {int(row["score"]) for row in twice} == {83, 87}


def test_fifty_edits_are_found_and_nothing_else(fed: Fed, tmp_path: Path) -> None:
    """Scores of 50 rows changed in the other format: exactly these records are revised, each by what it was."""
    draw = random.Random(50)
    rows = [dict(row) for row in PORTAL_ROWS]
    chosen = set(draw.sample(range(ROWS), 50))
    for n in chosen:
        rows[n]["score"] = str(int(rows[n]["score"]) + (1 if int(rows[n]["score"]) < 100 else -1))
    path = tmp_path / "inspections_fromJSON_edited.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    hub = SmallHub(tmp_path / "hub", KIND, {ORIGIN})
    hub.pull(FORM, DATA)
    before = dict(hub.by_id())
    outcome = hub.pull(PORTAL, tmp_path)
    pull = outcome.pull
    assert (pull.read, pull.stored, pull.unchanged, pull.retracted, pull.quarantined) == (ROWS, 50, ROWS - 50, 0, 0)
    assert (outcome.changed.count, outcome.added.count, len({each.id for each in outcome.changed.first})) == (50, 0, 50)
    after = dict(hub.by_id())
    found = Counter(
        (before[id]["business"], before[id]["inspected_on"], before[id]["score"], after[id]["score"])
        for _, _, id in outcome.changed.first
    )
    assert found == Counter(
        (PORTAL_ROWS[n]["business_id"], PORTAL_ROWS[n]["date"][:10], int(PORTAL_ROWS[n]["score"]), int(rows[n]["score"]))
        for n in chosen
    )
    assert {id for id in before if before[id] != after[id]} == {each.id for each in outcome.changed.first}
    hub.store.close()


def test_fsck_verify_and_rebuild_agree(fed: Fed) -> None:
    checked, verified, changed = fed.hub.audited()
    assert (checked.problems, verified.problems, changed) == ([], [], [])
    assert checked.records == verified.records == ROWS
