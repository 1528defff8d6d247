"""A whole source against the ledger: `python3 run.py bench compare [--records N] [--rounds R] [--json]`.

A CSV of N inspections is read and mapped alone, then compared with the ledger that holds all of it: nothing changed, and one
in a hundred changed. Median seconds; the ratio to reading and mapping alone is what counts. Peak memory is told at a
quarter of the way and at the end: it must not grow with N. Each measurement runs in a process of its own.
"""

import argparse
import json
import resource
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
from hub.workshop import collect_rarely

ROOT = Path(__file__).resolve().parents[2]
DECLARED = ROOT / "adapters" / "sample" / "huzhou_year.yaml"


def read_alone(folder: Path) -> dict[str, Any]:
    """Every row read and mapped, and nothing else."""
    collect_rarely()
    feed = declaration.load(DECLARED).feeds[0]
    mapper, rows = feed.mapper(), 0
    began = time.perf_counter()
    for page in feed.source({"directory": str(folder / "year")}, str, now=lambda: None).pages(None):  # type: ignore[arg-type]
        for row in page.rows:
            mapper(row)
            rows += 1
    return {"rows": rows, "seconds": time.perf_counter() - began}


def compare(folder: Path) -> dict[str, Any]:
    """The whole range against the ledger in the folder."""
    peaks: list[int] = []

    def watch(code: str, feed: str, rows: int) -> None:
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)

    collect_rarely()
    given = declaration.load(DECLARED)
    hub = YearHub(folder / "year-hub", given.code)
    # A hub that serves has its workers up long before a night begins.
    for each in hub.workshop.warm():
        each.result()
    began = time.perf_counter()
    outcome = hub.intake.run(
        given, given.feeds[0], {"directory": str(folder / "year")}, full=True, who="bench", progress=watch
    )
    seconds = time.perf_counter() - began
    hub.workshop.close()
    hub.ledger.store.close()
    assert outcome.pull.state == "succeeded", outcome.pull
    return {"rows": outcome.pull.read, "seconds": seconds, "stored": outcome.pull.stored,
            "mb_at_quarter": peaks[len(peaks) // 4], "mb_at_end": peaks[-1]}  # fmt: skip


def apart(what: str, folder: Path) -> dict[str, Any]:
    """A measurement in a process of its own."""
    command = [sys.executable, __file__, "--in", str(folder), "--what", what]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(run.stderr)
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def edited(path: Path) -> None:
    """One row in a hundred with another result."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for n in range(50, len(lines), 100):
        lines[n] = lines[n].replace(",2025-", ",2024-", 1)
    path.write_text("".join(lines), encoding="utf-8")


def report(records: int, rounds: int) -> dict[str, Any]:
    with workplace() as folder:
        (folder / "year").mkdir()
        path = folder / "year" / "inspections.csv"
        generator.write_huzhou_year(path, records)
        first = apart("compare", folder)
        assert first["stored"] == records
        rows: dict[str, list[dict[str, Any]]] = {"read": [], "same": [], "changed": []}
        for _ in range(rounds):
            rows["read"].append(apart("read", folder))
            rows["same"].append(apart("compare", folder))
        shutil.copy(path, folder / "kept.csv")
        for n in range(rounds):
            # One way and back: each time one in a hundred is another than the ledger holds.
            edited(path) if n % 2 == 0 else shutil.copy(folder / "kept.csv", path)
            rows["changed"].append(apart("compare", folder))
    assert all(each["stored"] == 0 for each in rows["same"])
    seconds = {name: statistics.median(each["seconds"] for each in found) for name, found in rows.items()}
    return {
        "records": records,
        "rounds": rounds,
        "seconds": {"first pull": round(first["seconds"], 2)} | {name: round(each, 2) for name, each in seconds.items()},
        "same_to_read": round(seconds["same"] / seconds["read"], 2),
        "changed_to_read": round(seconds["changed"] / seconds["read"], 2),
        "changed": rows["changed"][0]["stored"],
        "mb_at_quarter": rows["same"][0]["mb_at_quarter"],
        "mb_at_end": rows["same"][0]["mb_at_end"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--what", choices=("read", "compare"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.folder:
        print(json.dumps({"read": read_alone, "compare": compare}[asked.what](asked.folder)))
        return
    found = report(asked.records, asked.rounds)
    if asked.json:
        print(json.dumps(found))
        return
    print(f"{found['records']:,} records, median of {found['rounds']}")
    for name, each in found["seconds"].items():
        print(f"  {name:12}{each:>9.2f} s")
    print(f"  what is the same: {found['same_to_read']} × reading and mapping alone")
    print(f"  with {found['changed']:,} changed: {found['changed_to_read']} ×")
    print(f"  memory {found['mb_at_quarter']} MB at a quarter, {found['mb_at_end']} MB at the end")


if __name__ == "__main__":
    main()
