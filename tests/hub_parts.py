"""A real hub for tests: the shipped configuration, real keys, stores, nodes, and waitress on a loopback port.

No city system stands behind it: records are the generator's, signed by intake's issuers. One clock
serves hub and nodes, so that a test sets the date. Opening a folder again resumes, on the same port.
"""

import functools
import random
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from adapters.declared import read_yaml
from adapters.sample import generator
from hub import app, batch, note, partner, record
from hub.framework import Framework, parse_framework
from hub.intake import Draft, Issuer
from hub.keys import KeyRing
from hub.kinds import load_kinds
from hub.ledger import leaf_hashes
from hub.note import parse_vkey
from hub.partner import Node, NodeFile
from hub.record import Leaf
from hub.settings import Settings
from hub.settings import load as load_settings
from hub.witness import Policy, Witness

ROOT = Path(__file__).parents[1]
PHRASE = "a passphrase for tests"
START = datetime(2026, 11, 22, 17, 0, tzinfo=ZoneInfo("Asia/Shanghai"))
KINDS = load_kinds(ROOT / "config" / "kinds")
TYPE = partner.BATCH_TYPE
# Of both cooperations: two that sign for themselves, three that the hub signs for and that pull.
SELVES = ("330483", "330521")
PULLERS = ("330400", "330503", "330522")


@functools.cache
def settings() -> Settings:
    """The shipped configuration."""
    return load_settings(ROOT / "config")


class Clock:
    """The time of hub and nodes."""

    def __init__(self) -> None:
        self.at, self.live = START, False

    def __call__(self) -> datetime:
        return datetime.now(START.tzinfo).replace(microsecond=0) if self.live else self.at


def framework(folder: Path, selves: tuple[str, ...], *edits: tuple[str, str]) -> Framework:
    """The shipped framework.yaml with these members self-signing and these texts replaced, each once."""
    text = (ROOT / "config" / "framework.yaml").read_text()
    for code in selves:
        text = re.sub(rf'("{code}":.*custody: )\w+', r"\1self", text)
    for old, new in edits:
        assert text.count(old) == 1, f"stands {text.count(old)} times: {old}"
        text = text.replace(old, new)
    path = folder / "framework.yaml"
    path.write_text(text)
    return parse_framework(read_yaml(path), KINDS)


class Rig:
    """A hub and the nodes of its partners under one folder."""

    def __init__(
        self, folder: Path, *edits: tuple[str, str], selves: tuple[str, ...] = SELVES,
        pullers: tuple[str, ...] = PULLERS, serve: bool = True, bound: socket.socket | None = None,
        nodes: Sequence[str] | None = None, witnesses: Sequence[str] = (), quorum: int = 0,
    ) -> None:  # fmt: skip
        """`nodes` are those to open (all unless told); `witnesses` those of whom a quorum must cosign."""
        self._witnesses, self._quorum = witnesses, quorum
        self.folder, self.selves, self.clock = folder, selves, Clock()
        folder.mkdir(exist_ok=True)
        # Held open while hubs come and go: the port stays ours, and who calls meanwhile waits.
        self.bound = bound or app.bind("127.0.0.1", 0)
        self.bound.listen(64)
        self.port = self.bound.getsockname()[1]
        self.settings = app.with_data(settings(), folder / "hub", "127.0.0.1", self.port)
        self.settings = replace(self.settings, framework=framework(folder, selves, *edits))
        self.ring = app.make_keys(self.settings, folder / "hub" / "keys", PHRASE, self.clock())
        self.card = app.card(self.settings, folder / "hub" / "keys", f"http://127.0.0.1:{self.port}")
        self.made: dict[str, dict[str, str]] = {}
        self.nodes: dict[str, Node] = {}
        self.rings: dict[str, KeyRing] = {}
        self.signers: dict[str, note.Signer] = {}
        for code in (*selves, *pullers):
            self.rings[code] = KeyRing(folder / code / "keys", PHRASE)
            self.made[code] = partner.init(folder / code, NodeFile(self.card, code), self.rings[code], self.clock)
            if nodes is None or code in nodes:
                self.node(code)
        self.hub: Any = None
        self.server: Any = None
        if serve:
            self.open()

    def node(self, code: str, **changed: str) -> Node:
        """A node opened (again); `changed` replaces values of the hub's card."""
        if code in self.nodes:
            self.nodes.pop(code).close()
        if changed:
            (self.folder / code / "node.json").unlink()
            card = NodeFile(replace(self.card, **changed), code)
            partner.init(self.folder / code, card, self.rings[code], self.clock)
        self.nodes[code] = Node(self.folder / code, self.rings[code], KINDS, self.clock, timeout=30)
        return self.nodes[code]

    def policy(self) -> Policy | None:
        """The witnesses of this rig and their quorum."""
        keys = [(code, parse_vkey(self.made[code]["witness_key"], note.COSIGNATURE)) for code in self._witnesses]
        return Policy(tuple(Witness(*each) for each in keys), self._quorum) if keys else None

    def compose(self) -> app.Hub:
        """The hub over its folder, not served."""
        hub = app.Hub(
            self.settings, self.folder / "hub", self.ring, port=self.port, now=self.clock,
            first_keys={code: made["first_key"] for code, made in self.made.items() if code in self.selves},
            http_keys={code: [made["http_key"]] for code, made in self.made.items()}, witnesses=self.policy(),
        )  # fmt: skip
        hub.announce()
        return hub

    def open(self) -> None:
        self.hub = self.compose()
        self.serve()

    def serve(self) -> None:
        self.server = app.Server(self.hub.web(), self.bound.dup(), None)
        self.server.start()

    def stop(self) -> None:
        if self.hub is not None:
            self.server.stop()
            self.hub.close()
            self.hub = None

    def restart(self, *edits: tuple[str, str]) -> None:
        """Stop, change framework.yaml, start again."""
        self.stop()
        self.settings = replace(self.settings, framework=framework(self.folder, self.selves, *edits))
        self.open()

    def close(self) -> None:
        self.stop()
        for node in self.nodes.values():
            node.close()
        self.bound.close()

    # --- records ---

    def signer(self, owner: str) -> note.Signer:
        """The key that signs a city's batches, or the hub's own."""
        if owner not in self.signers:
            self.signers[owner] = self.rings.get(owner, self.ring).signer("batch", owner)
        return self.signers[owner]

    def issuer(self, code: str) -> Issuer:
        """Signs for a city: on its node where it signs for itself, else on the hub."""
        return self.nodes[code].issuer(code) if code in self.selves else self.hub.issuer(code)

    def put(self, code: str, kind: str, found: Mapping[str, dict[str, Any]]) -> list[Leaf]:
        """Sign bodies by source key; what a self city signs is pushed by its node's `push`."""
        issuer = self.issuer(code)
        for body in found.values():
            KINDS[kind].accept(body)
        return issuer.issue([issuer.draft(KINDS[kind], key, body) for key, body in found.items()])

    def push(self, code: str, body: bytes) -> Any:
        """Send a body with a city's HTTP key; gives (status, answer)."""
        try:
            reply = self.nodes[code]._client.post("/v1/batches", body, TYPE)
        except Exception as error:
            return error
        return reply.status, partner.msgspec.json.decode(reply.body)


@contextmanager
def rig(folder: Path, *edits: tuple[str, str], **options: Any) -> Iterator[Rig]:
    """A served hub with its nodes, closed at the end."""
    made = Rig(folder, *edits, **options)
    try:
        yield made
    finally:
        made.close()


TODAY = START.date()


def bodies(
    kind: str, code: str, n: int, *, to: str = "", seed: str = "", first: int = 1, today: date = TODAY
) -> dict[str, dict[str, Any]]:
    """`n` bodies of a city by source key, the same for the same arguments; letters need `to`."""
    draw = generator.seeded(f"{kind} {code} {to} {seed} {first}")
    where, found = generator.place(code), {}
    for number in range(first, first + n):
        (party,) = generator.parties(draw, where, 1)
        if kind == "case/1":
            body = generator.case(draw, where, party, number, today, True)
        elif kind == "inspection/1":
            body = generator.inspection(draw, where, party, number, today)
        else:
            body = generator.transfer(draw, where, generator.place(to), party, number, today)
        found[f"{seed}{to}{number}"] = body
    return found


def sealed(rig: Rig, code: str, kind: str, n: int = 1, **options: Any) -> list[Leaf]:
    """Leaves sealed for a city but on no ledger yet, rev 1."""
    leaves = []
    for key, body in bodies(kind, code, n, **options).items():
        content = record.plain(rig.nodes[code].digest_key, KINDS[kind], body)
        id = record.record_id(code.encode(), kind, key)
        leaves.append(record.seal(KINDS[kind], content, origin=code, id=id, rev=1, at=stamp(), salt=salt()))
    return leaves


def stamp() -> str:
    return START.isoformat()


def salt() -> Callable[[], str]:
    """Salts for leaves made by hand."""
    draw = random.Random("salts")
    return lambda: f"{draw.getrandbits(80):020}aa"[-22:]


def signed(rig: Rig, code: str, leaves: list[Leaf], *, chain: batch.Chain | None = None) -> bytes:
    """The note of a batch that continues a city's own chain (or the one given)."""
    node = rig.nodes[code]
    node.issuer(code)
    return batch.make(node.hub, chain or node.own.chain(code), leaf_hashes(leaves), [rig.signer(code)], stamp())


def packed(raw: bytes, leaves: list[Leaf]) -> bytes:
    """A push body."""
    return batch.pack(raw, ((leaf.raw, list(leaf.disclosures.values())) for leaf in leaves))


def pushed(rig: Rig, code: str, leaves: list[Leaf]) -> Any:
    """Sign and send leaves as the next batch of a city; its own ledger knows nothing of them."""
    return rig.push(code, packed(signed(rig, code, leaves), leaves))


def text_hash(raw: bytes) -> str:
    return batch.text_hash(note.parse(raw).text)


def withdrawn(issuer: Issuer, kind: str, key: str) -> Draft:
    """The draft that takes a record back."""
    return Draft(KINDS[kind], issuer.id_of(kind, key), None, "withdrawn")
