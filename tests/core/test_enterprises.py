"""Generated enterprises: the truth holds, the dirt is there, and matching finds what it can."""

import sys
from pathlib import Path

from adapters.sample.enterprises import registers
from hub.reconcile.match import MatchYaml, candidates, match, rule_of

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))


def test_half_is_shared_and_written_otherwise_the_same_for_the_same_seed():
    left, right = registers(400)
    assert (left, right) == registers(400) and registers(400, "other") != (left, right)
    ours, theirs = ({each.truth: each.fields for each in side} for side in (left, right))
    both = ours.keys() & theirs.keys()
    assert len(ours) == len(theirs) == 400 and len(both) == 200
    changed = {name: sum(ours[n].get(name) != theirs[n].get(name) for n in both) for name in ("name", "uscc", "street")}
    assert changed["name"] > 80 and changed["uscc"] > 40 and 10 < changed["street"] < 60
    assert [each.truth for each in left] != sorted(each.truth for each in left)


def test_what_a_block_brings_together_is_told_apart():
    from linkage import ENTERPRISES

    left, right = registers(3_000)
    rule = rule_of(MatchYaml().load(ENTERPRISES))
    sides = [each.fields for each in left], [each.fields for each in right]

    def true(pairs):
        return sum(left[one].truth == right[other].truth for one, other in pairs)

    found = [(each.left, each.right) for each in match(rule, *sides)]
    reachable = true(candidates(rule, *sides, {}))
    assert reachable > 0.94 * 1_500 and true(found) > 0.97 * reachable and true(found) > 0.98 * len(found)
