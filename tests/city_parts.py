"""A small hub for tests of pulls, nights and status: its own config folder, real keys, store and cities.

Two cities are pulled here: 330483 drops a table file, 330503 serves JSON over HTTP from a cursor on, with
rows that are inserts, updates and deletions. 330521 signs for itself. One clock serves all; each pull is a
minute after the last. Opening the same folder again resumes.
"""

import csv
import io
import json
import os
import shutil
import tempfile
import threading
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from adapters import declaration
from adapters.declaration import Declaration
from hub import app, audit, record, settings
from hub.intake import Outcome
from hub.keys import KeyRing

ROOT = Path(__file__).parents[1]
PHRASE = "a passphrase for tests"
START = datetime(2026, 11, 22, 17, 0, tzinfo=ZoneInfo("Asia/Shanghai"))
FILES, WEB, SELF = "330483", "330503", "330521"
KIND = "stall/1"
STALL = """\
kind: stall/1
label: {zh: 摊位, en: Stall}
groups:
  party:  {label: {zh: 摊主, en: Holder}, personal: true}
  source: {label: {zh: 编号, en: Number}}
codes: {}
fields:
  stall_code: {type: text, max: 20, group: source, required: true, label: {zh: 编号, en: Number}}
  holder:     {type: text, max: 20, group: party, label: {zh: 摊主, en: Holder}}
  fee_yuan:   {type: money, group: open, required: true, label: {zh: 费用, en: Fee}}
  checked_on: {type: date, group: open, label: {zh: 检查日, en: Checked on}}
  seen_at:    {type: datetime, group: open, volatile: true, label: {zh: 更新, en: Seen at}}
rules: []
"""
FRAMEWORK = """\
members:
  "330483": {name: {zh: 桐乡市, en: Tongxiang}, tier: county, custody: custodial}
  "330503": {name: {zh: 南浔区, en: Nanxun}, tier: county, custody: custodial}
  "330521": {name: {zh: 德清县, en: Deqing}, tier: county, custody: self}
agreements:
  pair:
    name: {zh: 两地协议, en: Pair}
    basis: 协议
    in_force: 2022-05-01
    night: "02:00"
    freshness: 24 hours
    when_ended: keep
    members: [{code: "330483"}, {code: "330503"}, {code: "330521"}]
    shares:
      - {kind: stall/1, from: all, to: all, groups: [party], clause: 第一条, purpose: 互通, legal_basis: 条例}
"""
MAP = """\
    map:
      stall_code: {from: 编号}
      holder: {from: 摊主}
      fee_yuan: {from: 费用, as: money, unit: 元}
      checked_on: {from: 检查日, as: date, formats: [iso]}
      seen_at: {from: 更新, as: datetime, formats: [iso]}
"""
TABLE = """\
code: "330483"
name: {zh: 桐乡市, en: Tongxiang}
connection: {directory: nowhere}
feeds:
  - feed: stalls
    kind: stall/1
    transport: table_file
    source: {pattern: "*.csv", format: csv, encodings: [utf-8-sig]}
    completeness: snapshot
    key: [stall_code]
"""
SERVED = """\
code: "330503"
name: {zh: 南浔区, en: Nanxun}
connection: {base_url: "http://127.0.0.1:1"}
feeds:
  - feed: stalls
    kind: stall/1
    transport: http_json
    source: {path: /rows, records: rows, total: total, paginator: {type: page_number},
             incremental: {cursor: n, param: since}, timeout: 5 seconds}
    completeness: snapshot
    ignore: [n]
    operation: {from: op, retract: [d]}
    key: [stall_code]
"""
COLUMNS = ("编号", "摊主", "费用", "检查日", "更新")


def row(
    code: Any, fee: Any = 10, holder: str = "", checked: date | str = "2026-11-20", seen: str = ""
) -> dict[str, str]:
    """A row as either city writes it."""
    seen = seen or "2026-11-20 08:00:00"
    return dict(zip(COLUMNS, (str(code), holder or f"摊主{code}", str(fee), str(checked), seen), strict=True))


class Web:
    """A city's HTTP API: pages of two rows from a number on; `fault` (page, kind) makes one page go wrong."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.fault: tuple[int, str] | None = None
        self.asked: list[str] = []
        city = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                city.asked.append(query.get("since", ""))
                page, since = int(query["page"]), int(query.get("since", 0))
                found = [each for each in city.rows if each["n"] >= since]
                body = json.dumps({"rows": found[2 * page - 2 : 2 * page], "total": len(found)}).encode()
                kind = city.fault[1] if city.fault and city.fault[0] == page else ""
                status = {"busy": 503, "denied": 403}.get(kind, 200)
                body = b'{"rows": "elsewhere", "total": 1}' if kind == "odd" else body
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if kind == "cut" else body)
                self.close_connection = True

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def put(self, code: Any, fee: Any = 10, op: str = "i", **more: Any) -> None:
        """Write one more row."""
        self.rows.append(
            row(code, fee, **more) | {"op": op, "n": max((each["n"] for each in self.rows), default=0) + 1}
        )

    def edit(self, code: Any, fee: Any = 10, op: str = "u", **more: Any) -> None:
        """Write a row in place of those of its code."""
        number = max(each["n"] for each in self.rows)
        self.rows = [each for each in self.rows if each["编号"] != str(code)]
        self.rows.append(row(code, fee, **more) | {"op": op, "n": number + 1})

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@cache
def _made() -> Path:
    """Config and keys, made once: keys are slow to encrypt."""
    folder = Path(tempfile.mkdtemp(prefix="town-"))
    config = folder / "config"
    (config / "kinds").mkdir(parents=True)
    kinds = [f"kinds/{name}.yaml" for name in ("framework", "reconciliation", "decision", "erasure")]
    for name in (*kinds, "catalogue", "hub.yaml"):
        source = ROOT / "config" / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, config / name)
    (config / "kinds" / "stall.yaml").write_text(STALL)
    (config / "framework.yaml").write_text(FRAMEWORK)
    (config / "deadlines.yaml").write_text("rules: {}\n")
    hub = (config / "hub.yaml").read_text().replace("  - ../adapters/jiaxing_huzhou\n", "  - ../cities\n")
    (config / "hub.yaml").write_text(hub.replace("  - ../adapters/changxing_anji_guangde\n", ""))
    (folder / "cities").mkdir()
    (folder / "cities" / "330483.yaml").write_text(TABLE + MAP)
    (folder / "cities" / "330503.yaml").write_text(SERVED + MAP)
    app.make_keys(settings.load(config), folder / "keys", PHRASE, START)
    return folder


class Clock:
    """The time of everything in a town."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def on(self, **delta: float) -> None:
        self.at += timedelta(**delta)


class Town:
    """The hub of a folder and its two cities."""

    def __init__(
        self, folder: Path, *edits: tuple[str, str], clock: Clock | None = None, web: bool = True, retention: str = ""
    ) -> None:
        """`edits` replace text of framework.yaml, each once; `retention` are rules of the stall's kind, kept once given."""
        self.folder, self.clock = folder, clock or Clock()
        if not (folder / "config").exists():
            for name in ("config", "cities", "keys"):
                shutil.copytree(_made() / name, folder / ("hub" if name == "keys" else "") / name)
            (folder / "drops").mkdir()
        if retention:
            (folder / "config" / "kinds" / "stall.yaml").write_text(f"{STALL}retention:\n{retention}")
        text = FRAMEWORK
        for old, new in edits:
            assert text.count(old) == 1, f"stands {text.count(old)} times: {old}"
            text = text.replace(old, new)
        (folder / "config" / "framework.yaml").write_text(text)
        self.settings = settings.load(folder / "config")
        self.settings = app.with_data(self.settings, folder / "hub", None, None)
        self.declared = dict(self.settings.declarations)
        self.settings = replace(self.settings, declarations=self.declared)
        self.web = Web() if web else None
        self.secrets: dict[str, str] = {}
        self.hub = app.Hub(
            self.settings, folder / "hub", KeyRing(folder / "hub" / "keys", PHRASE),
            connection=self._connection, secret=self.secrets.__getitem__, now=self.clock,
        )  # fmt: skip
        self.store, self.intake, self.nightly = self.hub.store, self.hub.intake, self.hub.nightly

    def _connection(self, code: str) -> dict[str, str]:
        if code == FILES:
            return {"directory": str(self.folder / "drops")}
        return {"base_url": self.web.url} if self.web else {}

    def __enter__(self) -> "Town":
        return self

    def __exit__(self, *error: object) -> None:
        self.hub.close()
        if self.web:
            self.web.close()

    # --- cities ---

    def declare(self, code: str, *edits: tuple[str, str], more: str = "") -> Declaration:
        """The city's declaration with text replaced, each once, and more keys of its feed."""
        text = (TABLE if code == FILES else SERVED) + MAP
        for old, new in edits:
            assert text.count(old) == 1, f"stands {text.count(old)} times: {old}"
            text = text.replace(old, new)
        path = self.folder / "cities" / f"{code}.yaml"
        path.write_text(text + more)
        self.declared[code] = declaration.load(path)
        return self.declared[code]

    def drop(self, *rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> None:
        """Let 330483 put its file of exactly these rows."""
        out = io.StringIO()
        writer = csv.DictWriter(out, columns)
        writer.writeheader()
        writer.writerows(rows)
        # Whole or not at all, under a name of this writer's: another process may be reading.
        part = self.folder / "drops" / f"stalls.{os.getpid()}"
        part.write_text(out.getvalue(), encoding="utf-8")
        part.replace(self.folder / "drops" / "stalls.csv")

    def pull(self, code: str = FILES, *, full: bool = False) -> Outcome:
        self.clock.on(minutes=1)
        declared = self.declared[code]
        return self.intake.run(declared, declared.feeds[0], self._connection(code), full=full, who="test")

    # --- what stands ---

    def view(self, origin: str = FILES) -> dict[str, dict[str, Any]]:
        """The standing stalls by their code, as bodies decoded from stored bytes and disclosures."""
        found = {}
        for _, known in self.store.walk(origin, KIND):
            if known.op == "put":
                (held,) = self.store.leaves(known.number, 1)
                parsed = record.parse(held.raw)
                groups = record.reveal(parsed, held.disclosures.values())
                body = self.settings.kinds[KIND].join(parsed.open, groups)
                found[body["stall_code"]] = body
        return found

    def fees(self, origin: str = FILES) -> dict[str, str]:
        """Code to fee without decimals, of the standing stalls."""
        return {code: body["fee_yuan"].removesuffix(".00") for code, body in sorted(self.view(origin).items())}

    def revs(self, origin: str = FILES) -> list[tuple[int, str]]:
        return sorted((known.rev, known.op) for _, known in self.store.walk(origin, KIND))

    def reports(self) -> dict[tuple[str, str], list[dict[str, Any]]]:
        """Every revision of every reconciliation record on the ledger, by agreement and night."""
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        last = max((entry.first + entry.count for entry in self.store.entries(0, 100_000) if entry.first), default=1)
        for held in self.store.leaves(1, last - 1):
            parsed = record.parse(held.raw)
            if parsed.kind == "reconciliation/1":
                groups = record.reveal(parsed, held.disclosures.values())
                body = self.settings.kinds["reconciliation/1"].join(parsed.open, groups)
                found.setdefault((body["agreement"], body["night"]), []).append(body)
        return found

    def sound(self) -> None:
        """The whole store re-hashed, and every view identical when derived anew."""
        digest_key, kinds = self.hub.digest_key, self.settings.kinds
        report = audit.fsck(self.hub.ledger, kinds, digest_key)
        assert report.problems == [], report.problems
        assert audit.rebuild(self.hub.ledger, kinds, digest_key)[1] == []

    def files(self) -> bytes:
        """Every byte of the hub's folder."""
        return b"".join(path.read_bytes() for path in sorted((self.folder / "hub").rglob("*")) if path.is_file())
