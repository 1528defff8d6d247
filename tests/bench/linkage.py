"""Matching, side by side in one run: `python3 run.py bench linkage [--rows N] [--rounds R] [--json]`.

F1 and the median of seconds of ours, recordlinkage and Splink: on FEBRL 4a/4b with and without the number (where the data
is at hand), and on generated enterprises, `--rows` a side, each tool over the very same blocks. The others' pairs are
assigned one to one too, best first, so that what is compared is the scoring.
"""

import argparse
import csv
import json
import logging
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from adapters.declared import check, read_yaml
from adapters.sample.enterprises import registers
from hub.reconcile.match import MatchRule, MatchYaml, block_values, candidates, match, rule_of

ROOT = Path(__file__).resolve().parents[2]
Rows = list[dict[str, str]]
ENTERPRISES = {
    "id": "enterprises",
    "kind": "enterprise/1",
    "block": [
        ["uscc"],
        [{"field": "name", "how": "name", "first": 3}, "town"],
        [{"field": "name", "how": "name", "first": 4}],
        ["legal_rep", "town"],
        ["legal_rep", {"field": "name", "how": "name", "first": 2}],
        ["town", "street", "number"],
    ],
    "compare": [
        {"field": "uscc", "how": "digits", "weight": 6},
        {"field": "name", "how": "name", "weight": 5},
        {"field": "legal_rep", "how": "exact", "weight": 3},
        {"field": "number", "how": "exact", "weight": 2},
        {"field": "town", "how": "exact", "weight": 1},
        {"field": "street", "how": "exact", "weight": 1},
    ],
    "same": "0.5",
    "ask": "0.5",
}


def one_to_one(scored: Iterable[tuple[float, int, int]]) -> list[tuple[int, int]]:
    """The best pairs, each row once."""
    found, left, right = [], set(), set()
    for _, one, other in sorted(scored, key=lambda each: (-each[0], each[1], each[2])):
        if one not in left and other not in right:
            left.add(one)
            right.add(other)
            found.append((one, other))
    return found


def ours(rule: MatchRule, left: Rows, right: Rows) -> list[tuple[int, int]]:
    return [(each.left, each.right) for each in match(rule, left, right) if each.score >= rule.same]


def by_recordlinkage(rule: MatchRule, left: Rows, right: Rows) -> list[tuple[int, int]]:
    """recordlinkage: its comparisons of the same fields and its unsupervised ECM classifier."""
    import pandas
    import recordlinkage

    pairs = pandas.MultiIndex.from_tuples(candidates(rule, left, right, {}))
    frames = [pandas.DataFrame(rows).reindex(columns=[each.field for each in rule.compare]) for rows in (left, right)]
    compare = recordlinkage.Compare()
    for each in rule.compare:
        if each.how in ("exact", "item"):
            compare.exact(each.field, each.field, label=each.field)
        else:
            compare.string(each.field, each.field, method="jarowinkler", threshold=0.85, label=each.field)
    features = compare.compute(pairs, *frames)
    binary = (features > 0).astype(int)
    machine = recordlinkage.ECMClassifier()
    machine.fit(binary)
    likely = machine.prob(binary)
    return one_to_one((float(p), int(a), int(b)) for (a, b), p in likely.items() if p >= 0.5)


def by_splink(rule: MatchRule, left: Rows, right: Rows) -> list[tuple[int, int]]:
    """Splink on DuckDB: Jaro–Winkler and exact levels, u by sampling, m by expectation maximisation, no label used."""
    import pandas
    import splink.comparison_library as library
    from splink import DuckDBAPI, Linker, SettingsCreator, block_on

    logging.getLogger("splink").setLevel(logging.ERROR)
    database, tables = DuckDBAPI(), []
    blocks = [f"block_{n}" for n in range(len(rule.block))]
    for name, rows in (("left_side", left), ("right_side", right)):
        frame = pandas.DataFrame(rows).reindex(columns=[each.field for each in rule.compare])
        frame = frame.where(frame.notna() & (frame != ""), None)
        for block, keys in zip(blocks, rule.block, strict=True):
            column: list[str | None] = [None] * len(rows)
            for values, n in block_values(rows, keys, {}):
                column[n] = "|".join(values)
            frame[block] = column
        frame["unique_id"] = range(len(rows))
        tables.append(database.register(frame, dataset_display_name=name))
    comparisons = [
        library.ExactMatch(each.field)
        if each.how in ("exact", "item")
        else library.JaroWinklerAtThresholds(each.field, [0.92, 0.8])
        for each in rule.compare
    ]
    settings = SettingsCreator(
        link_type="link_only", comparisons=comparisons, retain_matching_columns=False,
        blocking_rules_to_generate_predictions=[block_on(block) for block in blocks],
        probability_two_random_records_match=0.5 / len(left),
    )  # fmt: skip
    linker = Linker(tables, settings, log_level=logging.ERROR)
    linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
    # Each training block leaves the other comparisons free, so that every one is trained.
    for block in blocks:
        linker.training.estimate_parameters_using_expectation_maximisation(block_on(block), record_sample_proportion=1.0)
    found = linker.inference.predict(threshold_match_probability=0.5).as_pandas_dataframe()
    sides = zip(found["match_probability"], found["unique_id_l"], found["unique_id_r"], strict=True)
    return one_to_one((float(p), int(a), int(b)) for p, a, b in sides)


TOOLS: dict[str, Callable[[MatchRule, Rows, Rows], list[tuple[int, int]]]] = {
    "ours": ours,
    "recordlinkage": by_recordlinkage,
    "splink": by_splink,
}


def measure(
    name: str, rule: MatchRule, left: Rows, right: Rows, truth: set[tuple[int, int]], rounds: int
) -> dict[str, Any]:
    """F1 and median seconds of every tool; one that cannot run says why."""
    row: dict[str, Any] = {"data": name, "rows": len(left)}
    for tool, run in TOOLS.items():
        seconds, found = [], []
        try:
            for _ in range(rounds):
                began = time.perf_counter()
                found = run(rule, left, right)
                seconds.append(time.perf_counter() - began)
        except Exception as error:  # another version of a library, or none: said, not hidden
            row[tool] = f"{type(error).__name__}: {str(error)[:100]}"
            continue
        good = len(truth & set(found))
        f1 = 2 * good / max(len(found) + len(truth), 1)
        row[tool] = {"f1": round(f1, 4), "seconds": round(statistics.median(seconds), 2)}
    return row


def febrl(without: str | None) -> tuple[MatchRule, Rows, Rows, set[tuple[int, int]]] | None:
    named = os.environ.get("CROSSREGION_SHARED")
    folder = (Path(named) if named else ROOT.parent / "shared" / "data") / "febrl"
    if not folder.is_dir():
        return None
    sides = []
    for name in ("dataset4a.csv", "dataset4b.csv"):
        with (folder / name).open(encoding="utf-8", newline="") as file:
            sides.append([{k.strip(): v.strip() for k, v in row.items()} for row in csv.DictReader(file)])
    numbers = [[row.pop("rec_id").split("-")[1] for row in side] for side in sides]
    places = {number: n for n, number in enumerate(numbers[1])}
    found = check(read_yaml(ROOT / "tests" / "realdata" / "febrl.yaml"), MatchYaml(), ("with_id",))
    if without:
        found["block"] = [keys for keys in found["block"] if without not in {key.field for key in keys}]
        found["compare"] = [each for each in found["compare"] if each["field"] != without]
    return rule_of(found), *sides, {(n, places[number]) for n, number in enumerate(numbers[0])}


def main() -> None:
    parser = argparse.ArgumentParser(prog="run.py bench linkage")
    parser.add_argument("--rows", type=int, default=100_000, help="enterprises a side")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name, without in (("FEBRL 4 with the number", None), ("FEBRL 4 without", "soc_sec_id")):
        given = febrl(without)
        rows.append(measure(name, *given, options.rounds) if given else {"data": name, "rows": "data not here"})
    left, right = registers(options.rows)
    places = {each.truth: n for n, each in enumerate(right)}
    truth = {(n, places[each.truth]) for n, each in enumerate(left) if each.truth in places}
    rule = rule_of(MatchYaml().load(ENTERPRISES))
    rows.append(
        measure("enterprises", rule, [e.fields for e in left], [e.fields for e in right], truth, options.rounds)
    )
    if options.json:
        print(json.dumps({"linkage": rows}, ensure_ascii=False))
        return
    for row in rows:
        print(f"{row['data']}, {row['rows']} a side, median of {options.rounds}")
        for tool in TOOLS:
            if tool in row:
                told = row[tool]
                print(f"  {tool:14} " + (told if isinstance(told, str) else f"F1 {told['f1']:.4f}  {told['seconds']:6.2f} s"))


if __name__ == "__main__":
    sys.exit(main())
