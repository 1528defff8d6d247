"""The only composer: settings and a data folder become an open hub; a tick a minute keeps it going.

A data folder holds `keys/`, `store/hub.db`, `store/nonces.db` and, unless configured elsewhere, `head/checkpoint`. A demo's
folder is marked and never served as a real one. Nothing here decides anything: rooms do.
"""

import fcntl
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import msgspec
from apscheduler.schedulers.background import BackgroundScheduler
from flask import Flask
from waitress import wasyncore
from waitress.server import create_server

from adapters.declaration import Declaration
from hub import audit, backup, batch, keys, note, pins, web
from hub.accounts import Accounts
from hub.announce import KIND as FRAMEWORK_KIND
from hub.announce import Version, announce, versions
from hub.batch import Chain
from hub.book import Book
from hub.canonical import b64
from hub.crosscheck import CrossCheck
from hub.decisions import Decisions, Worklist
from hub.desk import Desk
from hub.erasure import Erasures, scrub
from hub.errors import ConfigError, HubError, KeyRefused, Locked, Tampered
from hub.evidence import TrustFile
from hub.framework import HUB, HUB_KINDS, Framework, Member
from hub.intake import Intake, Issuer, Outcome, Progress, stamp
from hub.jurisdictions import Jurisdictions
from hub.keys import KeyEnd, KeyRing
from hub.ledger import HeadFile, Ledger, LedgerSeal, Pin, Submission
from hub.nightly import BIRTH, Nightly
from hub.note import VKey, parse_vkey
from hub.oidc import Provider
from hub.partner import Card
from hub.pauses import Pauses
from hub.pulls import Pulls
from hub.records import Records
from hub.reports import Reports
from hub.searching import Searching
from hub.settings import HubSettings, Settings
from hub.status import VERIFIED, Status
from hub.store.base import Night
from hub.store.nonces import NonceFile
from hub.store.sqlite import SqliteStore
from hub.web.page import Rooms
from hub.wire import SKEW, Gate, HttpKey, WitnessPost, authority
from hub.witness import Policy
from hub.workshop import Workshop

REVOKED = "revoked http keys"
THREADS = 8
_log = logging.getLogger("hub.app")
MARK = "DEMO"
_DEMO = "demo"


def clock(settings: Settings) -> Callable[[], datetime]:
    """The present time in the hub's zone, to the second."""
    zone = settings.zone
    return lambda: datetime.now(zone).replace(microsecond=0)


def public_url(hub: HubSettings, port: int | None = None) -> str:
    """The URL partners call: the configured one, or the loopback address."""
    host = f"[{hub.host}]" if ":" in hub.host else hub.host
    return hub.public_url or f"http://{host}:{port or hub.port}"


def make_keys(settings: Settings, folder: Path, passphrase: str, now: datetime) -> KeyRing:
    """Make what is missing of a hub's keys: ledger, http, the hub's own and each custodial member's."""
    ring, name, at = KeyRing(folder, passphrase), settings.hub.name, stamp(now)
    ring.secrets()
    ring.create("ledger", HUB, name, since=at)
    ring.create("http", HUB, f"{name}/http", since=at)
    ring.first_note(name, HUB, "self", at)
    for code, member in settings.framework.members.items():
        if member.custody == "custodial":
            ring.first_note(name, code, "custodial", at)
    return ring


def card(settings: Settings, folder: Path, url: str) -> Card:
    """What partners are given to know this hub by; needs no passphrase."""
    found = {(info.role, info.owner): info.vkey for info in keys.list_keys(folder) if info.state == "current"}
    first = folder / f"first.{HUB}.note"
    if ("ledger", HUB) not in found or not first.exists():
        raise ConfigError([f"{folder}: no hub keys here; run `python3 run.py keys init`"])
    return Card(settings.hub.name, url, found["ledger", HUB], found["http", HUB], keys.pin_of(first.read_bytes()))


def new_key(settings: Settings, folder: Path, ring: KeyRing, role: str, owner: str, now: datetime) -> str:
    """Make a missing key of a hub: `http` of the hub, or the `batch` key of an origin in its custody; gives its vkey.

    None is overwritten, and none is made in place of one that was lost where the ledger shows that another was there.
    """
    name, at, member = settings.hub.name, stamp(now), settings.framework.members.get(owner)
    if not (folder / "keys" / "root.key").exists():
        raise ConfigError([f"{folder}/keys: this hub has no keys yet; `python3 run.py keys init` makes all of them"])
    if role == "http" and owner == HUB:
        return str(ring.new(role, HUB, f"{name}/http", "current", at).vkey)
    if role == "ledger" and owner == HUB and not (folder / "store").exists():
        return str(ring.new(role, HUB, name, "current", at).vkey)
    if role == "batch" and (owner == HUB or (member is not None and member.custody == "custodial")):
        _refuse_lost(folder, ring, owner)
        ring.first_note(name, owner, "self" if owner == HUB else "custodial", at)
        return str(ring.signer(role, owner).vkey)
    raise ConfigError([f"{role} {owner}: no key that this hub makes: {_whose(role, owner, member)}"])


def _whose(role: str, owner: str, member: Member | None) -> str:
    if role == "ledger" and owner == HUB:
        return "this ledger has its key, and another would be another ledger; restore keys/ from its backup"
    if owner != HUB and member is None:
        return "it is no member in framework.yaml"
    return "it is made on the city's own node, by `partner init` or `keys new --data` with the node's folder"


def _refuse_lost(folder: Path, ring: KeyRing, owner: str) -> None:
    """A key in place of one that is there or was there cannot go on with the chain that this one began."""
    mend = "`keys rotate` replaces it; where its file is lost, restore keys/ from its backup"
    path = folder / "store" / "hub.db"
    if ring.has("batch", owner) or (folder / "keys" / f"first.{owner}.note").exists():
        raise KeyRefused(f"{owner} has its first key already", where=str(folder / "keys"), mend=mend)
    if path.exists():
        store = SqliteStore(path, ring.secrets().vault())
        try:
            if store.chain(owner).keys:
                raise KeyRefused(f"{owner} has entries on the ledger under another key", where=str(path), mend=mend)
        finally:
            store.close()


def signs_for(chain: Chain) -> bool:
    """Whether the hub signs the records of a chain: its own, and those of the cities in its custody."""
    return chain.origin == HUB or chain.custody == "custodial"


@dataclass(frozen=True)
class LocalLedger:
    """A ledger in this process, read as anybody may read it."""

    ledger: Ledger

    def checkpoint(self) -> bytes:
        return self.ledger.checkpoint()[0]

    def bundle(self, index: int, width: int) -> bytes:
        return self.ledger.entry_bundle(index, width) or b""


class Hub:
    """An open hub: its ledger, desk, intake, nights and status over one data folder."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        ring: KeyRing,
        *,
        demo: bool = False,
        first_keys: Mapping[str, str] | None = None,
        http_keys: Mapping[str, list[str]] | None = None,
        witnesses: Policy | None = None,
        connection: Callable[[str], Mapping[str, Any]] | None = None,
        secret: Callable[[str], str] | None = None,
        now: Callable[[], datetime] | None = None,
        port: int | None = None,
    ) -> None:
        """`first_keys`, `http_keys` and `witnesses` are of nodes made at run time; `connection`, `secret` replace settings'."""
        refuse_other_purpose(folder, demo)
        undeclared = [f"{kind.replace('/1', '')}.yaml" for kind in HUB_KINDS if kind not in settings.kinds]
        if undeclared:
            raise ConfigError(
                [f"kinds/: {name} is missing; copy it from the configuration as shipped" for name in undeclared]
            )
        self.settings, self.folder, self.demo = settings, folder, demo
        self.stopping = threading.Event()
        self.now = now or clock(settings)
        self._ring = ring
        self._secrets = ring.secrets()
        self.url = public_url(settings.hub, port)
        head = settings.hub.head if settings.hub.head and not demo else folder / "head" / "checkpoint"
        path = folder / "store" / "hub.db"
        if ring.begun("ledger", HUB) and not head.exists() and not path.exists():
            raise Tampered(
                "this ledger's key has signed, and neither store nor head file are here",
                where=str(head),
                mend="`restore` the newest backup with its head file. If all is lost, begin a new ledger under another name in "
                "hub.yaml, with new keys, and let every member know: a second one under this key would be another history",
            )
        self.store = SqliteStore(path, self._secrets.vault())
        # One that is new beside a ledger cannot know what was spent: not even of whose clock is as far ahead as may be.
        since = int(self.now().timestamp()) + SKEW + 1 if self.store.size() else 0
        self.nonces = NonceFile(path.with_name("nonces.db"), settings.hub.limits.nonces_per_key, since)
        self.framework = self._pinned(settings.framework, first_keys or {}, http_keys or {})
        if witnesses is not None:
            self.framework = self.framework.with_witnesses(witnesses)
        self.ledger = Ledger(
            self.store, HeadFile(head), LedgerSeal(ring.signer("ledger", HUB)), settings.hub.name, self._trust,
            signs=signs_for,
        )
        self.workshop = Workshop(settings.kinds_folder, settings.kinds, self._secrets.digest_key)
        self.desk = Desk(self.ledger, settings.kinds, lambda: self.framework, self.workshop, self.now)
        self.ledger.open()
        ring.begin("ledger", HUB)
        self.ledger.guard = self._compare
        self._mark(demo)
        self._refuse_other_custody()
        self._issuers: dict[str, Issuer] = {}
        self._connection = connection or settings.connection
        self.digest_key = self._secrets.digest_key
        self.intake = Intake(
            self.ledger,
            settings.kinds,
            self.issuer,
            self.digest_key,
            secret or settings.secret,
            self.now,
            self.workshop,
        )
        feeds: dict[str, set[tuple[str, str]]] = {}
        for declared in settings.declarations.values():
            for feed in declared.feeds:
                for origin in feed.origins:
                    feeds.setdefault(origin, set()).add((declared.code, feed.name))
        self.erasures = Erasures(
            self.ledger, self.issuer(HUB), settings.kinds, self.digest_key, lambda: self.framework, settings.zone, self.now
        )
        scrub(self.store)
        self.accounts = Accounts(self.store, self.now)
        self.decisions = Decisions(self.store, self.issuer(HUB), settings.kinds, self.now)
        self.worklist = Worklist(
            self.store, self.decisions, settings.kinds, settings.types, settings.deadlines.rules, lambda: self.framework
        )
        self.crosscheck = CrossCheck(
            self.store, lambda: self.framework, settings.kinds, settings.types, settings.deadlines,
            settings.items, settings.zone, self._secrets.derive("marks"), feeds,
        )  # fmt: skip
        self.pauses = Pauses(self.store, self.accounts, lambda: [each.code for each in self.sources()], settings.zone, self.now)
        self.pulls = Pulls(self.intake, self._connection, self.pauses.of, folder, self.now)
        self.nightly = Nightly(
            self.intake, self.issuer(HUB), lambda: self.framework, settings.kinds, settings.declarations, settings.types,
            self.crosscheck, self._connection, settings.zone, self.now, self.pauses.of, self.pulls.held,
        )  # fmt: skip
        self.status = Status(
            self.ledger, self.desk.witnessing.state, lambda: self.framework, self.nightly, feeds, self.key_ends,
            self.pauses.all,
            {
                (declared.code, feed.name): settings.kinds[feed.kind].label
                for declared in settings.declarations.values() for feed in declared.feeds
            },
            demo=demo, zone=settings.zone, zone_name=settings.hub.time_zone, pull_every=settings.hub.pull_every,
            now=self.now,
        )  # fmt: skip
        self.jurisdictions = Jurisdictions(
            self.store, settings.hub.name, lambda: self.framework, self.status, settings.declarations, feeds, self.sources,
            self.pulls, self.pauses, self.accounts, self._revoked, self.key_ends,
            lambda: self.now().astimezone(settings.zone).date(),
        )  # fmt: skip
        self.searching = Searching(self.store, settings.kinds, self._secrets.derive("search"))
        self.records = Records(
            self.desk, self.searching, lambda: self.framework, self.accounts, settings.declarations, self.trust_file,
            self.issuer(HUB).id_of, settings.zone, self.now,
        )  # fmt: skip
        self.reports = Reports(
            self.store, settings.kinds, settings.types, settings.deadlines.rules, lambda: self.framework,
            self.issuer(HUB).id_of,
        )  # fmt: skip
        for origin in [HUB, *self.custodial()]:
            self.issuer(origin)

    def versions(self, agreement: str) -> list[Version]:
        """What was announced of an agreement, newest first."""
        self.searching.catch_up()
        return versions(self.store, self.settings.kinds[FRAMEWORK_KIND], agreement, self.now().date())

    def announce(self) -> None:
        """Put the framework in force on the ledger; only who serves does, so that a command beside it changes nothing."""
        kind = self.settings.kinds[FRAMEWORK_KIND]
        announce(self.store, self.issuer(HUB), kind, self.framework, self.now().date())

    def close(self) -> None:
        self.pulls.close()
        self.workshop.close()
        self.nonces.close()
        self.store.close()

    def _mark(self, demo: bool) -> None:
        purpose = _DEMO if demo else "real"
        standing = self.store.get("purpose")
        if standing is None:
            with self.store.transaction():
                self.store.put("purpose", purpose)
                self.store.put(BIRTH, stamp(self.now()))
        elif standing != purpose:
            raise HubError(
                "a demo ledger is never served as a real one", where=str(self.folder), mend="use another --data"
            )

    # --- keys and trust ---

    def _refuse_other_custody(self) -> None:
        """What the framework says of a member's first key and custody must be what its entries on the ledger say."""
        wrong = []
        for chain in self.store.chains():
            past, member = self.desk.past_pin(chain.origin), self.framework.members.get(chain.origin)
            if member is None or past is None:
                continue
            # In between the framework says `self` already and the city has not taken over yet.
            passing = (past.custody, member.custody) == ("custodial", "self")
            if member.first_key != past.first_key or (member.custody != past.custody and not passing):
                wrong.append(
                    f"framework.yaml: members.{chain.origin}: custody or first_key is not that of its entries on this ledger; "
                    "put back what was there (`keys hand-over` gives a city its chain)"
                )
        if wrong:
            raise ConfigError(wrong)

    def rotate(self, origin: str, void_from: int = 0, second: bool | None = None) -> str:
        """Bring the `next` key of an origin in the hub's custody into force; gives its vkey."""
        if origin != HUB and origin not in self.custodial():
            raise HubError(f"{origin} signs for itself", mend="its own node rotates its key: `partner rotate`")
        self.issuer(origin)
        return str(self._rotate(origin, void_from=void_from, second=second))

    def _rotate(self, origin: str, **how: Any) -> VKey:
        found = self._ring.rotate(
            origin, self.ledger.chain(origin), lambda raw: self.ledger.append([Submission(raw, None)]),
            self.settings.hub.name, stamp(self.now()), **how,
        )  # fmt: skip
        self._issuers.pop(origin, None)
        return found

    def id_of(self, kind: str, origin: str, parts: list[str]) -> str:
        """The id of a record of a member in the hub's custody, by the city's own key."""
        names = [name for name in self.settings.kinds if kind in (name, name.split("/")[0])]
        if not names:
            raise ConfigError([f"{kind}: no such kind; known: {', '.join(sorted(self.settings.kinds))}"])
        return self.issuer(origin).id_of(max(names), msgspec.json.encode(parts).decode())

    def announced(self, raw: bytes) -> pins.Announced:
        """What a city's announcement says of its keys, once it holds against the ledger and every key known here."""
        chains = {chain.origin: chain for chain in self.store.chains()}
        known = [pins.Held(chain.origin, "batch", key) for chain in chains.values() for key in chain.keys]
        for info in keys.list_keys(self.folder / "keys"):
            known.append(pins.Held(info.owner, info.role, parse_vkey(info.vkey, note.ED25519, note.COSIGNATURE, note.PRIVATE)))
        for code, text in self._http_keys():
            known.append(pins.Held(code, "http", parse_vkey(text)))
        for each in self.framework.witnessing.witnesses if self.framework.witnessing else ():
            known.append(pins.Held(each.name, "witness", each.vkey))

        def standing(origin: str) -> tuple[Chain, str | None]:
            past = self.desk.past_pin(origin)
            return chains.get(origin, Chain(origin)), past.first_key if past else None

        return pins.read(raw, self.settings.hub.name, standing, known)

    def trust_file(self) -> TrustFile:
        """What a verifier of this hub's evidence believes beforehand."""
        pins = {origin: pin for chain in self.store.chains() if (pin := self._trust(origin := chain.origin))}
        policy = self.framework.witnessing or Policy((), 0)
        return TrustFile(self.settings.hub.name, self._ring.signer("ledger", HUB).vkey, policy, pins)

    def _pinned(
        self, framework: Framework, first_keys: Mapping[str, str], http_keys: Mapping[str, list[str]]
    ) -> Framework:
        name, at = self.settings.hub.name, stamp(self.now())
        made = {HUB: keys.pin_of(self._ring.first_note(name, HUB, "self", at))}
        for code, member in framework.members.items():
            if member.custody == "custodial":
                made[code] = keys.pin_of(self._ring.first_note(name, code, "custodial", at))
                if member.first_key not in (None, made[code]):
                    raise ConfigError(
                        [f"framework.yaml: {code}: first_key is not that of the key in {self.folder}/keys"]
                    )
        pinned = framework.with_pins({**made, **first_keys}, http_keys)
        keys.distinct(
            [HttpKey.pinned(code, text).vkey for code, member in pinned.members.items() for text in member.http_keys]
        )
        return pinned

    def _trust(self, origin: str) -> Pin | None:
        if origin == HUB:
            return Pin(self.framework.hub_first_key, "self")
        member = self.framework.members.get(origin)
        if member is not None:
            return Pin(member.first_key, member.custody)
        # Of who is a member no longer, what was accepted stays verifiable.
        return self.desk.past_pin(origin)

    def hand_over(self, origin: str, to: str) -> dict[str, str]:
        """Announce a city's own key as the next one of its chain; gives what its node needs, of which `id_key` is secret.

        The hub goes on signing until the framework says `custody: self`; from then on only the city can.
        """
        self.issuer(origin)
        if origin not in self.custodial():
            raise HubError(f"{origin} signs for itself already")
        self._rotate(origin, to=parse_vkey(to))
        first = self.ledger.store.entry_at(origin, 1)
        assert first is not None
        return {"hub": self.settings.hub.name, "origin": origin, "first_key": first.text_hash,
                "id_key": b64(self._secrets.id_key(origin))}  # fmt: skip

    def revoke(self, handle: str, reason: str) -> None:
        """Refuse an HTTP key from the next request on, in every process of this hub; `handle` is its name+id or vkey."""
        keyid = "+".join(handle.split("+")[:2])
        known = [HttpKey.pinned(code, text).keyid for code, text in self._http_keys()]
        if keyid not in known:
            raise ConfigError([f"{handle}: no member calls with this key; `keys list` and framework.yaml name them"])
        with self.store.transaction():
            self.store.put(REVOKED, json.dumps(self._revoked() | {keyid: [stamp(self.now()), reason]}, sort_keys=True))

    def _revoked(self) -> dict[str, Any]:
        """When and why each HTTP key that is refused was, by its key id."""
        found: dict[str, Any] = json.loads(self.store.get(REVOKED) or "{}")
        return found

    def _http_keys(self) -> Iterator[tuple[str, str]]:
        for code, member in self.framework.members.items():
            yield from ((code, text) for text in member.http_keys)

    def _http_key(self, keyid: str) -> HttpKey | None:
        if keyid in self._revoked():
            return None
        for code, text in self._http_keys():
            last = self.framework.members[code].http_until.get(text)
            until = datetime.combine(last, time(23, 59, 59), self.settings.zone) if last else None
            key = HttpKey.pinned(code, text, until)
            if key.keyid == keyid:
                return key
        return None

    def key_ends(self) -> list[KeyEnd]:
        """When keys are to be replaced, soonest first: each origin's by its key/v1 in force, a member's last HTTP key."""
        today, found = self.now().astimezone(self.settings.zone).date(), []
        for chain in self.store.chains():
            if chain.origin in (HUB, *self.framework.members):
                raw = self.store.key_entries(chain.origin)[-1].note
                since = batch.parse(self.ledger.hub, note.parse(raw).text).time
                found.append(keys.end_of(chain.origin, "batch", chain.keys[0].handle, since, self.settings.hub.key_age, today))
        ends = [each for each in found if each] + self.settings.http_ends(today)
        return sorted(ends, key=lambda each: (each.left, each.owner))

    def custodial(self) -> list[str]:
        """The members the hub signs for."""
        return [code for code, member in self.framework.members.items() if member.custody == "custodial"]

    def issuer(self, origin: str) -> Issuer:
        """Signs for an origin in the hub's custody; its first key/v1 is put on the ledger first."""
        if origin not in self._issuers:
            if origin != HUB and origin not in self.custodial():
                raise HubError(f"{origin} signs for itself", mend="its own node collects and pushes")
            if not self.ledger.chain(origin).keys:
                custody = "self" if origin == HUB else "custodial"
                first = self._ring.first_note(self.settings.hub.name, origin, custody, stamp(self.now()))
                self.ledger.append([Submission(first, None)])
            id_key = self._secrets.id_key(origin)
            self._issuers[origin] = Issuer(
                self.ledger, origin, lambda: self._ring.signers(origin), id_key, self._secrets.digest_key, self.now
            )
        return self._issuers[origin]

    # --- work ---

    def sources(self) -> list[Declaration]:
        """The declarations the hub itself pulls: every origin they write is in its custody."""
        custodial = set(self.custodial())
        return [
            each
            for _, each in sorted(self.settings.declarations.items())
            if all(origin in custodial for feed in each.feeds for origin in feed.origins)
        ]

    def awake(self) -> list[Declaration]:
        """Those of `sources` that are not paused."""
        paused = self.pauses.all()
        return [each for each in self.sources() if each.code not in paused]

    def pull(
        self, declaration: Declaration, *, who: str, full: bool = False, progress: Progress | None = None
    ) -> list[Outcome]:
        """Pull every feed of one jurisdiction."""
        return self.pulls.run(declaration, who=who, full=full, progress=progress)

    def trial(self, declaration: Declaration) -> list[dict[str, Any]]:
        """What pulling with this declaration would do, feed by feed, with nothing stored."""
        connection = self._connection(declaration.code)
        return [{"feed": feed.name} | self.intake.trial(feed, connection) for feed in declaration.feeds]

    def reconcile(self, agreement: str, nights: list[str], progress: Progress | None = None) -> list[Night]:
        """Run nights of an agreement, then verify the whole ledger and note when that was."""
        done = self.nightly.run(agreement, nights, progress)
        if done:
            self.verify()
        return done

    def verify(self) -> audit.Report:
        """Replay the hub's own ledger as a partner would, and remember that it held."""
        seal = self._ring.signer("ledger", HUB).vkey
        try:
            report = audit.verify(LocalLedger(self.ledger), self.settings.hub.name, seal, self._trust)
        except HubError as error:
            self._remember(problem={"zh": error.what, "en": error.what})
            raise
        self._remember(at=stamp(self.now()), size=report.size, problem=None)
        return report

    def _remember(self, **verified: Any) -> None:
        """What the last verification gave, beside what an earlier one that held gave."""
        with self.store.transaction():
            known = json.loads(self.store.get(VERIFIED) or "{}")
            self.store.put(VERIFIED, json.dumps(known | verified, ensure_ascii=False))

    def tick(self) -> None:
        """What is due now: the day's framework, pulls, nights. Another process at it is left to it."""
        with contextmanager(_only_one)(self.folder / "tick.lock") as mine:
            if not mine:
                return
            now = self.now()
            self.announce()
            started = {pull.code: datetime.fromisoformat(pull.started) for pull in self.store.last_pulls()}
            for declaration in self.awake():
                last = started.get(declaration.code)
                if self.stopping.is_set():
                    return
                if last is None or now - last >= self.settings.hub.pull_every:
                    self._pull_guarded(declaration)
            self.ask_witnesses()
            self._expire_guarded()
            scrub(self.store)
            self.searching.catch_up(stop=self.stopping.is_set)
            due: dict[str, list[str]] = {}
            for agreement, night in self.nightly.due():
                due.setdefault(agreement, []).append(night)
            for agreement, nights in due.items():
                self.reconcile(agreement, nights)

    def _compare(self) -> None:
        for problem in self.desk.witnessing.compare(WitnessPost(timeout=5)):
            _log.warning("%s", problem)

    def ask_witnesses(self) -> None:
        """Take the checkpoint to the witnesses that have an address; one that is away is named in the log and stops nothing."""
        for problem in self.desk.witnessing.ask(WitnessPost()):
            _log.warning("%s", problem)

    def _pull_guarded(self, declaration: Declaration) -> None:
        """One city's unforeseen error must not stop the others; its run stays without an end, and shows so."""
        try:
            self.pull(declaration, who="schedule")
        except Locked:
            pass  # Somebody reads it just now.
        except Exception as error:
            _log.error("pull of %s broke off: %s", declaration.code, type(error).__name__)

    def _expire_guarded(self) -> None:
        """What cannot be erased now must not stop the nights; the next tick tries again."""
        try:
            self.erasures.expire_daily()
        except Exception as error:
            _log.error("erasing what is kept no longer broke off: %s", type(error).__name__)

    # --- serving ---

    def web(self) -> Flask:
        """The hub's web application."""
        http = HttpKey.signing(HUB, self._ring.signer("http", HUB))
        gate = Gate(
            authority(self.url),
            self._http_key,
            self.nonces,
            http,
            self.now,
            not_before=self.nonces.since,
        )
        told = self.settings.hub.oidc
        if told is not None:
            told = told._replace(client_secret=self.settings.secret(told.client_secret))
        asked = Provider(told, f"{self.url}/login/oidc/back") if told else None
        tiles_open = self.demo or self.settings.hub.tiles == "everybody"
        rooms = Rooms(
            self.status.frame, self.status, self.healthy, self.reports, self.accounts, self.worklist,
            book=Book(self.ledger, self.desk.witnessing.state, self.trust_file, lambda: self.framework, self.url),
            framework=lambda: self.framework, versions=self.versions, kinds=self.settings.kinds,
            jurisdictions=self.jurisdictions, records=self.records, provider=asked,
            is_open=self.demo or self.settings.hub.status_page == "everybody", tiles_open=tiles_open,
            secure=self.url.startswith("https://"),
        )  # fmt: skip
        return web.create_app(self._desk_for_web(), gate, self.status, tiles_open=tiles_open, console=rooms)

    def _desk_for_web(self) -> "WebDesk":
        return WebDesk(self.desk, self.ledger)

    def healthy(self) -> tuple[bool, str]:
        """Whether the ledger can be read and its head served."""
        try:
            self.ledger.checkpoint()
        except HubError as error:
            return False, error.what
        return True, "ok"


def restore(
    settings: Settings, backup_folder: Path, head: bytes | None, ring: KeyRing
) -> dict[str, Any]:
    """Bring a backup back into the data folder of a hub that does not run; what is refused leaves no store behind."""
    folder, key = settings.hub.data, ring.signer("ledger", HUB).vkey
    refuse_other_purpose(folder, False)
    head_path = settings.hub.head or folder / "head" / "checkpoint"
    if head is not None:
        backup.set_head(head_path, head, key)
    path = folder / "store" / "hub.db"
    manifest = backup.place(backup_folder, path)
    secrets = ring.secrets()
    store = SqliteStore(path, secrets.vault())
    try:
        if manifest.hub != settings.hub.name:
            raise ConfigError([f"{backup_folder}: a backup of {manifest.hub}, and hub.yaml names {settings.hub.name}"])
        first = {chain.origin: store.entry_at(chain.origin, 1) for chain in store.chains()}
        pins = {origin: Pin(entry.text_hash, store.chain(origin).custody) for origin, entry in first.items() if entry}
        found = backup.accept(
            store, HeadFile(head_path), key, settings.hub.name, pins.get, signs_for, settings.kinds, secrets.digest_key
        )
    except BaseException:
        store.close()
        for each in path.parent.glob("hub.db*"):
            each.unlink()
        raise
    store.close()
    return found


class WebDesk:
    """Desk and ledger as the web asks for them."""

    def __init__(self, desk: Desk, ledger: Ledger) -> None:
        self.push, self.entries, self.framework, self.evidence = desk.push, desk.entries, desk.framework, desk.evidence
        self.tile, self.entry_bundle = ledger.tile, ledger.entry_bundle
        self.target, self.cosign = desk.target, desk.cosign
        self.attach, self.attachment = desk.attach, desk.attachment
        self._ledger, self._witnessing = ledger, desk.witnessing

    def checkpoint(self) -> bytes:
        """The published checkpoint, with the cosignatures of a quorum where it has one."""
        raw, head = self._ledger.checkpoint()
        found = self._witnessing.witnessed()
        return found.raw if found and found.checkpoint == head else raw

    def witnessed(self) -> bytes | None:
        found = self._witnessing.witnessed()
        return found.raw if found else None


def refuse_other_purpose(folder: Path, demo: bool) -> None:
    """Mark a demo's folder, and refuse to serve one as a real hub (before any passphrase is asked for)."""
    mark = folder / MARK
    if demo:
        if (folder / "store").exists() and not mark.exists():
            raise HubError("this folder holds a real hub", where=str(folder), mend="give the demo another --data")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark.write_text("A demo's data: sample cities, keys without worth. Never serve it as a real ledger.\n")
    elif mark.exists():
        raise HubError("a demo ledger is never served as a real one", where=str(folder), mend="use another --data")


def _only_one(path: Path) -> Iterator[bool]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


def refuse_open_http(hub: HubSettings) -> None:
    """Plain HTTP is for loopback, and for an address that a TLS proxy named by public_url stands before."""
    loopback = hub.host in ("localhost", "::1") or hub.host.startswith("127.")
    if not loopback and not (hub.public_url or "").startswith("https://"):
        raise ConfigError([f"--host {hub.host}: the hub speaks plain HTTP; set public_url to the https:// address of the "
                           "TLS proxy before it, or listen on 127.0.0.1"])  # fmt: skip


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, so that the port is known before anything is signed for it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise Locked(f"cannot listen on {host}:{port} ({error.strerror})", mend="choose another --port") from error
    return bound


class Server:
    """waitress in a thread, and the scheduler's tick; `stop` ends both cleanly."""

    def __init__(self, app: Flask, bound: socket.socket, tick: Callable[[], None] | None, *, proxied: bool = False) -> None:
        """`proxied`: a TLS proxy on this machine stands before it, and says from where it was asked (X-Forwarded-For)."""
        trusted = {"trusted_proxy": "127.0.0.1", "trusted_proxy_headers": {"x-forwarded-for"}} if proxied else {}
        self._channels: dict[int, Any] = {}
        self._server = create_server(
            app, sockets=[bound], threads=THREADS, ident=None, map=self._channels,
            # A little more than Flask allows: its refusal is signed, waitress's own is not.
            max_request_body_size=web.MAX_BODY + (1 << 20),
            # Bodies hold disclosures: they stay in memory and never become temporary files.
            inbuf_overflow=16 << 20, outbuf_overflow=64 << 20, recv_bytes=1 << 18,
            channel_timeout=60, clear_untrusted_proxy_headers=True, expose_tracebacks=False, **trusted,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._server.run, name="web", daemon=True)
        self._scheduler = BackgroundScheduler(timezone="Asia/Shanghai") if tick else None
        if self._scheduler is not None:
            # The first at once: a new hub shows its cities without a minute's wait.
            self._scheduler.add_job(
                tick, "interval", minutes=1, max_instances=1, coalesce=True, misfire_grace_time=None,
                next_run_time=datetime.now(UTC),
            )  # fmt: skip

    def start(self) -> None:
        self._thread.start()
        if self._scheduler is not None:
            self._scheduler.start()

    def stop(self) -> None:
        if self._scheduler is not None and self._scheduler.running:
            self._scheduler.shutdown(wait=True)
        if self._thread.is_alive():
            # From the server's own loop: connections kept alive would hold it open for seconds.
            # Awake for another reason it may have done so, its trigger included, before this call has rung.
            with suppress(OSError):
                self._server.trigger.pull_trigger(lambda: wasyncore.close_all(self._channels))
            self._thread.join(timeout=10)
        else:
            wasyncore.close_all(self._channels)
        self._server.task_dispatcher.shutdown()


def with_data(settings: Settings, data: Path | None, host: str | None, port: int | None) -> Settings:
    """The settings with what the command line gave in place of hub.yaml's."""
    hub = settings.hub
    if hub.public_url == public_url(replace(hub, public_url="")):
        hub = replace(hub, public_url="")  # Only what host and port imply: it follows the ones given here.
    hub = replace(hub, data=data or hub.data, head=None if data else hub.head, host=host or hub.host,
                  port=hub.port if port is None else port)  # fmt: skip
    return replace(settings, hub=hub)


def as_demo(settings: Settings, data: Path, host: str, port: int) -> Settings:
    """The settings of a demo: a name that says so in every entry, loopback, tiles open to everybody."""
    hub = replace(settings.hub, name=f"{settings.hub.name}/demo", data=data, head=None, host=host, port=port,
                  public_url=f"http://{host}:{port}", tiles="everybody", pull_every=timedelta(minutes=5))  # fmt: skip
    return replace(settings, hub=hub)
