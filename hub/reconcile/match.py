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
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
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


def folded(text: str) -> str:
    """A text as it is compared: NFKC, capital letters, without blanks and punctuation."""
    return _punctuation.sub("", unicodedata.normalize("NFKC", text).upper())


def organisation(text: str) -> str:
    """What is an organisation's own in its name: without place before and legal form behind; whole where no more is left."""
    whole = folded(text)
    core = _legal_form.sub("", whole)
    core = _regions.sub("", core)
    while (shorter := _place.sub("", core, count=1)) != core and len(shorter) >= 2:
        core = shorter
    return core if len(core) >= 2 else whole


def place(text: str) -> str:
    """An address from below its county on."""
    whole = folded(text)
    core = _above_town.sub("", whole)
    return core if len(core) >= 2 else whole


# --- columns: each field of a side folded once ---


class _Side:
    """One side's records, each column folded when it is first asked for."""

    def __init__(self, records: Sequence[Record], crosswalk: Crosswalk) -> None:
        self._records, self._crosswalk = records, crosswalk
        self._columns: dict[tuple[str, str], list[str]] = {}

    def column(self, field: str, how: str) -> list[str]:
        """A field of every record as it is compared; empty where it is missing or cannot be read."""
        found = self._columns.get((field, how))
        if found is None:
            fold = self._fold(how)
            # Of many records few values differ: each is folded once.
            known: dict[Any, str] = {None: ""}
            found = []
            for record in self._records:
                value = record.get(field)
                text = known.get(value)
                if text is None:
                    text = known[value] = fold(str(value))
                found.append(text)
            self._columns[field, how] = found
        return found

    def _fold(self, how: str) -> Callable[[str], str]:
        if how == "item":
            return lambda text: self._crosswalk.get(text, text)
        return {"name": organisation, "address": place, "date": _day, "amount": _amount}.get(how, folded)


_is_amount = re.compile(r"[0-9]{1,16}(?:\.[0-9]{1,2})?").fullmatch


def _day(text: str) -> str:
    return text[:10] if _ordinal(text) is not None else ""


def _amount(text: str) -> str:
    return text if _is_amount(text) else ""


def _ordinal(value: str) -> int | None:
    try:
        return date.fromisoformat(value[:10]).toordinal()
    except ValueError:
        return None


# --- candidates ---


def candidates(
    rule: MatchRule, left: Sequence[Record], right: Sequence[Record], crosswalk: Crosswalk
) -> list[tuple[int, int]]:
    """The pairs of places that some block brings together, in order."""
    return _candidates(rule, _Side(left, crosswalk), _Side(right, crosswalk))


def block_values(records: Sequence[Record], keys: Sequence[Key], crosswalk: Crosswalk) -> Iterator[tuple[Any, int]]:
    """What one block takes of each record that has all of its parts, and the record's place."""
    return _values(_Side(records, crosswalk), keys, wide=False)


def _candidates(rule: MatchRule, left: _Side, right: _Side) -> list[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for keys in rule.block:
        ours: dict[Any, list[int]] = defaultdict(list)
        theirs: dict[Any, list[int]] = defaultdict(list)
        for value, n in _values(left, keys, wide=False):
            ours[value].append(n)
        for value, n in _values(right, keys, wide=True):
            if value in ours:
                theirs[value].append(n)
        for value, members in theirs.items():
            if len(members) * len(ours[value]) <= MOST_IN_BLOCK:
                found.update(product(ours[value], members))
    return sorted(found)


def _values(side: _Side, keys: Sequence[Key], *, wide: bool) -> Iterator[tuple[Any, int]]:
    """What a block takes of each record that has all of its parts; with `wide` neighbouring windows of days too."""
    columns: list[Sequence[Any]] = []
    windows = [key for key in keys if key.days]
    for key in keys:
        if key.days:
            days = map(_ordinal, side.column(key.field, "date"))
            columns.append([None if day is None else day // key.days for day in days])
        else:
            column = side.column(key.field, key.how)
            columns.append([text[: key.first] for text in column] if key.first else column)
    for n, values in enumerate(zip(*columns, strict=True)):
        if None in values or "" in values:
            continue
        if not (wide and windows):
            yield values, n
            continue
        near = [(v - 1, v, v + 1) if key.days else (v,) for key, v in zip(keys, values, strict=True)]
        for each in product(*near):
            yield each, n


# --- scores ---


def _similar(each: Comparison, left: Sequence[str], right: Sequence[str]) -> Floats:
    """How alike two columns of folded texts are, pair by pair, 0 to 1."""
    if each.how in ("exact", "item"):
        return np.fromiter((one == other for one, other in zip(left, right, strict=True)), np.float64, len(left))
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
    larger = np.maximum(np.maximum(one, other), 0.01)
    return np.clip(1.0 - np.abs(one - other) / larger / max(each.within, 1e-9), 0.0, 1.0)


def _lift(similarity: Any, floor: float) -> Floats:
    """Of what any two texts have in common, nothing is left."""
    return np.clip((np.asarray(similarity, dtype=np.float64) - floor) / (1.0 - floor), 0.0, 1.0)


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
    sides = _Side(left, crosswalk or {}), _Side(right, crosswalk or {})
    pairs = [pair for pair in _candidates(rule, *sides) if pair not in apart]
    if not pairs:
        return []
    places = np.array(pairs, dtype=np.int64)
    ours, theirs = places[:, 0], places[:, 1]
    total = sum(each.weight for each in rule.compare)
    gained, weighed = np.zeros(len(pairs)), np.zeros(len(pairs))
    scores: list[tuple[Comparison, Floats, np.ndarray[Any, np.dtype[np.bool_]]]] = []
    for each in rule.compare:
        one, other = (np.array(side.column(each.field, each.how), dtype=object) for side in sides)
        here = (one != "")[ours] & (other != "")[theirs]
        likeness = np.zeros(len(pairs))
        at = np.flatnonzero(here)
        if at.size:
            likeness[at] = _similar(each, one[ours[at]].tolist(), other[theirs[at]].tolist())
        scores.append((each, likeness, here))
        gained += each.weight * likeness
        weighed += each.weight * here
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.where(weighed * 2 >= total, gained / weighed, 0.0)
    found, used_left, used_right = [], set[int](), set[int]()
    for n in np.lexsort((theirs, ours, -np.round(score, 9))).tolist():
        if score[n] < rule.ask:
            break
        place_a, place_b = pairs[n]
        if place_a in used_left or place_b in used_right:
            continue
        used_left.add(place_a)
        used_right.add(place_b)
        points = tuple(_point(each, float(likeness[n]), bool(here[n])) for each, likeness, here in scores)
        found.append(Match(place_a, place_b, round(float(score[n]), 4), points))
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
