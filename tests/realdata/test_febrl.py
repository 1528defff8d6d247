"""Two lists of 5,000 persons with known true pairs (FEBRL 4a and 4b), matched by declared settings and judged by rec_id."""

import csv
from pathlib import Path

import pytest
from shared_data import shared

from adapters.declared import check, read_yaml
from hub.reconcile.match import MatchYaml, match, rule_of

FOLDER = shared("febrl")
SETTINGS = Path(__file__).with_name("febrl.yaml")


def people(name):
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return [{key.strip(): value.strip() for key, value in row.items()} for row in csv.DictReader(file)]


def rule(*without):
    """The declared rule; `without` a field, nothing that looks at it is left."""
    doc = read_yaml(SETTINGS)
    found = check(doc, MatchYaml(), ("with_id",))
    found["block"] = [keys for keys in found["block"] if not {key.field for key in keys} & set(without)]
    found["compare"] = [each for each in found["compare"] if each["field"] not in without]
    return rule_of(found)


def f1(found, left, right):
    def number(row):
        return row["rec_id"].split("-")[1]

    good = sum(number(left[each.left]) == number(right[each.right]) for each in found)
    return 2 * good / (len(found) + len(left))


@pytest.mark.parametrize(("without", "least"), [((), 0.999), (("soc_sec_id",), 0.995)])
def test_true_pairs_are_found_with_and_without_the_number(without, least):
    left, right = people("dataset4a.csv"), people("dataset4b.csv")
    chosen = rule(*without)
    found = [each for each in match(chosen, left, right) if each.score >= chosen.same]
    assert f1(found, left, right) >= least
    assert len({each.left for each in found}) == len({each.right for each in found}) == len(found)
