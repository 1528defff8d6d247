"""The console under load: `python3 run.py bench console [--records N] [--differences D] [--rounds R] [--json]`.

A hub with N inspections of three of its members, D open differences among them and a year of nights, served by waitress on
loopback; each page is asked for R times over one connection by a signed-in coordinator. Medians in milliseconds, the slowest
of the rounds, and the page's bytes.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import requests

sys.path.insert(0, str(Path(__file__).parent))
from bench import BATCH, PHRASE, ROOT, bodies, now, workplace

from hub import app, settings
from hub.intake import Draft
from hub.reconcile.worklist import Finding, Point, Ref, fresh
from hub.workshop import collect_rarely

ORIGINS = ("330400", "330500", "330503")
KIND = "inspection/1"
PASSWORD = "correct horse battery staple"


def made(folder: Path, records: int, differences: int) -> tuple[app.Hub, app.Server, list[str]]:
    """The hub with its records, worklist and nights; gives the ids of some records."""
    loaded = settings.load(ROOT / "config")
    bound = app.bind("127.0.0.1", 0)
    loaded = app.as_demo(loaded, folder / "hub", "127.0.0.1", bound.getsockname()[1])
    ring = app.make_keys(loaded, folder / "hub" / "keys", PHRASE, now())
    hub = app.Hub(loaded, folder / "hub", ring, demo=True)
    hub.announce()
    ids = [draft.id for origin in ORIGINS for draft in fill(hub, origin, records // len(ORIGINS))]
    worklist(hub, ids, differences)
    nights(hub)
    hub.verify()
    hub.searching.catch_up()
    hub.accounts.add("bench", PASSWORD, "coordinator", jurisdictions=ORIGINS, who="bench")
    return hub, app.Server(hub.web(), bound, None), ids


def fill(hub: app.Hub, origin: str, count: int) -> Iterator[Draft]:
    issuer, kind = hub.issuer(origin), hub.settings.kinds[KIND]
    rows = bodies(count, origin)
    for n in range(0, count, BATCH * 4):
        drafts = [issuer.draft(kind, row["check_code"], row) for row in rows[n : n + BATCH * 4]]
        issuer.issue(drafts)
        yield from drafts


def worklist(hub: app.Hub, ids: list[str], count: int) -> None:
    """Open differences of every kind of severity, each of one record or two."""
    types, third = list(hub.settings.types.items()), len(ids) // len(ORIGINS)
    rows = []
    for n in range(count):
        name, told = types[n % len(types)]
        sides = [Ref(ORIGINS[k], KIND, ids[(n * 7) % third + k * third], 1) for k in range(1 + n % 2)]
        points = (Point("party_name", "close", 4.0, 0.93), Point("checked_at", "differs", 2.0, 0.1))
        rows.append(fresh("jiahu", Finding(name, tuple(sides), told.severity, points), "2026-11-01"))
    with hub.store.transaction():
        hub.store.put_differences(rows, [])


def nights(hub: app.Hub) -> None:
    result = {"not_compared": [], "open_differences": 500, "compared": 100_000, "repaired": 0,
              "committed_at": app.stamp(hub.now())}  # fmt: skip
    with hub.store.transaction():
        for ago in range(365):
            night = (date(2026, 11, 26) - timedelta(days=ago)).isoformat()
            hub.store.claim_night("jiahu", night, "bench", 0, 1)
            hub.store.commit_night("jiahu", night, "bench", result)


def signed_in(url: str) -> requests.Session:
    session = requests.Session()
    page = session.get(f"{url}/login", timeout=60).text
    form = page.split('name="form" value="')[1].split('"')[0]
    reply = session.post(f"{url}/login", data={"form": form, "name": "bench", "password": PASSWORD}, timeout=60)
    assert reply.status_code == 200, reply.status_code
    return session


def measure(session: requests.Session, url: str, paths: dict[str, str], rounds: int) -> dict[str, dict[str, float]]:
    found = {}
    for name, path in paths.items():
        times = []
        for _ in range(rounds + 1):
            began = time.perf_counter()
            reply = session.get(url + path, timeout=120)
            times.append((time.perf_counter() - began) * 1000)
            assert reply.status_code == 200, (path, reply.status_code)
        # The first fills what the process keeps.
        found[name] = {"median_ms": round(statistics.median(times[1:]), 1), "slowest_ms": round(max(times[1:]), 1),
                       "bytes": len(reply.content)}  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--differences", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    collect_rarely()
    with workplace() as folder:
        hub, server, ids = made(folder, asked.records, asked.differences)
        server.start()
        pair = next(each for each in hub.store.differences() if len(each.refs) == 2)
        paths = {
            "overview": "/", "status.json": "/status.json", "worklist": "/differences",
            "worklist, filtered": "/differences?severity=high", "difference": f"/differences/{pair.identity}",
            "nights": "/nights", "agreements": "/agreements", "agreement": "/agreements/jiahu", "ledger": "/ledger",
            "records": f"/records?kind={KIND}&page=1", "records, a middle page": f"/records?kind={KIND}&page=900",
            "record": f"/records/inspection/{ORIGINS[0]}/{ids[0]}", "jurisdiction": f"/jurisdictions/{ORIGINS[0]}",
        }  # fmt: skip
        found = measure(signed_in(hub.url), hub.url, paths, asked.rounds)
        server.stop()
        hub.close()
    if asked.json:
        print(json.dumps({"records": asked.records, "differences": asked.differences, "pages": found}))
        return
    print(f"{asked.records:,} records, {asked.differences} open differences, median of {asked.rounds}")
    for name, each in found.items():
        print(f"  {name:24}{each['median_ms']:8.1f} ms   slowest {each['slowest_ms']:8.1f} ms   {each['bytes']:>8,.0f} bytes")


if __name__ == "__main__":
    main()
