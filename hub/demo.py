"""The main job on sample cities: ten city systems on loopback, a hub, one city's own node, a night, a partner's copy.

Everything below the sample cities is what a real hub runs. A second start on the same folder resumes: the same keys, the
same data, and nothing signed twice.
"""

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters.sample.cities import SampleCities
from hub import app, partner
from hub.app import Hub
from hub.errors import HubError, Locked
from hub.intake import Intake, Outcome, Progress
from hub.keys import KeyRing, list_keys, pin_of, write_private
from hub.note import COSIGNATURE, parse_vkey
from hub.partner import Node, NodeFile
from hub.settings import Settings, secret
from hub.witness import Policy, Witness

SIZE = 60
ACCOUNT = "demo"


def passphrase(folder: Path) -> str:
    """The passphrase of a demo's folder: drawn once, kept beside the keys it opens, worth nothing elsewhere."""
    path = folder / "passphrase"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32).encode())
    return path.read_text()


def _size(folder: Path, size: int | None) -> int:
    kept = folder / "size"
    if kept.exists():
        found = int(kept.read_text())
        if size not in (None, found):
            raise HubError(
                f"this demo was made with --size {found}",
                where=str(folder),
                mend="leave --size out, or give another --data",
            )
        return found
    kept.write_text(str(size or SIZE))
    return size or SIZE


def _only_one(folder: Path) -> int:
    """The lock of a running demo; Locked where one runs on this folder already."""
    handle = os.open(folder / "running.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Locked(
            "this demo is running", where=str(folder), mend="see its page, or stop it with Ctrl-C first"
        ) from None
    return handle


def _witnesses(vkeys: Mapping[str, str]) -> Policy | None:
    """The demo's witnesses: the cities that sign for themselves, all of whom must cosign."""
    found = tuple(Witness(code, parse_vkey(vkey, COSIGNATURE)) for code, vkey in sorted(vkeys.items()))
    return Policy(found, len(found)) if found else None


@contextmanager
def beside(settings: Settings, folder: Path) -> Iterator[Hub]:
    """The hub of a demo that is running elsewhere, to look at: without its cities and nodes."""
    settings = app.as_demo(settings, folder, settings.hub.host, settings.hub.port)
    first, http, cosign = {}, {}, {}
    for home in folder.glob("node-*"):
        code = home.name.removeprefix("node-")
        first[code] = pin_of((home / "keys" / f"first.{code}.note").read_bytes())
        listed = {info.role: info.vkey for info in list_keys(home / "keys")}
        http[code], cosign[code] = [listed["http"]], listed["witness"]
    ring = KeyRing(folder / "keys", passphrase(folder))
    hub = Hub(settings, folder, ring, demo=True, first_keys=first, http_keys=http, witnesses=_witnesses(cosign))
    try:
        yield hub
    finally:
        hub.close()


class Demo:
    """An open demo: sample cities, hub, server and the nodes of the cities that sign for themselves."""

    def __init__(self, settings: Settings, folder: Path, host: str, port: int, *, size: int | None) -> None:
        """`size` is how many records each sample feed begins with; a folder keeps the size it was made with."""
        app.refuse_other_purpose(folder, True)
        self._lock = _only_one(folder)
        self.cities = SampleCities(folder / "cities", size=_size(folder, size))
        self.cities.__enter__()
        self._bound = app.bind(host, port)
        self.settings = app.as_demo(settings, folder, host, self._bound.getsockname()[1])
        phrase = passphrase(folder)
        now = app.clock(self.settings)
        ring = app.make_keys(self.settings, folder / "keys", phrase, now())
        found = app.card(self.settings, folder / "keys", self.settings.hub.public_url)
        registered, rings = {}, {}
        for code, member in self.settings.framework.members.items():
            if member.custody == "self":
                home = folder / f"node-{code}"
                rings[code] = KeyRing(home / "keys", phrase)
                (home / "node.json").unlink(missing_ok=True)  # The demo's port may be another one this time.
                registered[code] = partner.init(home, NodeFile(found, code), rings[code], now)
        self.hub = Hub(
            self.settings, folder, ring, demo=True,
            first_keys={code: each["first_key"] for code, each in registered.items()},
            http_keys={code: [each["http_key"]] for code, each in registered.items()},
            witnesses=_witnesses({code: each["witness_key"] for code, each in registered.items()}),
            connection=self._connection, secret=self._secret, now=now,
        )  # fmt: skip
        self.password = self._account(folder)
        self._working = threading.Lock()
        self.server = app.Server(self.hub.web(), self._bound, self.tick)
        self.nodes = {code: Node(folder / f"node-{code}", rings[code], settings.kinds, now) for code in registered}

    def _account(self, folder: Path) -> str:
        """The password of the demo's one account: drawn once, kept in the folder, worth nothing elsewhere."""
        path = folder / "console-password"
        if not path.exists():
            write_private(path, secrets.token_urlsafe(12).encode())
        held = self.hub.accounts
        if ACCOUNT not in {each.name for each in held.all()}:
            everywhere = tuple(self.hub.framework.members)
            held.add(ACCOUNT, path.read_text(), "administrator", person="演示 Demo", jurisdictions=everywhere, who="demo")
        return path.read_text()

    def _connection(self, code: str) -> dict[str, Any]:
        return self.settings.connection(code) | self.cities.connections.get(code, {})

    def _secret(self, reference: str) -> str:
        found = self.cities.secrets.get(reference)
        return found if found is not None else secret(reference, self.settings.folder)

    def close(self) -> None:
        self.hub.stopping.set()
        self.server.stop()
        for node in self.nodes.values():
            node.close()
        self.hub.close()
        self.cities.__exit__(None, None, None)
        os.close(self._lock)

    # --- the job ---

    def start(self, progress: Progress | None = None) -> dict[str, Any]:
        """Serve, and do the job before the first tick may."""
        with self._working:
            self.hub.announce()
            self.server.start()
            return self._run(progress)

    def run(self, progress: Progress | None = None) -> dict[str, Any]:
        """Pull every jurisdiction, push from the nodes, reconcile today's night, pull and verify a copy; the summary."""
        with self._working:
            return self._run(progress)

    def _run(self, progress: Progress | None) -> dict[str, Any]:
        began = time.monotonic()
        outcomes: dict[str, list[Outcome]] = {}
        for declaration in self.hub.awake():
            outcomes[declaration.code] = self.hub.pull(declaration, who="demo", progress=progress)
        for code, node in self.nodes.items():
            outcomes[code] = self.collect(code, node, progress)
            node.push()
        today = self.hub.now().date().isoformat()
        for agreement in self.hub.framework.agreements:
            self.hub.reconcile(agreement, [today], progress)
        for node in self.nodes.values():
            node.pull()
        return self.summary(outcomes, time.monotonic() - began)

    def collect(self, code: str, node: Node, progress: Progress | None = None) -> list[Outcome]:
        """A city's own node pulls its city's system and signs what is new."""
        declaration = self.settings.declarations.get(code)
        if declaration is None:
            return []
        intake = Intake(node.own, node.kinds, node.issuer, node.digest_key, self._secret, self.hub.now)
        connection = self._connection(code)
        return [
            intake.run(declaration, feed, connection, full=False, who=f"node {code}", progress=progress)
            for feed in declaration.feeds
        ]

    def tick(self) -> None:
        """What a minute brings, unless the job is still at it: the hub's own tick, the nodes' collect, push and pull."""
        if not self._working.acquire(blocking=False):
            return
        try:
            self._tick()
        finally:
            self._working.release()

    def _tick(self) -> None:
        self.hub.tick()
        for code, node in self.nodes.items():
            self.collect(code, node)
            try:
                node.push()
                node.pull()
                node.note_audit()
            except HubError:
                continue

    def summary(self, outcomes: dict[str, list[Outcome]], seconds: float) -> dict[str, Any]:
        """What was done, as the one JSON object of `demo --once --json`."""
        rows = []
        for code, member in self.hub.framework.members.items():
            pulls = [outcome.pull for outcome in outcomes.get(code, [])]
            rows.append(
                {
                    "code": code,
                    "name": member.name["zh"],
                    "custody": member.custody,
                    "read": sum(pull.read for pull in pulls),
                    "stored": sum(pull.stored for pull in pulls),
                    "unchanged": sum(pull.unchanged for pull in pulls),
                    "retracted": sum(pull.retracted for pull in pulls),
                    "quarantined": sum(pull.quarantined for pull in pulls),
                    "problems": [pull.problem for pull in pulls if pull.problem],
                }
            )
        status = self.hub.status()
        chains = self.hub.store.chains()
        keys = sum(len(self.hub.store.key_entries(chain.origin)) for chain in chains)
        return {
            "jurisdictions": rows,
            "batches": self.hub.store.size() - keys,
            "ledger": {"size": status["ledger"]["size"], "root": status["ledger"]["root"]},
            "differences": status["numbers"]["open_differences"],
            "partner_copies": {code: node.status()["copy"] for code, node in self.nodes.items()},
            "seconds": round(seconds, 2),
        }


@contextmanager
def opened(
    settings: Settings, folder: Path, host: str = "127.0.0.1", port: int = 0, *, size: int | None = None
) -> Iterator[Demo]:
    """A demo, closed cleanly whatever happens."""
    demo = Demo(settings, folder, host, port, size=size)
    try:
        yield demo
    finally:
        demo.close()
