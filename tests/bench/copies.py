"""A partner's copy against the hub: `python3 run.py bench copies [--records N] [--rounds R] [--data-diff PYTHON] [--json]`.

The same N inspections stand on a ledger and on a copy of it. Measured: what it takes to know that both are equal (the hub's
signed checkpoint travels, the copy's root is computed from its tiles), and to name the one entry whose record was damaged.
Beside it PyPI data-diff 0.11 over two DuckDB tables of the same ids and content digests, where `--data-diff` names a Python
that has it (`pip install --no-deps data-diff`, then its imports; its own requirements no longer resolve beside others), and
negentropy's published cost for a million rows: 338 bytes and one round trip where nothing differs, 1.36 MB and three round
trips where a thousand do.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from bench import YearHub, workplace

from adapters import declaration
from adapters.sample import generator
from hub import merkle
from hub.audit import damaged
from hub.ledger import Ledger
from hub.workshop import collect_rarely

ROOT = Path(__file__).resolve().parents[2]
DECLARED = ROOT / "adapters" / "sample" / "huzhou_year.yaml"

# Runs under the other Python: rows as "id digest" lines on stdin.
DATA_DIFF = """
import json, sys, time, duckdb
from data_diff import TableSegment, connect, diff_tables
rows = [line.split() for line in sys.stdin]
path, few = sys.argv[1], int(sys.argv[2])
with duckdb.connect(path) as db:
    db.execute("CREATE TABLE a (id VARCHAR, digest VARCHAR)")
    with open(path + ".csv", "w") as file:
        file.writelines(",".join(row) + "\\n" for row in rows)
    db.execute("COPY a FROM '" + path + ".csv' (HEADER false)")
    db.execute("CREATE TABLE b AS SELECT * FROM a")
    db.execute("CREATE TABLE c AS SELECT id, CASE WHEN id IN (SELECT id FROM a USING SAMPLE " + str(few) +
               " ROWS) THEN reverse(digest) ELSE digest END AS digest FROM a")
found = {}
db = connect({"driver": "duckdb", "filepath": path})
asked, query = [0], type(db)._query
def counted(self, *args):
    asked[0] += 1
    return query(self, *args)
type(db)._query = counted
for name, other in (("equal", "b"), ("differing", "c")):
    one, two = (TableSegment(db, ("main", t), ("id",), extra_columns=("digest",)).with_schema() for t in ("a", other))
    asked[0], began = 0, time.perf_counter()
    told = sum(sign == "+" for sign, _ in diff_tables(one, two))
    found[name] = {"seconds": round(time.perf_counter() - began, 3), "queries": asked[0], "found": told}
print(json.dumps(found))
"""


def equal(hub: Ledger, copy: Ledger) -> bool:
    """Whether the copy's own tree is the one that the hub's checkpoint commits to."""
    published = hub.checkpoint()[1]
    size = copy.store.size()
    return size == published.size and merkle.root(copy.store.tile, size) == published.root


def spoil(ledger: Ledger) -> int:
    """Change one byte of one record at rest; gives the entry that it belongs to."""
    store: Any = ledger.store
    number = store.entry(store.size() - 1).first
    (held,) = store.leaves(number, 1)
    with store.transaction():
        store._change(number, held.raw[:-1] + b"!", None, held.disclosures)
    return int(store.size() - 1)


def timed(rounds: int, work: Any) -> tuple[float, Any]:
    found, seconds = None, []
    for _ in range(rounds):
        began = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), found


def report(records: int, rounds: int, python: str | None) -> dict[str, Any]:
    collect_rarely()
    given = declaration.load(DECLARED)
    with workplace() as folder:
        (folder / "year").mkdir()
        generator.write_huzhou_year(folder / "year" / "inspections.csv", records)
        hub = YearHub(folder / "hub", given.code)
        outcome = hub.intake.run(given, given.feeds[0], {"directory": str(folder / "year")}, full=True, who="bench")
        assert outcome.pull.stored == records, outcome.pull
        hub.workshop.close()
        rows = [(id, known.digest) for id, known in hub.ledger.store.walk(given.code, given.feeds[0].kind)]
        hub.ledger.store.close()
        shutil.copytree(folder / "hub", folder / "copy")
        hub, copy = YearHub(folder / "hub", given.code), YearHub(folder / "copy", given.code)
        seconds, same = timed(rounds, lambda: equal(hub.ledger, copy.ledger))
        assert same
        spoiled = spoil(copy.ledger)
        finding, named = timed(1, lambda: damaged(copy.ledger, copy.intake.kinds, copy.digest_key))
        found: dict[str, Any] = {
            "records": records,
            "entries": hub.ledger.store.size(),
            "checkpoint": {
                "bytes": len(hub.ledger.checkpoint()[0]),
                "round_trips": 1,
                "ms": round(seconds * 1000, 2),
            },
            "damaged": {"seconds": round(finding, 2), "right": [each.entry for each in named] == [spoiled]},
        }
        if python:
            lines = "".join(f"{id} {digest.hex()}\n" for id, digest in rows if digest)
            command = [python, "-c", DATA_DIFF, str(folder / "rows.duckdb"), str(max(1, records // 1000))]
            run = subprocess.run(command, input=lines, capture_output=True, text=True, check=False)
            found["data-diff"] = json.loads(run.stdout) if run.returncode == 0 else run.stderr.strip().splitlines()[-1]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data-diff", metavar="PYTHON")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = report(asked.records, asked.rounds, asked.data_diff)
    if asked.json:
        print(json.dumps(found))
        return
    print(f"{found['records']:,} records in {found['entries']:,} entries")
    print("  equal copies: {bytes} bytes, {round_trips} round trip, {ms} ms".format(**found["checkpoint"]))
    print("  one damaged record: named in {seconds} s by re-hashing the copy".format(**found["damaged"]))
    print(f"  data-diff: {found.get('data-diff', 'not asked for (--data-diff PYTHON)')}")
    print("  negentropy, published, 1,000,000 rows: 338 bytes where nothing differs, 1.36 MB where 1,000 rows do")


if __name__ == "__main__":
    main()
