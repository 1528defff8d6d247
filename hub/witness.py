"""Witnesses: whose cosignatures a checkpoint needs, the messages of tlog-witness, and two views of one size as proof of a fork.

Rule 1. A cosignature states one thing: that this tree continues every tree its witness cosigned before.
Rule 2. A quorum of k among n protects against a split view only where k > n/2; it tolerates 2k−n−1 dishonest witnesses.
Pure: stores and network are elsewhere. Formats: C2SP tlog-witness v1.0.0, tlog-cosignature v1.0.1, tlog-policy.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from hub import merkle, note
from hub.canonical import b64, unb64
from hub.errors import KeyRefused, RecordError, Tampered
from hub.note import Checkpoint, VKey

MOST_HASHES = 63
FORK = "fork/v1"


class Witness(NamedTuple):
    """Who cosigns: a member's code or another name, its key of type 0x04, and its address ("" where it pulls)."""

    name: str
    vkey: VKey
    url: str = ""


class Policy(NamedTuple):
    """The witnesses, and how many of them make a quorum."""

    witnesses: tuple[Witness, ...]
    quorum: int

    @property
    def tolerated(self) -> int:
        """How many dishonest witnesses a quorum outlasts."""
        return 2 * self.quorum - len(self.witnesses) - 1

    def text(self, log: VKey) -> str:
        """The policy in the words of tlog-policy, as stock clients read it."""
        lines = [f"log {log}"]
        lines += [f"witness {each.name} {each.vkey}{' ' + each.url if each.url else ''}" for each in self.witnesses]
        lines.append(f"group quorum-group {self.quorum} {' '.join(each.name for each in self.witnesses)}")
        return "\n".join([*lines, "quorum quorum-group", ""])

    def plain(self) -> dict[str, Any]:
        """The policy as JSON has it."""
        witnesses = [{"name": each.name, "vkey": str(each.vkey), "url": each.url} for each in self.witnesses]
        return {"witnesses": witnesses, "quorum": self.quorum}

    def signed_by(self, parsed: note.Note) -> dict[str, int]:
        """The witnesses whose cosignature a note carries, and when each was made; KeyRefused for one that does not hold."""
        found: dict[str, int] = {}
        for line in parsed.lines:
            for each in self.witnesses:
                if (each.vkey.name, each.vkey.id) == (line.name, line.id):
                    if not each.vkey.verify(line.signature, parsed.text):
                        raise KeyRefused("a witness's cosignature does not hold", where=each.name)
                    found[each.name] = note.time_of(line)
        return found


def policy_of(plain: dict[str, Any]) -> Policy:
    """The policy of its plain form; RecordError where it is none."""
    try:
        witnesses = tuple(
            Witness(each["name"], note.parse_vkey(each["vkey"], note.COSIGNATURE), each.get("url", ""))
            for each in plain["witnesses"]
        )
        quorum = plain["quorum"]
    except (KeyError, TypeError, AttributeError) as error:
        raise RecordError("not a witness policy", where="witnesses") from error
    if type(quorum) is not int or not len(witnesses) < 2 * quorum <= 2 * len(witnesses):
        raise RecordError("a quorum is more than half of the witnesses", where="witnesses")
    return Policy(witnesses, quorum)


def policy_text(text: str) -> tuple[VKey, Policy]:
    """The log's key and the policy of a tlog-policy text that names one log and one group of k; RecordError otherwise."""
    log, witnesses, groups, quorum = None, [], dict[str, tuple[str, tuple[str, ...]]](), ""
    for n, raw in enumerate(text.splitlines(), 1):
        words = raw.partition("#")[0].split()
        match words:
            case []:
                pass
            case ["log", key, *_]:
                log = note.parse_vkey(key)
            case ["witness", name, key, *rest] if len(rest) < 2:
                witnesses.append(Witness(name, note.parse_vkey(key, note.COSIGNATURE), *rest))
            case ["group", name, many, *rest] if rest:
                groups[name] = (many, tuple(rest))
            case ["quorum", name]:
                quorum = name
            case _:
                raise RecordError("not a line of tlog-policy", where=f"policy line {n}")
    if log is None:
        raise RecordError("names no log", where="policy")
    if quorum in ("", "none"):
        return log, Policy((), 0)
    many, names = groups.get(quorum, ("1", (quorum,)))
    chosen = tuple(each for each in witnesses if each.name in names)
    count = {"all": len(chosen), "any": 1}.get(many) or note.number(many, "policy group")
    if len(chosen) != len(names) or not 1 <= count <= len(chosen):
        raise RecordError("the quorum names an unknown witness, or more than there are", where="policy")
    return log, Policy(chosen, count)


# --- tlog-witness ---


class Ask(NamedTuple):
    """An add-checkpoint: the size the log believes this witness to hold, the proof from there, and the signed checkpoint."""

    old: int
    proof: tuple[bytes, ...]
    checkpoint: bytes

    def body(self) -> bytes:
        lines = "".join(f"{b64(each)}\n" for each in self.proof)
        return f"old {self.old}\n{lines}\n".encode() + self.checkpoint


def parse_ask(body: bytes) -> Ask:
    """The parts of an add-checkpoint body; RecordError on anything but its one form."""
    head, cut, checkpoint = body.partition(b"\n\n")
    try:
        first, *lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise RecordError("not ASCII before the checkpoint", where="add-checkpoint") from None
    if not cut or not first.startswith("old ") or len(lines) > MOST_HASHES:
        raise RecordError("not `old <n>`, at most 63 hashes, a blank line and a checkpoint", where="add-checkpoint")
    return Ask(note.number(first[4:], "old"), tuple(unb64(each, 32, "proof") for each in lines), checkpoint)


class Seen(NamedTuple):
    """The newest tree a witness cosigned: its size and root; size 0 before the first."""

    size: int = 0
    root: bytes = merkle.EMPTY


class Answer(NamedTuple):
    """What a witness says to an add-checkpoint: the HTTP status, the body, its media type, and what it holds from now on."""

    status: int
    body: bytes
    type: str = "text/plain; charset=utf-8"
    seen: Seen | None = None


def answer(seen: Seen, body: bytes, log: VKey, cosign: "Cosign") -> Answer:
    """What a witness that has `seen` says (tlog-witness): the caller keeps the answer's `seen` before it gives the answer."""
    try:
        ask = parse_ask(body)
        parsed = note.parse(ask.checkpoint)
    except RecordError as error:
        return Answer(400, f"{error.what}\n".encode())
    if parsed.text.split(b"\n")[0] != log.name.encode():
        return Answer(404, b"a log that is not witnessed here\n")
    try:
        published = note.open_checkpoint(ask.checkpoint, log)
    except KeyRefused:
        return Answer(403, b"no signature of the log's key holds\n")
    except RecordError as error:
        return Answer(400, f"{error.what}\n".encode())
    if ask.old > published.size:
        return Answer(400, b"old is larger than the checkpoint\n")
    if ask.old != seen.size or (published.size == seen.size and published.root != seen.root):
        return Answer(409, f"{seen.size}\n".encode(), "text/x.tlog.size")
    if not merkle.check_consistency(seen.size, seen.root, published.size, published.root, ask.proof):
        return Answer(422, b"the proof does not lead from what was cosigned to this checkpoint\n")
    return Answer(200, cosign(parsed.text), seen=Seen(published.size, published.root))


class Cosign:
    """Makes the cosignature lines of one witness at the present time."""

    def __init__(self, signer: note.Signer, now: Any) -> None:
        self._signer, self._now = signer, now

    def __call__(self, text: bytes) -> bytes:
        return note.cosign(text, self._signer, int(self._now().timestamp()))


# --- a fork ---


def fork_of(
    hub: str, one: bytes, other: bytes, root: bytes | None = None, proof: Sequence[bytes] = ()
) -> bytes:
    """Two signed checkpoints that cannot both be true, as a document that anybody can check.

    Of one size they speak for themselves. Otherwise `root` is what the larger one says of the smaller one's size, by the
    consistency `proof` from there.
    """
    plain: dict[str, Any] = {"fork": f"{hub}/{FORK}", "checkpoints": [one.decode(), other.decode()]}
    if root is not None:
        plain |= {"root": b64(root), "consistency": [b64(each) for each in proof]}
    return json.dumps(plain, indent=1).encode()


def check_fork(document: Any, log: VKey) -> tuple[Checkpoint, Checkpoint]:
    """The two checkpoints of a proven fork, the smaller first; RecordError or KeyRefused where it proves nothing."""
    try:
        one, other = sorted(
            (note.open_checkpoint(each.encode(), log) for each in document["checkpoints"]), key=lambda each: each.size
        )
        if one.size == other.size:
            other_root = other.root
        else:
            other_root = unb64(document["root"], 32, "root")
            proof = [unb64(each, 32, "consistency") for each in document["consistency"]]
            if not merkle.check_consistency(one.size, other_root, other.size, other.root, proof):
                raise RecordError("the proof does not lead to the larger checkpoint", where="fork")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError("not a proof of a fork", where="fork") from error
    if one.root == other_root:
        raise RecordError("two checkpoints that can both be true", where="fork")
    return one, other


class Forked(Tampered):
    """One ledger key signed two trees of one size; `proof` is the document that shows it."""

    def __init__(self, what: str, proof: bytes) -> None:
        super().__init__(what, mend="keep fork.json and show it to the other members: `verify fork.json` explains it")
        self.proof = proof
