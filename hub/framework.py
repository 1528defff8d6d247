"""The cooperation framework: agreements, members, which groups of fields each partner receives, when and why.

Rule 1. Open fields travel with every shared record: a share names sealed groups and withholds nothing else.
Rule 2. Allow-list: what no share names is not shared; unknown kinds, codes and dates get nothing.
Rule 3. Two members share under an agreement only while it is in force and both are members. `joined` and
`in_force` are first days, `left` and `until` last days (有效期至), all in the agreement's time zone.
Rule 4. Several agreements add up: the union of their groups, and every clause that gives one.
Rule 5. A share with `only: correspondent` gives its groups only for letters between the two.
Rule 6. Records of the hub go whole to the members of the agreement they speak of; an origin sees its own.
Pure: dates and kinds are arguments. Configuration comes in through `parse_framework`, the ledger through
`from_texts`; `text` is what goes on the ledger, and holds all that rebuilding takes.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import date, time, timedelta
from typing import Any, NamedTuple, Protocol

from marshmallow import Schema, ValidationError, fields, validate

from adapters.declared import Code, DeclarationError, Doc, Read, check, did_you_mean
from hub.canonical import decode, encode, unb64
from hub.errors import RecordError
from hub.note import COSIGNATURE, is_name, parse_vkey
from hub.reconcile.deadlines import Deadlines, Rule, Term, parse_term
from hub.reconcile.findings import MARK
from hub.reconcile.match import MatchRule, MatchYaml, rule_of, rule_plain
from hub.reconcile.types import TYPES
from hub.reconcile.worklist import DECISIONS
from hub.record import is_origin
from hub.witness import Policy, Witness, policy_of

HUB = "hub"
TIERS = ("city", "county", "town")
CUSTODIES = ("custodial", "self")
ERASURE = "erasure/1"
HUB_KINDS = ("decision/1", ERASURE, "framework/1", "reconciliation/1")
"""Kinds that only the hub writes: no share names them (Rule 6)."""


# --- values ---


class Selector(NamedTuple):
    """Whom a share means: `how` is all, tier, codes, except, peers or superior; `what` the tier or codes."""

    how: str
    what: tuple[str, ...] = ()

    def picks(self, member: "Member", origin: "Member") -> bool:
        """Whether it means this member; `origin` is the sharing side, which peers and superior look at."""
        match self.how:
            case "tier":
                return member.tier in self.what
            case "codes":
                return member.code in self.what
            case "except":
                return member.code not in self.what
            case "peers":
                return member.tier == origin.tier
            case "superior":
                return member.code == superior(origin.code)
        return True

    def plain(self) -> Any:
        """Its spelling in framework.yaml."""
        if self.how == "tier":
            return {"tier": self.what[0]}
        return {self.how: list(self.what)} if self.what else self.how


def superior(code: str) -> str | None:
    """The code one tier above by GB/T 2260: 330483100 -> 330483 -> 330400; None above a city."""
    if not (code.isascii() and code.isdigit()):
        return None
    if len(code) in (9, 12):
        return code[:-3]
    if len(code) == 6 and not code.endswith("00"):
        return code[:4] + "00"
    return None


@dataclass(frozen=True, slots=True)
class Member:
    """One jurisdiction.

    `first_key` is the base64 SHA-256 of its first key/v1 text, `http_keys` are the vkeys it calls with, `http_until` the last
    day of those that have one.
    """

    code: str
    name: Mapping[str, str]
    tier: str
    custody: str
    first_key: str | None = None
    http_keys: tuple[str, ...] = ()
    http_until: Mapping[str, date] = field(default_factory=dict)

    @property
    def province(self) -> str:
        """GB/T 2260 code of the province ("33"), empty where the code is no region code."""
        return self.code[:2] if self.code.isdigit() else ""


class Membership(NamedTuple):
    """One stay in an agreement: first day, and last day where it has one."""

    code: str
    joined: date
    left: date | None = None

    def holds(self, on: date) -> bool:
        return self.joined <= on and (self.left is None or on <= self.left)


@dataclass(frozen=True, slots=True)
class Share:
    """What one side gives the other: sealed groups of a kind, the clause that says so, purpose and basis.

    With `correspondent`, only for records that name the receiver as their sender or addressee (Rule 5).
    """

    kind: str
    origins: Selector
    to: Selector
    groups: tuple[str, ...]
    clause: str
    purpose: str
    legal_basis: str
    correspondent: bool = False


class Practice(NamedTuple):
    """When a fine is far from what members do: at least so many cases of an item, so many times the usual spread away."""

    cases: int
    factor: int


@dataclass(frozen=True, slots=True)
class Reconciling:
    """What an agreement lets the hub compare between its members, beyond what each gives the other.

    `quarantine` is how long a row may stay set aside, `one_visit` within which time inspections of one party count as
    repeated. `keyed` fields are compared as keyed marks alone, never shown. `settle` is what the agreement itself decides:
    type of difference -> (decision, reason). `matching` says which records of two members may be the same matter.
    """

    clause: str
    legal_basis: str
    quarantine: Term | None = None
    one_visit: Term | None = None
    practice: Practice | None = None
    keyed: tuple[str, ...] = ()
    settle: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    matching: tuple[MatchRule, ...] = ()


@dataclass(frozen=True, slots=True)
class Agreement:
    """One agreement. `night` is the local time of its reconciliation, `freshness` how old a source may be."""

    id: str
    name: Mapping[str, str]
    basis: str
    in_force: date
    until: date | None
    night: time
    time_zone: str
    freshness: timedelta
    when_ended: str
    members: tuple[Membership, ...]
    shares: tuple[Share, ...]
    deadlines: Mapping[str, Term]
    reconcile: Reconciling | None = None

    def holds(self, on: date) -> bool:
        return self.in_force <= on and (self.until is None or on <= self.until)

    def codes(self, on: date) -> tuple[str, ...]:
        """Its members on that date, in code order; none while it is not in force."""
        if not self.holds(on):
            return ()
        return tuple(sorted(stay.code for stay in self.members if stay.holds(on)))


class Decision(NamedTuple):
    """Whether a record goes to a partner, which groups with it, and the clauses ("agreement: clause")."""

    shared: bool
    groups: frozenset[str]
    clauses: tuple[str, ...]


NOTHING = Decision(False, frozenset(), ())
OWN = "own record"
TO_ALL = "what was erased concerns everybody who may hold it"
TO_MEMBERS = "records of the hub go to the agreement's members"

_Table = dict[tuple[str, str, str | None, bool], Decision]


def union(found: Iterable[Decision]) -> Decision:
    """What several decisions give together: every group, and every clause that gives one."""
    shared = [each for each in found if each.shared]
    clauses = dict.fromkeys(clause for each in shared for clause in each.clauses)
    return Decision(bool(shared), frozenset().union(*(each.groups for each in shared)), tuple(clauses))


class KindLike(Protocol):
    """What the framework asks of a kind: its sealed groups, and its fields to explain a wrong group by."""

    @property
    def groups(self) -> tuple[str, ...]: ...
    @property
    def fields(self) -> Mapping[str, Any]: ...


class RecordLike(Protocol):
    """As much of a record as a decision needs; of its open fields those that `decisive` keeps."""

    @property
    def kind(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def op(self) -> str: ...
    @property
    def open(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Framework:
    """Every agreement and member, and the decision they make together.

    `groups` are the sealed groups of each kind; `hub_first_key` pins the hub's own chain; `witnessing` says whose
    cosignatures its checkpoints need.
    """

    members: Mapping[str, Member]
    agreements: Mapping[str, Agreement]
    groups: Mapping[str, tuple[str, ...]]
    hub_first_key: str | None = None
    witnessing: Policy | None = None
    _tables: dict[tuple[str, date], _Table] = field(default_factory=dict, init=False, repr=False, compare=False)

    def decide(
        self,
        kind: str,
        origin: str,
        to: str,
        on: date,
        agreement: str | None = None,
        between: Collection[str] = (),
    ) -> Decision:
        """What partner `to` receives of a record of `origin`; NOTHING where something is not known or agreed.

        `agreement` narrows to one agreement, and names the one that a record of the hub speaks of. `between`
        are the regions the record runs between, as `correspondents` finds them (Rule 5).
        """
        if origin == to:
            known = kind in self.groups and (to in self.members or to == HUB)
            return Decision(True, frozenset(self.groups[kind]), (OWN,)) if known else NOTHING
        if origin == HUB:
            if kind == ERASURE and kind in self.groups and to in self.members:
                return Decision(True, frozenset(self.groups[kind]), (TO_ALL,))
            if agreement is None or kind not in self.groups or agreement not in self.agreements_of(to, on):
                return NOTHING
            return Decision(True, frozenset(self.groups[kind]), (f"{agreement}: {TO_MEMBERS}",))
        table = self._tables.get((to, on))
        if table is None:
            table = self._remember(to, on)
        return table.get((kind, origin, agreement, to in between), NOTHING)

    def decide_on(self, record: RecordLike, to: str, on: date, within: Collection[str] = ()) -> Decision:
        """The same by a record's own open fields; `within` narrows to some agreements, where it names any.

        A retraction names no correspondent and holds no field: it goes to all who may have held what it takes back.
        """
        between = (to,) if record.op == "retract" else correspondents(record.open)
        if record.origin == HUB and to != HUB:
            spoken = record.open.get("agreement")
            if within and spoken is not None and spoken not in within:
                return NOTHING
            return self.decide(record.kind, HUB, to, on, spoken, between)
        found = [self.decide(record.kind, record.origin, to, on, each, between) for each in within or (None,)]
        return union(found)

    def _remember(self, to: str, on: date) -> _Table:
        # Callers may ask for any code and date: a bounded memory, emptied whole because dates only move on.
        if len(self._tables) >= 1_024:
            self._tables.clear()
        table = self._tables[to, on] = self._table(to, on)
        return table

    def _table(self, to: str, on: date) -> _Table:
        found: dict[tuple[str, str, str | None, bool], tuple[set[str], list[str]]] = {}
        for agreement, origin, share in self._links(to, on):
            for direct in (True,) if share.correspondent else (False, True):
                for narrow in (agreement.id, None):
                    groups, clauses = found.setdefault((share.kind, origin, narrow, direct), (set(), []))
                    groups.update(share.groups)
                    clause = f"{agreement.id}: {share.clause}"
                    if clause not in clauses:
                        clauses.append(clause)
        return {key: Decision(True, frozenset(groups), tuple(clauses)) for key, (groups, clauses) in found.items()}

    def _links(self, to: str, on: date) -> Iterator[tuple[Agreement, str, Share]]:
        for name in self.agreements_of(to, on):
            agreement = self.agreements[name]
            present = agreement.codes(on)
            for share in agreement.shares:
                for origin in present:
                    if self._joins(share, origin, to):
                        yield agreement, origin, share

    def _joins(self, share: Share, origin: str, to: str) -> bool:
        giver, taker = self.members[origin], self.members[to]
        return origin != to and share.origins.picks(giver, giver) and share.to.picks(taker, giver)

    def agreements_of(self, code: str, on: date) -> tuple[str, ...]:
        """The agreements in force on that date with this member, in the order of their names."""
        return tuple(name for name in sorted(self.agreements) if code in self.agreements[name].codes(on))

    def pins(self) -> dict[str, str]:
        """The pinned first key/v1 of every origin that has one: code -> base64 SHA-256."""
        pins = {code: member.first_key for code, member in sorted(self.members.items()) if member.first_key}
        return pins | ({HUB: self.hub_first_key} if self.hub_first_key else {})

    def with_pins(self, first_keys: Mapping[str, str], http_keys: Mapping[str, Sequence[str]]) -> "Framework":
        """The same framework with keys made at run time; ValueError for a code that is no member's."""
        unknown = (set(first_keys) - {HUB} | set(http_keys)) - set(self.members)
        if unknown:
            raise ValueError(f"not members: {', '.join(sorted(unknown))}")
        members = {
            code: replace(
                member,
                first_key=first_keys.get(code, member.first_key),
                http_keys=tuple(http_keys.get(code, member.http_keys)),
            )
            for code, member in self.members.items()
        }
        return replace(self, members=members, hub_first_key=first_keys.get(HUB, self.hub_first_key))

    def with_witnesses(self, policy: Policy | None) -> "Framework":
        """The same framework with witnesses known at run time."""
        return replace(self, witnessing=policy)

    def view_for(self, to: str, on: date) -> dict[str, Any]:
        """What one partner sees on a date: its agreements, what it receives and gives, pins. JSON-able."""
        return {
            "member": to,
            "on": on.isoformat(),
            "agreements": [self._seen(self.agreements[name], to, on) for name in self.agreements_of(to, on)],
            "pins": self.pins(),
            "witnesses": self.witnessing.plain() if self.witnessing else None,
        }

    def _seen(self, agreement: Agreement, to: str, on: date) -> dict[str, Any]:
        others = [code for code in agreement.codes(on) if code != to]
        seen = _agreement_plain(agreement)
        del seen["shares"]
        seen["members"] = [
            _member_plain(self.members[stay.code]) | {"joined": _iso(stay.joined), "left": _iso(stay.left)}
            for stay in sorted(agreement.members)
            if stay.holds(on)
        ]
        seen["receives"] = [row for code in others for row in self._rows(agreement, code, to, "from", code)]
        seen["gives"] = [row for code in others for row in self._rows(agreement, to, code, "to", code)]
        return seen

    def _rows(self, agreement: Agreement, origin: str, to: str, side: str, code: str) -> Iterator[dict[str, Any]]:
        for share in agreement.shares:
            if self._joins(share, origin, to):
                plain = _share_plain(share)
                del plain["from"], plain["to"]
                yield {side: code} | plain

    def text(self, agreement: str) -> bytes:
        """Canonical JSON of one agreement with members, pins and groups: what its record carries."""
        found = self.agreements[agreement]
        codes = sorted({stay.code for stay in found.members})
        kinds = sorted({share.kind for share in found.shares} | {kind for kind in HUB_KINDS if kind in self.groups})
        return encode(
            _agreement_plain(found)
            | {
                "jurisdictions": [_member_plain(self.members[code]) for code in codes],
                "groups": [{"kind": kind, "groups": sorted(self.groups[kind])} for kind in kinds],
                "hub_first_key": self.hub_first_key,
            }
            | ({"witnesses": self.witnessing.plain()} if self.witnessing else {})
        )


def correspondents(open_: Mapping[str, Any]) -> tuple[str, ...]:
    """The regions a record's open fields name as sender and addressee, in short form."""
    found = (open_.get("from_region"), open_.get("to_region"))
    return tuple(short_code(code) for code in found if isinstance(code, str))


def decisive(origin: str, open_: Mapping[str, Any]) -> dict[str, str]:
    """The open fields that a decision looks at, region codes in short form; records alike in these are decided alike."""
    if origin == HUB:
        return {"agreement": open_["agreement"]} if isinstance(open_.get("agreement"), str) else {}
    names = ("from_region", "to_region")
    return {name: short_code(open_[name]) for name in names if isinstance(open_.get(name), str)}


def short_code(code: str) -> str:
    """A region code without the zeros that fill it up: 330503000000 -> 330503, 330483100000 -> 330483100."""
    while len(code) > 6 and code.endswith("000"):
        code = code[:-3]
    return code


# --- to plain values and back ---


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _span_text(span: timedelta) -> str:
    minutes = span // timedelta(minutes=1)
    return str(Term(minutes // 60, "hours") if minutes % 60 == 0 else Term(minutes, "minutes"))


def _member_plain(member: Member) -> dict[str, Any]:
    return {
        "code": member.code,
        "name": dict(member.name),
        "tier": member.tier,
        "custody": member.custody,
        "first_key": member.first_key,
        "http_keys": [
            {"key": key, "until": _iso(member.http_until[key])} if key in member.http_until else key for key in member.http_keys
        ],
    }


def _share_plain(share: Share) -> dict[str, Any]:
    return {
        "kind": share.kind,
        "from": share.origins.plain(),
        "to": share.to.plain(),
        "groups": list(share.groups),
        "clause": share.clause,
        "purpose": share.purpose,
        "legal_basis": share.legal_basis,
        "only": "correspondent" if share.correspondent else None,
    }


def _agreement_plain(agreement: Agreement) -> dict[str, Any]:
    return {
        "agreement": agreement.id,
        "name": dict(agreement.name),
        "basis": agreement.basis,
        "in_force": _iso(agreement.in_force),
        "until": _iso(agreement.until),
        "night": agreement.night.isoformat("minutes"),
        "time_zone": agreement.time_zone,
        "freshness": _span_text(agreement.freshness),
        "when_ended": agreement.when_ended,
        "members": [{"code": s.code, "joined": _iso(s.joined), "left": _iso(s.left)} for s in agreement.members],
        "shares": [_share_plain(share) for share in agreement.shares],
        "deadlines": {name: str(term) for name, term in agreement.deadlines.items()},
        "reconcile": _reconciling_plain(agreement.reconcile) if agreement.reconcile else None,
    }


def _reconciling_plain(found: Reconciling) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "clause": found.clause,
        "legal_basis": found.legal_basis,
        "quarantine": str(found.quarantine) if found.quarantine else None,
        "one_visit": str(found.one_visit) if found.one_visit else None,
        "practice": found.practice._asdict() if found.practice else None,
        "keyed": list(found.keyed),
        "settle": {type: {"decision": how, "reason": why} for type, (how, why) in found.settle.items()},
        "matching": [rule_plain(rule) for rule in found.matching],
    }
    return _present(plain)


def from_texts(texts: Mapping[str, bytes]) -> Framework:
    """The framework these texts describe (agreement -> `text`); RecordError where one is not such a text.

    It knows only the kinds and members the texts name. Where two tell of one member, the later is believed.
    """
    members: dict[str, Member] = {}
    agreements: dict[str, Agreement] = {}
    groups: dict[str, tuple[str, ...]] = {}
    hub_first_key = witnessing = None
    for name, raw in texts.items():
        try:
            plain = decode(raw, f"framework text of {name}")
            agreement = _agreement_of(_AgreementYaml().load(_config_shape(plain)), name)
            for each in plain["jurisdictions"]:
                members[each["code"]] = _member_of(_MemberYaml().load(_present(each, "code")), each["code"])
            groups |= {each["kind"]: tuple(each["groups"]) for each in plain["groups"]}
            hub_first_key = plain["hub_first_key"] or hub_first_key
            witnessing = policy_of(plain["witnesses"]) if "witnesses" in plain else witnessing
            if plain["agreement"] != name or not {s.code for s in agreement.members} <= set(members):
                raise KeyError
        except (KeyError, TypeError, AttributeError, ValidationError) as error:
            raise RecordError("not the text of this agreement", where=f"framework text of {name}") from error
        agreements[name] = agreement
    return Framework(members, agreements, groups, hub_first_key, witnessing)


def _present(plain: Mapping[str, Any], *without: str) -> dict[str, Any]:
    return {key: value for key, value in plain.items() if value is not None and key not in without}


def _config_shape(plain: Mapping[str, Any]) -> dict[str, Any]:
    shaped = _present(plain, "agreement", "jurisdictions", "groups", "hub_first_key", "witnesses")
    return shaped | {key: [_present(each) for each in plain[key]] for key in ("members", "shares")}


def _member_of(read: Mapping[str, Any], code: str) -> Member:
    return Member(
        code,
        read["name"],
        read["tier"],
        read["custody"],
        read.get("first_key"),
        tuple(key for key, _ in read.get("http_keys", ())),
        {key: until for key, until in read.get("http_keys", ()) if until is not None},
    )


def _agreement_of(read: Mapping[str, Any], name: str) -> Agreement:
    start: date = read["in_force"]
    return Agreement(
        id=name,
        name=read["name"],
        basis=read["basis"],
        in_force=start,
        until=read.get("until"),
        night=read["night"],
        time_zone=read["time_zone"],
        freshness=read["freshness"].span(),
        when_ended=read["when_ended"],
        members=tuple(Membership(m["code"], m.get("joined", start), m.get("left")) for m in read["members"]),
        shares=tuple(_share_of(share) for share in read["shares"]),
        deadlines=dict(sorted(read["deadlines"].items())),
        reconcile=_reconciling_of(read["reconcile"]) if "reconcile" in read else None,
    )


def _reconciling_of(read: Mapping[str, Any]) -> Reconciling:
    return Reconciling(
        clause=read["clause"],
        legal_basis=read["legal_basis"],
        quarantine=read.get("quarantine"),
        one_visit=read.get("one_visit"),
        practice=Practice(**read["practice"]) if "practice" in read else None,
        keyed=tuple(sorted(read["keyed"])),
        settle={type: (each["decision"], each["reason"]) for type, each in sorted(read["settle"].items())},
        matching=tuple(rule_of(each) for each in read["matching"]),
    )


def _share_of(read: Mapping[str, Any]) -> Share:
    return Share(
        kind=read["kind"],
        origins=read["origins"],
        to=read["to"],
        groups=tuple(sorted(read["groups"])),
        clause=read["clause"],
        purpose=read["purpose"],
        legal_basis=read["legal_basis"],
        correspondent="narrowed" in read,
    )


# --- the shape of framework.yaml ---


def _day(text: str) -> date:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError
    return date.fromisoformat(text)


def _clock(text: str) -> time:
    if not re.fullmatch(r"[0-9]{2}:[0-9]{2}", text):
        raise ValueError
    return time.fromisoformat(text)


def _plain_span(text: str) -> Term:
    term = parse_term(text)
    term.span()
    return term


def _pin(text: str) -> str:
    try:
        unb64(text, 32)
    except RecordError as error:
        raise ValueError from error
    return text


def _vkey(text: str) -> str:
    try:
        return str(parse_vkey(text))
    except RecordError as error:
        raise ValueError from error


def _witness_key(text: str) -> str:
    try:
        return str(parse_vkey(text, COSIGNATURE))
    except RecordError as error:
        raise ValueError from error


def _witness_name(text: str) -> str:
    if not is_name(text):
        raise ValueError
    return text


def day_field(**options: Any) -> fields.Field[Any]:
    """A date such as 2022-05-01."""
    return Read(_day, "a date like 2022-05-01", **options)


def span_field(**options: Any) -> fields.Field[Any]:
    """A term that takes no calendar, such as "30 minutes" or "24 hours"."""
    return Read(_plain_span, 'a time like "30 minutes", "24 hours" or "10 days"', **options)


def line_field(**options: Any) -> fields.Field[Any]:
    """One line of text, not empty."""
    return fields.String(
        validate=validate.Regexp(r"\A[^\x00-\x1f\x7f]{1,500}\Z", error="expected one line of text"), **options
    )


class _Who(fields.Field[Selector]):
    """all | {tier: …} | {codes: […]} | {except: […]}, and for the receiving side peers | superior."""

    _expected = "expected all, {tier: county}, {codes: [...]}, {except: [...]}"

    def __init__(self, *words: str, **options: Any) -> None:
        super().__init__(**options)
        self._words = words

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> Selector:
        if isinstance(value, str) and value in self._words:
            return Selector(value)
        if isinstance(value, dict) and len(value) == 1:
            [(how, what)] = value.items()
            if how == "tier" and isinstance(what, str):
                return Selector(how, (what,))
            if how in ("codes", "except") and what and isinstance(what, list):
                if all(isinstance(code, str) for code in what):
                    return Selector(how, tuple(sorted(set(what))))
                raise ValidationError('expected codes in quotes, such as "330483"')
        raise ValidationError(self._expected + (", peers or superior" if "peers" in self._words else ""))


class NameYaml(Schema):
    """A name in both languages."""

    zh = line_field(required=True)
    en = line_field(required=True)


class _HttpKey(fields.Field[tuple[str, date | None]]):
    """A vkey, or {key: vkey, until: its last day}."""

    _key = Read(_vkey, "a vkey as `keys list` prints it: name+id+base64, or {key: vkey, until: 2027-06-30}")

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> tuple[str, date | None]:
        dated = isinstance(value, dict) and value.keys() == {"key", "until"}
        key: str | None = self._key.deserialize(value["key"] if dated else value)
        until: date | None = day_field().deserialize(value["until"]) if dated else None
        return str(key), until


class _MemberYaml(Schema):
    name = fields.Nested(NameYaml, required=True)
    tier = fields.String(required=True, validate=validate.OneOf(TIERS))
    custody = fields.String(required=True, validate=validate.OneOf(CUSTODIES))
    first_key = Read(_pin, "the base64 SHA-256 of the member's first key/v1 text (44 characters)", required=False)
    http_keys = fields.List(_HttpKey())


class _StayYaml(Schema):
    code = Code(required=True)
    joined = day_field()
    left = day_field()


class _ShareYaml(Schema):
    kind = fields.String(required=True)
    origins = _Who("all", data_key="from", required=True)
    to = _Who("all", "peers", "superior", required=True)
    groups = fields.List(fields.String(), required=True)
    clause = line_field(required=True)
    purpose = line_field(required=True)
    legal_basis = line_field(required=True)
    narrowed = fields.String(
        data_key="only",
        validate=validate.Equal("correspondent", error="expected correspondent, or leave it out"),
    )


class _PracticeYaml(Schema):
    cases = fields.Integer(strict=True, required=True, validate=validate.Range(3, 10_000))
    factor = fields.Integer(strict=True, required=True, validate=validate.Range(2, 100))


class _SettledYaml(Schema):
    decision = fields.String(required=True, validate=validate.OneOf(tuple(DECISIONS)))
    reason = line_field(required=True)


class _ReconcileYaml(Schema):
    clause = line_field(required=True)
    legal_basis = line_field(required=True)
    quarantine = span_field()
    one_visit = span_field()
    practice = fields.Nested(_PracticeYaml)
    keyed = fields.List(fields.String(), load_default=list)
    settle = fields.Dict(keys=fields.String(), values=fields.Nested(_SettledYaml), load_default=dict)
    matching = fields.List(fields.Nested(MatchYaml), load_default=list)


class _AgreementYaml(Schema):
    name = fields.Nested(NameYaml, required=True)
    basis = line_field(required=True)
    in_force = day_field(required=True)
    until = day_field()
    night = Read(_clock, 'a time of day in quotes like "02:00"', required=True)
    time_zone = line_field(load_default="Asia/Shanghai")
    freshness = span_field(required=True)
    when_ended = fields.String(required=True, validate=validate.OneOf(("keep", "erase")))
    members = fields.List(fields.Nested(_StayYaml), required=True)
    shares = fields.List(fields.Nested(_ShareYaml), required=True)
    deadlines = fields.Dict(
        keys=fields.String(),
        values=Read(parse_term, 'a term like "10 days", "5 working days" or "24 hours"'),
        load_default=dict,
    )
    reconcile = fields.Nested(_ReconcileYaml)


class _WitnessYaml(Schema):
    name = Read(_witness_name, 'a member\'s code in quotes, or another name without blanks')
    vkey = Read(_witness_key, "the vkey of a witness key, as `keys list` prints it: name+id+base64")
    url = line_field()


class _WitnessesYaml(Schema):
    quorum = fields.Integer(strict=True, required=True, validate=validate.Range(1, 16))
    keys = fields.List(fields.Nested(_WitnessYaml), required=True, validate=validate.Length(1, 15))


class _FrameworkYaml(Schema):
    members = fields.Dict(keys=Code(), values=fields.Nested(_MemberYaml), required=True)
    agreements = fields.Dict(keys=fields.String(), values=fields.Nested(_AgreementYaml), required=True)
    witnesses = fields.Nested(_WitnessesYaml)


# --- what the shape cannot say ---


_Say = Callable[[Sequence[str | int], str, str, str], None]


def parse_framework(
    doc: Doc, kinds: Mapping[str, KindLike] | None, terms: Mapping[str, Rule] | None = None
) -> Framework:
    """The framework that framework.yaml declares; DeclarationError with every problem at once.

    Where `kinds` or `terms` (the rules of deadlines.yaml) is None, what names one goes unchecked.
    """
    problems: list[str] = []
    try:
        read = check(doc, _FrameworkYaml())
    except DeclarationError as error:
        problems, read = error.problems, _well_formed(doc, error.places)

    def say(at: Sequence[str | int], what: str, mend: str, zh: str) -> None:
        problems.append(f"{doc.problem(at, what, mend)}\n    {zh}")

    members = {code: _member_of(each, code) for code, each in read["members"].items()}
    agreements = {name: _agreement_of(each, name) for name, each in read["agreements"].items()}
    _check_members(members, say)
    witnessing = _witnessing(read["witnesses"], say) if "witnesses" in read else None
    # By name, because one whose own lines are misspelt is a member all the same.
    named = frozenset(map(str, doc.value["members"])) if read["agreements"] else frozenset()
    for agreement in agreements.values():
        _check_agreement(agreement, named, terms, say)
        for n, share in enumerate(agreement.shares):
            at = ("agreements", agreement.id, "shares", n)
            _check_selectors(share, agreement, at, say)
            if kinds is not None:
                _check_groups(share, read["agreements"][agreement.id]["shares"][n]["groups"], kinds, at, say)
        if agreement.reconcile is not None:
            _check_reconciling(agreement.reconcile, kinds, ("agreements", agreement.id, "reconcile"), say)
    if problems:
        raise DeclarationError(problems)
    groups = {name: tuple(sorted(kind.groups)) for name, kind in (kinds or {}).items()}
    return Framework(members, agreements, groups, witnessing=witnessing)


def _witnessing(read: Mapping[str, Any], say: _Say) -> Policy:
    """The witness policy; what would not protect against a split view is said."""
    found = tuple(Witness(each["name"], parse_vkey(each["vkey"], COSIGNATURE), each.get("url", "")) for each in read["keys"])
    for n, each in enumerate(found):
        if any(each.name == other.name or each.vkey.raw == other.vkey.raw for other in found[:n]):
            say(("witnesses", "keys", n), "a witness or a key twice", "one key, one witness", "同一见证方或密钥出现两次")
    policy = Policy(found, read["quorum"])
    if policy.tolerated < 0:
        least = len(found) // 2 + 1
        what = f"{policy.quorum} of {len(found)} is no more than half: two halves could each be shown another ledger"
        say(("witnesses", "quorum"), what, f"write {least} or more", "见证法定数须超过半数")
    elif policy.quorum > len(found):
        say(("witnesses", "quorum"), "more than there are witnesses", f"write at most {len(found)}", "法定数多于见证方数")
    return policy


def _check_members(members: Mapping[str, Member], say: _Say) -> None:
    owners: dict[str, str] = {}
    for code, member in members.items():
        at = ("members", code)
        if not is_origin(code) or code == HUB:
            say(
                at,
                "not a member's code",
                'use the region code in quotes, such as "330483"',
                "成员代码应为带引号的区划代码",
            )
        for n, key in enumerate(member.http_keys):
            if owners.setdefault(key, code) != code:
                say(
                    (*at, "http_keys", n),
                    f"also the key of {owners[key]}",
                    "one key, one member",
                    "同一密钥不得属于两个成员",
                )


# What stands for a part that has not its form, so that what is around it can be judged in the same reading.
_STAND_INS: dict[str | int, Any] = {
    "name": {"zh": "-", "en": "-"}, "zh": "-", "en": "-", "tier": TIERS[0], "custody": CUSTODIES[0], "basis": "-",
    "night": "02:00", "freshness": "24 hours", "when_ended": "keep",
}  # fmt: skip


def _well_formed(doc: Doc, places: Iterable[tuple[str | int, ...]]) -> dict[str, Any]:
    """What of a framework can be judged beside the places that have not their form; nothing where too much is amiss."""
    value = deepcopy(doc.value)
    for place in places:
        _stand_in(value, place)
    try:
        read: dict[str, Any] = _FrameworkYaml().load(value)
    except ValidationError:
        return {"members": {}, "agreements": {}}
    return read


def _stand_in(value: Any, place: tuple[str | int, ...]) -> None:
    # Of shares only those before it, so that each keeps its place in the file.
    upto: Any = place[:4] if place[2:3] == ("shares",) else place
    try:
        for key in upto[:-1]:
            value = value[key]
        if isinstance(value, list):
            if len(upto) == 4 and upto[2] == "shares":
                del value[upto[-1] :]
        elif upto[-1] in _STAND_INS:
            value[upto[-1]] = _STAND_INS[upto[-1]]
        else:
            del value[upto[-1]]
    except (LookupError, TypeError):
        return  # nothing stands there, or it went with what is around it


def _check_agreement(
    agreement: Agreement, members: Collection[str], terms: Mapping[str, Rule] | None, say: _Say
) -> None:
    at = ("agreements", agreement.id)
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,31}", agreement.id):
        say(
            at,
            "not an agreement's name",
            "use small letters, digits and _, such as jiahu",
            "协议标识应为小写字母、数字和下划线",
        )
    if agreement.until and agreement.until < agreement.in_force:
        say((*at, "until"), "ends before it begins", "until is its last day in force", "终止日早于生效日")
    for name in sorted(set(agreement.deadlines) - set(terms)) if terms is not None else ():
        say(
            (*at, "deadlines", name),
            "not a deadline of deadlines.yaml",
            did_you_mean(name, terms or ()),
            "未知的期限名称",
        )
    if len({stay.code for stay in agreement.members}) < 2:
        say((*at, "members"), "an agreement needs two members", "name the partners", "协议至少需要两个成员")
    for n, stay in enumerate(agreement.members):
        _check_stay(agreement, n, stay, members, (*at, "members", n), say)


def _check_stay(
    agreement: Agreement,
    n: int,
    stay: Membership,
    members: Collection[str],
    at: Sequence[str | int],
    say: _Say,
) -> None:
    if stay.code not in members:
        mend = did_you_mean(stay.code, members)
        say((*at, "code"), f"{stay.code} is not under `members`", mend, "该成员未在 members 中声明")
    if stay.joined < agreement.in_force or (agreement.until and stay.joined > agreement.until):
        say(
            (*at, "joined"),
            "joins while the agreement is not in force",
            "mend the date",
            "加入日期不在协议有效期内",
        )
    if stay.left and stay.left < stay.joined:
        say(
            (*at, "left"),
            "leaves before it joins",
            "left is its last day as a member",
            "退出日期早于加入日期",
        )
    for earlier in agreement.members[:n]:
        if earlier.code == stay.code and _overlap(earlier, stay):
            say(
                at,
                f"the dates of {stay.code} overlap an earlier entry",
                "end the one before the other",
                "同一成员的起止日期重叠",
            )


def _overlap(one: Membership, other: Membership) -> bool:
    return one.joined <= (other.left or date.max) and other.joined <= (one.left or date.max)


def _check_selectors(share: Share, agreement: Agreement, at: Sequence[str | int], say: _Say) -> None:
    codes = {stay.code for stay in agreement.members}
    for side, selector in (("from", share.origins), ("to", share.to)):
        if selector.how == "tier" and selector.what[0] not in TIERS:
            say(
                (*at, side),
                f"{selector.what[0]!a} is not a tier",
                did_you_mean(selector.what[0], TIERS),
                "未知的层级",
            )
        elif selector.how in ("codes", "except"):
            for code in selector.what:
                if code not in codes:
                    mend = did_you_mean(code, codes)
                    say((*at, side), f"{code!a} is no member of {agreement.id}", mend, "该代码不是本协议成员")


def _check_groups(
    share: Share, written: Sequence[str], kinds: Mapping[str, KindLike], at: Sequence[str | int], say: _Say
) -> None:
    if share.kind in HUB_KINDS:
        mend = "leave the share out: they go to the agreement's members by themselves"
        say(
            (*at, "kind"),
            "records of the hub are not shared by rule",
            mend,
            "平台自身的记录自动发给协议成员，无须共享规则",
        )
        return
    kind = kinds.get(share.kind)
    if kind is None:
        mend = did_you_mean(share.kind, kinds.keys() - set(HUB_KINDS))
        say((*at, "kind"), f"unknown kind {share.kind!a}", mend, "未知的记录种类")
        return
    for n, group in enumerate(written):
        if group in written[:n]:
            say((*at, "groups", n), "named twice", "name each group once", "字段组重复")
        elif group not in kind.groups:
            _explain_group(share.kind, kind, group, (*at, "groups", n), say)


def _check_reconciling(
    found: Reconciling, kinds: Mapping[str, KindLike] | None, at: Sequence[str | int], say: _Say
) -> None:
    for type, (decision, _) in found.settle.items():
        if type not in TYPES:
            say((*at, "settle", type), "not a type of difference", did_you_mean(type, TYPES), "未知的差异类型")
        elif not DECISIONS[decision].settles:
            mend = f"one of {', '.join(name for name, each in DECISIONS.items() if each.settles)}"
            say((*at, "settle", type, "decision"), f"{decision} waits for a city", mend, "该决定不能由协议自动作出")
    known = {name for name, kind in (kinds or {}).items() if name not in HUB_KINDS for name in kind.fields}
    for n, name in enumerate(found.keyed):
        if kinds is not None and name not in known:
            say((*at, "keyed", n), f"no kind has a field {name!a}", did_you_mean(name, known), "未知的字段")
    for n, rule in enumerate(found.matching):
        _check_matching(rule, found, kinds, (*at, "matching", n), say)


def _check_matching(
    rule: MatchRule, found: Reconciling, kinds: Mapping[str, KindLike] | None, at: Sequence[str | int], say: _Say
) -> None:
    if rule.ask > rule.same:
        say((*at, "ask"), "is above `same`", "ask from a lower score on, or from the same", "ask 不得高于 same")
    if kinds is None:
        return
    kind = kinds.get(rule.kind)
    if kind is None or rule.kind in HUB_KINDS:
        mend = did_you_mean(rule.kind, kinds.keys() - set(HUB_KINDS))
        say((*at, "kind"), f"no kind {rule.kind!a} to match", mend, "未知的记录种类")
        return
    known = {*kind.fields, *(name + MARK for name in found.keyed if name in kind.fields)}
    for name in sorted(rule.fields - known):
        mend = did_you_mean(name, known)
        if name.endswith(MARK):
            mend = f"name {name.removesuffix(MARK)} under `keyed` first"
        say(at, f"{rule.kind} has no field {name!a}", mend, "未知的字段")


def _explain_group(name: str, kind: KindLike, group: str, at: Sequence[str | int], say: _Say) -> None:
    home = "open" if group == "open" else getattr(kind.fields.get(group), "group", None)
    if home == "open":
        what = f"{group!a} is open in {name}: open fields always travel, no rule withholds or grants them"
        say(
            at,
            what,
            "leave it out; groups: [] shares the open fields alone",
            "公开字段随记录同行，不能在规则中单列或扣留",
        )
    elif home is not None:
        what = f"{group!a} is a field, and a rule shares whole groups"
        say(
            at,
            what,
            f"name its group {home}, or move the field in the kind",
            "规则按字段组共享，请写字段组名称",
        )
    else:
        mend = did_you_mean(group, kind.groups) + "; open fields always travel and are not named"
        say(at, f"{name} has no group {group!a}", mend, "未知的字段组；公开字段随记录同行，不必列出")


def notes(framework: Framework, on: date, deadlines: Deadlines | None = None) -> list[str]:
    """What is not wrong but worth knowing on that date, a line each in English and Chinese."""
    found = []
    if policy := framework.witnessing:
        found.append(
            f"witnesses: {policy.quorum} of {len(policy.witnesses)} must cosign; {policy.tolerated} of them may be dishonest "
            f"· 需 {policy.quorum}/{len(policy.witnesses)} 方见证，可容忍 {policy.tolerated} 方不诚实"
        )
    else:
        found.append("no witnesses are declared: nobody else vouches for the ledger's history · 未声明见证方")
    for agreement in framework.agreements.values():
        for name, term in agreement.deadlines.items():
            rule = deadlines.rules.get(name) if deadlines else None
            if rule is not None and deadlines and rule.outlasted(term, deadlines.calendar, on):
                found.append(f"{agreement.id}: {name} of {term} can end later than {rule.term} by {rule.law}{rule.article}; "
                             "the law's end counts · 约定期限可能晚于法定期限，以法定期限为准")  # fmt: skip
    for code, member in framework.members.items():
        name = f"{member.name['en']} {code}"
        if member.custody == "self" and not member.first_key:
            found.append(f"{name} signs itself but has no first_key yet: pushes are refused · 自签成员未登记 first_key")
        if not any(code in (s.code for s in a.members) for a in framework.agreements.values()):
            found.append(f"{name} is a member of no agreement · 未加入任何协议")
    for agreement in framework.agreements.values():
        if not agreement.holds(on):
            found.append(f"{agreement.id} is not in force on {on} · 协议当日未生效")
        for n, share in enumerate(agreement.shares):
            codes = sorted({stay.code for stay in agreement.members})
            if not any(framework._joins(share, a, b) for a in codes for b in codes):
                found.append(f"{agreement.id}: shares.{n} joins no two members · 该规则没有适用的成员")
    return found


# --- what a change changes ---


class Change(NamedTuple):
    """What partner `to` gains or loses of an origin's records under one agreement; "open": the record itself.

    `elsewhere` are the groups among them that another agreement gave before (gained) or still gives (lost).
    With `direct`, only of records that run between the two.
    """

    to: str
    origin: str
    kind: str
    gained: frozenset[str]
    lost: frozenset[str]
    agreement: str
    elsewhere: frozenset[str] = frozenset()
    direct: bool = False


_Given = dict[tuple[str, str, str, str, bool], frozenset[str]]


def _given(framework: Framework, on: date) -> _Given:
    given: _Given = {}
    for to in framework.members:
        for name in framework.agreements_of(to, on):
            for kind in (k for k in HUB_KINDS if k in framework.groups):
                given[to, HUB, kind, name, False] = frozenset(framework.groups[kind]) | {"open"}
        for (kind, origin, agreement, direct), decision in framework._table(to, on).items():
            if agreement is not None:
                given[to, origin, kind, agreement, direct] = decision.groups | {"open"}
    for key in [key for key in given if key[4]]:
        given[key] -= given.get((*key[:4], False), frozenset())
        if not given[key]:
            del given[key]
    return given


def diff(old: Framework, new: Framework, on: date, was: date | None = None) -> list[Change]:
    """Who gains or loses which group, per partner, origin, kind, agreement: old on `was`, new on `on`.

    Without `was` both are taken on `on`: only the change of the text shows; with it, days passed show too.
    """
    before, after = _given(old, was or on), _given(new, on)
    changes = []
    for key in sorted(before.keys() | after.keys()):
        had, has = before.get(key, frozenset()), after.get(key, frozenset())
        if had != has:
            to, origin, kind, agreement, direct = key
            elsewhere = (has - had) & _others(before, key) | (had - has) & _others(after, key)
            changes.append(Change(to, origin, kind, has - had, had - has, agreement, elsewhere, direct))
    return changes


def _others(given: _Given, key: tuple[str, str, str, str, bool]) -> frozenset[str]:
    to, origin, kind, agreement, direct = key
    return frozenset().union(
        *(
            groups
            for (a, b, c, name, only), groups in given.items()
            if (a, b, c) == (to, origin, kind) and (name, only) != (agreement, direct) and (direct or not only)
        )
    )


def diff_lines(changes: Sequence[Change], framework: Framework, lang: str = "zh") -> list[str]:
    """The changes as lines to read, one per partner, kind and agreement; `framework` names the members."""
    merged: dict[tuple[Any, ...], list[str]] = {}
    for c in changes:
        merged.setdefault((c.agreement, c.to, c.kind, c.direct, c.gained, c.lost, c.elsewhere), []).append(c.origin)
    return [
        _diff_line(framework, lang, origins, *key)
        for key, origins in sorted(merged.items(), key=lambda each: each[0][:4])
    ]


def _diff_line(
    framework: Framework,
    lang: str,
    origins: Sequence[str],
    agreement: str,
    to: str,
    kind: str,
    direct: bool,
    gained: frozenset[str],
    lost: frozenset[str],
    elsewhere: frozenset[str],
) -> str:
    zh = lang == "zh"

    def named(code: str) -> str:
        member = framework.members.get(code)
        return f"{member.name['zh' if zh else 'en']} {code}" if member else code

    groups = " ".join([f"+{group}" for group in sorted(gained)] + [f"-{group}" for group in sorted(lost)])
    line = f"{agreement}: {named(to)} ← {', '.join(map(named, origins))}: {kind} {groups}"
    if direct:
        line += "（仅限双方往来函件）" if zh else " (only letters between the two)"
    if elsewhere:
        kept = ", ".join(sorted(elsewhere))
        line += f"；另有协议共享：{kept}" if zh else f"; another agreement shares {kept}"
    return line
