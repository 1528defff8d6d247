"""The same matter seen by two jurisdictions: declared rules find candidate pairs, score them, and assign one to one.

Rule 1. A rule is data: which values bring two records together (`block`), how fields are compared and how much each weighs
(`compare`), from which score on two records are the same (`same`) and from which a person is asked (`ask`).
Rule 2. A score is the weighted mean over the fields that both sides have; what one side lacks counts for nothing, and where
both have less than half of all weight, there is no score.
Rule 3. Each record is assigned to one record of the other side at most, the best pair first.
Rule 4. A match names fields and verdicts, never values. Numbers of persons come as keyed marks, which are equal or not.
Pure: records are mappings of field to text. Texts are folded first: NFKC, capital letters, no blanks or punctuation.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from marshmallow import Schema, ValidationError, fields, validate
from rapidfuzz.distance import OSA, Indel, JaroWinkler
from rapidfuzz.process import cpdist

from hub.reconcile.worklist import Point

MOST_IN_BLOCK = 2_000
"""Pairs: what brings together more than so many records tells nothing, and is passed over."""
HOW = ("exact", "words", "digits", "name", "address", "date", "amount", "item")
CLOSE = 0.85

Record = Mapping[str, Any]
Crosswalk = Mapping[str, str]
Floats = np.ndarray[Any, np.dtype[np.float64]]


class Key(NamedTuple):
    """One part of a block: a field folded by `how`; of it the `first` characters, or a window of so many `days`."""

    field: str
    how: str = "exact"
    first: int = 0
    days: int = 0


class Comparison(NamedTuple):
    """How a field is compared, and its weight; `within` is a number of days, or a part of the larger amount."""

    field: str
    how: str
    weight: float
    within: float = 0.0


@dataclass(frozen=True, slots=True)
class MatchRule:
    """A declared rule for records of one kind."""

    id: str
    kind: str
    block: tuple[tuple[Key, ...], ...]
    compare: tuple[Comparison, ...]
    same: float
    ask: float

    @property
    def fields(self) -> frozenset[str]:
        """Every field it looks at."""
        return frozenset(key.field for keys in self.block for key in keys) | {each.field for each in self.compare}


class Match(NamedTuple):
    """Two records by their places on either side, the score (0 to 1), and what it is made of."""

    left: int
    right: int
    score: float
    points: tuple[Point, ...]


# --- folding ---

_punctuation = re.compile(r"[\s\u00b7•·.,，。、;；:：'\"“”‘’()（）\[\]［］【】〔〕<>《》/\\_-]+")
_legal_form = re.compile(
    r"(?:股份有限公司|有限责任公司|集团有限公司|有限公司|集团公司|公司|合伙企业|普通合伙|有限合伙|个人独资企业|个体工商户|"
    r"专业合作社|合作社|总店|分店|商行|经营部|门市部|工作室|服务部|批发部|零售店|店|厂|行|部)+$"
)
_regions = re.compile(r"^(?:中国)?(?:浙江|安徽|江苏|上海)?(?:省|市)?")
_above_town = re.compile(
    r"^(?:[^省]{2,3}省)?(?:[^市]{2,3}市)?(?:[^县区市镇路]{1,3}[县区]|[^县区市镇路]{2,3}市(?![镇乡场]))?"
)
_place = re.compile(r"^[^市县区镇乡]{2,3}(?:市|县|区|镇|乡|街道)")


@lru_cache(maxsize=1 << 16)
def folded(text: str) -> str:
    """A text as it is compared: NFKC, capital letters, without blanks and punctuation."""
    return _punctuation.sub("", unicodedata.normalize("NFKC", text).upper())


@lru_cache(maxsize=1 << 16)
def organisation(text: str) -> str:
    """What is an organisation's own in its name: without place before and legal form behind; whole where no more is left."""
    whole = folded(text)
    core = _legal_form.sub("", whole)
    core = _regions.sub("", core)
    while (shorter := _place.sub("", core, count=1)) != core and len(shorter) >= 2:
        core = shorter
    return core if len(core) >= 2 else whole


@lru_cache(maxsize=1 << 16)
def place(text: str) -> str:
    """An address from below its county on."""
    whole = folded(text)
    core = _above_town.sub("", whole)
    return core if len(core) >= 2 else whole


def _folds(how: str, crosswalk: Crosswalk) -> Callable[[str], str]:
    if how == "name":
        return organisation
    if how == "address":
        return place
    if how == "item":
        return lambda text: crosswalk.get(text, text)
    return folded


# --- candidates ---


def _parts(key: Key, crosswalk: Crosswalk, *, wide: bool) -> Callable[[Record], Sequence[Any]]:
    """The values of a block's part for a record; with `wide` those of neighbouring windows too."""
    fold = _folds(key.how, crosswalk)

    def window(record: Record) -> Sequence[Any]:
        day = _ordinal(record.get(key.field))
        if day is None:
            return ()
        at = day // key.days
        return (at - 1, at, at + 1) if wide else (at,)

    def plain(record: Record) -> Sequence[Any]:
        value = record.get(key.field)
        if not value:
            return ()
        text = fold(str(value))
        return (text[: key.first],) if key.first else (text,)

    return window if key.days else plain


def _ordinal(value: Any) -> int | None:
    try:
        return date.fromisoformat(str(value)[:10]).toordinal()
    except ValueError:
        return None


def candidates(
    rule: MatchRule, left: Sequence[Record], right: Sequence[Record], crosswalk: Crosswalk
) -> list[tuple[int, int]]:
    """The pairs of places that some block brings together, in order."""
    found: set[tuple[int, int]] = set()
    for keys in rule.block:
        blocks: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for side, records, wide in (("l", left, False), ("r", right, True)):
            parts = [_parts(key, crosswalk, wide=wide) for key in keys]
            for n, record in enumerate(records):
                for values in product(*(part(record) for part in parts)):
                    if side == "l":
                        blocks[values].append(n)
                    elif values in blocks:
                        blocks[values].append(~n)
        for members in blocks.values():
            ours = [n for n in members if n >= 0]
            theirs = [~n for n in members if n < 0]
            if 0 < len(ours) * len(theirs) <= MOST_IN_BLOCK:
                found.update(product(ours, theirs))
    return sorted(found)


# --- scores ---


def _similar(each: Comparison, left: list[str], right: list[str]) -> Floats:
    """How alike two columns of folded texts are, pair by pair, 0 to 1."""
    if each.how in ("exact", "item"):
        return np.array([float(one == other) for one, other in zip(left, right, strict=True)])
    if each.how == "words":
        return _lift(cpdist(left, right, scorer=JaroWinkler.normalized_similarity, workers=-1), 0.6)
    if each.how == "digits":
        return _lift(cpdist(left, right, scorer=OSA.normalized_similarity, workers=-1), 0.5)
    if each.how in ("name", "address"):
        return _lift(cpdist(left, right, scorer=Indel.normalized_similarity, workers=-1), 0.4)
    if each.how == "date":
        days = [abs((_ordinal(a) or 0) - (_ordinal(b) or 10**6)) for a, b in zip(left, right, strict=True)]
        return np.clip(1.0 - np.array(days, dtype=np.float64) / (each.within + 1.0), 0.0, 1.0)
    one, other = np.array(left, dtype=np.float64), np.array(right, dtype=np.float64)
    larger = np.maximum(np.maximum(np.abs(one), np.abs(other)), 0.01)
    return np.clip(1.0 - np.abs(one - other) / larger / max(each.within, 1e-9), 0.0, 1.0)


def _lift(similarity: Any, floor: float) -> Floats:
    """Of what any two texts have in common, nothing is left."""
    return np.clip((np.asarray(similarity, dtype=np.float64) - floor) / (1.0 - floor), 0.0, 1.0)


def _column(each: Comparison, records: Sequence[Record], crosswalk: Crosswalk) -> list[str]:
    """A field of every record, folded as it is compared; empty where it is missing or cannot be read."""
    fold = (lambda text: text[:10]) if each.how in ("date", "amount") else _folds(each.how, crosswalk)
    column = [fold(str(value)) if (value := record.get(each.field)) else "" for record in records]
    if each.how == "date":
        return [text if _ordinal(text) is not None else "" for text in column]
    if each.how == "amount":
        amount = re.compile(r"[0-9]{1,16}(?:\.[0-9]{1,2})?").fullmatch
        return [str(record.get(each.field)) if amount(str(record.get(each.field))) else "" for record in records]
    return column


def match(
    rule: MatchRule,
    left: Sequence[Record],
    right: Sequence[Record],
    crosswalk: Crosswalk | None = None,
    apart: Collection[tuple[int, int]] = (),
) -> list[Match]:
    """The pairs of two sides that are the same or that a person is asked about, best first, each record once.

    `crosswalk` gives the item code that stands for others; `apart` are pairs known not to be the same.
    """
    walk = crosswalk or {}
    pairs = [pair for pair in candidates(rule, left, right, walk) if pair not in apart]
    if not pairs:
        return []
    ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    total = sum(each.weight for each in rule.compare)
    gained, weighed = np.zeros(len(pairs)), np.zeros(len(pairs))
    scores: list[tuple[Comparison, Floats, np.ndarray[Any, np.dtype[np.bool_]]]] = []
    for each in rule.compare:
        one, other = _column(each, left, walk), _column(each, right, walk)
        lefts, rights = [one[n] for n in ours], [other[n] for n in theirs]
        here = np.array([bool(a and b) for a, b in zip(lefts, rights, strict=True)])
        likeness = np.zeros(len(pairs))
        at = np.flatnonzero(here)
        if at.size:
            likeness[at] = _similar(each, [lefts[n] for n in at], [rights[n] for n in at])
        scores.append((each, likeness, here))
        gained += each.weight * likeness
        weighed += each.weight * here
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.where(weighed * 2 >= total, gained / weighed, 0.0)
    order = [int(n) for n in np.lexsort((np.array(theirs), np.array(ours), -np.round(score, 9))) if score[n] >= rule.ask]
    found, used_left, used_right = [], set[int](), set[int]()
    for n in order:
        if ours[n] in used_left or theirs[n] in used_right:
            continue
        used_left.add(ours[n])
        used_right.add(theirs[n])
        points = tuple(_point(each, float(likeness[n]), bool(here[n])) for each, likeness, here in scores)
        found.append(Match(ours[n], theirs[n], round(float(score[n]), 4), points))
    return found


def _point(each: Comparison, likeness: float, here: bool) -> Point:
    if not here:
        return Point(each.field, "missing", each.weight)
    verdict = "equal" if likeness >= 1.0 else "close" if likeness >= CLOSE else "differs"
    return Point(each.field, verdict, each.weight, round(likeness, 4))


# --- the shape of a rule ---


class _KeyYaml(Schema):
    field = fields.String(required=True)
    how = fields.String(validate=validate.OneOf(("exact", "name", "address", "item")), load_default="exact")
    first = fields.Integer(strict=True, validate=validate.Range(1, 50), load_default=0)
    days = fields.Integer(strict=True, validate=validate.Range(1, 366), load_default=0)


class _KeyField(fields.Field[Key]):
    """A field's name, or {field: …, how: …, first: …, days: …}."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> Key:
        if isinstance(value, str):
            return Key(value)
        if not isinstance(value, dict):
            raise ValidationError("expected a field's name, or {field: …, first: …} or {field: …, days: …}")
        return Key(**_KeyYaml().load(value))


class _Number(fields.Field[float]):
    """A number from 0 on, whole or in quotes: YAML's own fractions are not read."""

    def __init__(self, most: float, **options: Any) -> None:
        super().__init__(**options)
        self._most = most

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> float:
        text = str(value) if type(value) in (int, str) else ""
        if not re.fullmatch(r"[0-9]{1,6}(?:\.[0-9]{1,4})?", text) or float(text) > self._most:
            raise ValidationError(f'expected a number from 0 to {self._most:g}, with a point in quotes: "0.9"')
        return float(text)


class _ComparisonYaml(Schema):
    field = fields.String(required=True)
    how = fields.String(required=True, validate=validate.OneOf(HOW))
    weight = _Number(1000, required=True)
    within = _Number(3650, load_default=0.0)


class MatchYaml(Schema):
    """A matching rule as an agreement declares it."""

    id = fields.String(required=True, validate=validate.Regexp(r"\A[a-z][a-z0-9_]{0,39}\Z"))
    kind = fields.String(required=True)
    block = fields.List(
        fields.List(_KeyField(), validate=validate.Length(1, 5)), required=True, validate=validate.Length(1, 20)
    )
    compare = fields.List(fields.Nested(_ComparisonYaml), required=True, validate=validate.Length(1, 30))
    same = _Number(1, required=True)
    ask = _Number(1, required=True)


def rule_of(read: Mapping[str, Any]) -> MatchRule:
    """The rule that `MatchYaml` loaded."""
    compare = tuple(Comparison(**each) for each in read["compare"])
    return MatchRule(
        read["id"], read["kind"], tuple(tuple(keys) for keys in read["block"]), compare, read["same"], read["ask"]
    )


def rule_plain(rule: MatchRule) -> dict[str, Any]:
    """A rule as plain data that `MatchYaml` loads again; numbers as texts."""

    def number(value: float) -> str:
        return f"{value:.4f}".rstrip("0").rstrip(".")

    def part(key: Key) -> Any:
        given = {name: value for name, value in key._asdict().items() if value and (name, value) != ("how", "exact")}
        return key.field if len(given) == 1 else given

    return {
        "id": rule.id,
        "kind": rule.kind,
        "block": [[part(key) for key in keys] for keys in rule.block],
        "compare": [
            {"field": each.field, "how": each.how, "weight": number(each.weight)}
            | ({"within": number(each.within)} if each.within else {})
            for each in rule.compare
        ],
        "same": number(rule.same),
        "ask": number(rule.ask),
    }
