"""One row of a city's system → one body of a record kind: pop, null?, transform; then audit what was
not popped.

Pure, and on the hot path of every pull: rules are compiled to closures once, and a row costs one
pass over them. A row that cannot be mapped raises Refuse, naming column and field and what kind of
value was expected, never the value; it carries the source key and the origin where these could
still be read. The source key is the canonical JSON list of the mapped key fields ("ordinal": the
how-manieth row with that key in this read, from 1).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from adapters import transforms
from adapters.base import FAULT, Mapped, Refuse, Row
from adapters.transforms import (
    MEMO,
    MEMO_LENGTH,
    Bad,
    Convert,
    cleaner,
    finder,
    nested,
    plain,
    remembered,
    splitter,
)

ORDINAL = "ordinal"
_MOST_COLUMN_SETS = 256
_PEOPLE = 16_384
_UNSEEN = object()
_STRUCTURED = frozenset({"codes", "list", "objects", "pick"})  # their values are fresh for each row

Tables = Mapping[str, Mapping[str, str]]
Rule = Mapping[str, Any]

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Plan:
    """What a feed declares about mapping, as its file says it: rules by mapped field, in the file's order."""

    code: str
    rules: Mapping[str, Rule]
    key: Sequence[str]
    nulls: Sequence[str] = ()
    tables: Tables = field(default_factory=dict)
    ignore: Sequence[str] = ()
    origin: Rule | None = None
    operation: Rule | None = None

    def columns(self) -> set[str]:
        """Every column that the plan reads."""
        found = {column for rule in self.rules.values() for column in columns_of(rule)}
        return found | {rule["from"] for rule in (self.origin, self.operation) if rule}

    def needed(self) -> set[str]:
        """The columns that a table must have; those of rules marked `optional:` may be missing."""
        spared = {c for rule in self.rules.values() if rule.get("optional") for c in columns_of(rule)}
        kept = {c for rule in self.rules.values() if not rule.get("optional") for c in columns_of(rule)}
        return self.columns() - (spared - kept)


def columns_of(rule: Rule) -> list[str]:
    """The source columns of one rule."""
    named = rule.get("from") or []
    return [named] if isinstance(named, str) else list(named)


# --- rules to closures ---


def compile_value(rule: Rule, nulls: frozenset[str], tables: Tables) -> Convert:
    """The transform of one raw value that a rule names by `as:`."""
    name = rule.get("as", "text")
    nulls = nulls | {plain(word) for word in rule.get("null") or ()}
    if name in ("code", "codes"):
        make: Callable[..., Convert] = transforms.code if name == "code" else transforms.codes
        return make(rule, nulls, tables)
    if name == "pick":
        return _pick(rule, nulls, tables)
    if name == "objects":
        return _objects(rule, nulls, tables)
    return _SIMPLE[name](rule, nulls)


_SIMPLE: dict[str, Callable[[Rule, frozenset[str]], Convert]] = {
    "text": transforms.text,
    "doc_no": transforms.doc_no,
    "money": transforms.money,
    "integer": transforms.integer,
    "boolean": transforms.boolean,
    "date": transforms.day,
    "datetime": transforms.moment,
    "list": transforms.texts,
}


def _pick(rule: Rule, nulls: frozenset[str], tables: Tables) -> Convert:
    """A part of a nested value or of JSON text, then the transform in `then:`."""
    find, then = finder(rule["path"]), rule.get("then") or {}
    convert = compile_value({"as": then} if isinstance(then, str) else then, nulls, tables)
    parsed = remembered(nested)

    def pick(value: Any) -> Any:
        if isinstance(value, str) and plain(value) in nulls:
            return None
        found = find(parsed(value) if isinstance(value, str) else value)
        return None if found is None else convert(found)

    return pick


def _objects(rule: Rule, nulls: frozenset[str], tables: Tables) -> Convert:
    """A list of small maps, from text cut at `split:` and `between:` or from a list of maps."""
    split, cut_item = splitter(rule), splitter({"split": rule.get("between")})
    parts = [(name, *_part(spec, nulls, tables)) for name, spec in rule["parts"].items()]
    most = 1 + max((place for _, place, _, _ in parts if place is not None), default=0)

    def one(item: Any) -> dict[str, Any]:
        if isinstance(item, dict):
            values = [(name, find(item), convert) for name, _, find, convert in parts]
        else:
            cut = cut_item(item)
            while cut and cut[-1] == "":
                cut.pop()
            if len(cut) > most:
                raise Bad(f"expected at most {most} parts in each, found {len(cut)}")
            values = [
                (name, cut[place] if place is not None and place < len(cut) else None, convert)
                for name, place, _, convert in parts
            ]
        found = ((name, None if raw is None else convert(raw)) for name, raw, convert in values)
        return {name: value for name, value in found if value is not None}

    cached = remembered(one, _PEOPLE)  # a city's officers come again and again

    def convert(value: Any) -> list[dict[str, Any]] | None:
        if isinstance(value, str):
            if plain(value) in nulls:
                return None
            if not rule.get("split") and value.lstrip().startswith("["):
                value = nested(value)
        if isinstance(value, dict):
            value = [value]
        return [dict(found) for found in map(cached, split(value)) if found] or None

    return convert


def _part(spec: Any, nulls: frozenset[str], tables: Tables) -> tuple[int | None, Convert, Convert]:
    """A part's place in cut text, its path in a map, and its own transform."""
    rule = spec if isinstance(spec, dict) else {"at": spec}
    at, convert = rule["at"], compile_value(rule, nulls, tables)
    if isinstance(at, int):
        return at, lambda item: None, convert
    return None, finder(at), convert


Take = Callable[[Mapping[str, Any]], Any]


class _Cell:
    """One column to one field, with the memory of what its text came to: codes, dates and names repeat.

    A column whose text hardly repeats is soon no longer remembered.
    """

    __slots__ = ("column", "convert", "field", "filled_at", "seen")

    def __init__(self, field: str, column: str, convert: Convert) -> None:
        self.field, self.column, self.convert = field, column, convert
        self.seen: dict[str, Any] = {}
        self.filled_at = 0

    def keep(self, raw: str, value: Any, row: int) -> bool:
        """Remember what `raw` came to in the `row`th row; False where remembering does not pay."""
        if len(raw) > MEMO_LENGTH:
            return True
        if len(self.seen) >= MEMO:
            pays = row - self.filled_at > 3 * MEMO
            self.seen.clear()
            self.filled_at = row
            if not pays:
                return False
        self.seen[raw] = value
        return True


def compile_several(rule: Rule, nulls: frozenset[str], tables: Tables) -> Take:
    """A rule over several columns: joined, the first with a value, or parallel lists of parts."""
    columns, convert = columns_of(rule), compile_value(rule, nulls, tables)
    blank = nulls | {plain(word) for word in rule.get("null") or ()}
    if rule.get("parallel"):
        return _side_by_side(rule, columns, convert, blank)
    if rule.get("first"):

        def first(data: Mapping[str, Any]) -> Any:
            for column in columns:
                raw = data.get(column)
                if raw is not None and (value := convert(raw)) is not None:
                    return value
            return None

        return first
    glue, clean = rule.get("join", ""), cleaner({}, blank)

    def join(data: Mapping[str, Any]) -> Any:
        found = [clean(raw) for raw in map(data.get, columns) if raw is not None]
        whole = glue.join(each for each in found if each)
        return convert(whole) if whole else None

    return join


def _side_by_side(rule: Rule, columns: Sequence[str], convert: Convert, nulls: frozenset[str]) -> Take:
    """Objects whose parts stand in lists of their own, one column for each part."""
    split = splitter(rule)

    def zipped(data: Mapping[str, Any]) -> Any:
        raws = [data.get(column) for column in columns]
        lists = [[] if raw is None or (isinstance(raw, str) and plain(raw) in nulls) else split(raw) for raw in raws]
        longest = max(map(len, lists))
        if any(len(each) not in (0, longest) for each in lists):
            raise Bad("expected lists of one length in these columns")
        rows = [[each[n] if each else "" for each in lists] for n in range(longest)]
        return convert(rows) if rows else None

    return zipped


# --- the mapper ---


@dataclass(slots=True)
class _Columns:
    """The rules that rows with one set of columns have values for, and how many such rows there were."""

    fast: Sequence[tuple[str, str, Callable[[str, Any], Any], _Cell]]
    single: Sequence[tuple[str, str, Convert]]
    rows: int = 0


class Mapper:
    """Maps the rows of one read; `leftovers` counts the rows of each column not mapped, not ignored."""

    def __init__(self, plan: Plan) -> None:
        self._code, self._key, self._plan = plan.code, tuple(plan.key), plan
        nulls = frozenset({"", *map(plain, plan.nulls)})
        self._constants: dict[str, Any] = {}
        cells: list[_Cell] = []
        self._single: list[tuple[str, str, Convert]] = []
        self._several: list[tuple[str, str, Take]] = []
        for name, rule in plan.rules.items():
            columns = columns_of(rule)
            if rule.get("as") == "const":
                self._constants[name] = rule["value"]
            elif len(columns) == 1:
                convert = compile_value(rule, nulls, plan.tables)
                if rule.get("as", "text") in _STRUCTURED:
                    self._single.append((name, columns[0], convert))
                else:
                    cells.append(_Cell(name, columns[0], convert))
            else:
                self._several.append((name, " + ".join(columns), compile_several(rule, nulls, plan.tables)))
        self._fast = [(cell.field, cell.column, cell.seen.get, cell) for cell in cells]
        self._rows = 0
        self._known = plan.columns() | set(plan.ignore)
        self._column_sets: dict[tuple[str, ...], _Columns] = {}
        self._left: Counter[str] = Counter()
        self._met: Counter[tuple[str, str]] = Counter()
        self._origin = _origin_of(plan, nulls)
        self._retracts = _retracts(plan, nulls)

    def __call__(self, row: Row) -> Mapped:
        """The row as a body with its source key and origin; Refuse where that cannot be."""
        data, where = row
        if FAULT in data:
            raise Refuse(where, "", data[FAULT])
        columns = self._columns(tuple(data))
        columns.rows += 1
        if self._retracts is not None and self._retracts(row):
            body = self._body(row, columns, only=self._key)
            return Mapped(self._origin(row), self._key_of(row, body), {}, True)
        body = self._body(row, columns)
        origin = self._origin(row)
        return Mapped(origin, self._key_of(row, body, origin), body)

    def identify(self, row: Row) -> Mapped:
        """Whose record a row is and its key, from the columns that these need; the body is left empty."""
        retract = self._retracts is not None and self._retracts(row)
        body, origin = self._body(row, self._columns(tuple(row.data)), only=self._key), self._origin(row)
        return Mapped(origin, self._key_of(row, body, origin), {}, retract)

    @property
    def leftovers(self) -> Counter[str]:
        self._count()
        return self._left

    def _count(self) -> None:
        for names, columns in self._column_sets.items():
            for name in names:
                if name not in self._known:
                    self._left[name] += columns.rows
        self._column_sets.clear()

    def _columns(self, names: tuple[str, ...]) -> "_Columns":
        """What is to be done on rows with these columns, found out once: most tables have few sets of them."""
        found = self._column_sets.get(names)
        if found is None:
            if len(self._column_sets) >= _MOST_COLUMN_SETS:
                self._count()
            there = frozenset(names)
            fast = [each for each in self._fast if each[1] in there]
            found = self._column_sets[names] = _Columns(fast, [each for each in self._single if each[1] in there])
        return found

    def _body(self, row: Row, columns: "_Columns", only: Sequence[str] | None = None) -> dict[str, Any]:
        get, self._rows = row.data.get, self._rows + 1
        body = self._constants.copy()
        name = column = ""
        try:
            for name, column, recall, cell in columns.fast:
                raw = get(column)
                if raw is not None and (only is None or name in only):
                    value = recall(raw, _UNSEEN) if type(raw) is str else _UNSEEN
                    if value is _UNSEEN:
                        value = cell.convert(raw)
                        if type(raw) is str and not cell.keep(raw, value, self._rows):
                            self._forget(cell)
                    if value is not None:
                        body[name] = value
            for name, column, convert in columns.single:
                raw = get(column)
                if raw is not None and (only is None or name in only):
                    value = convert(raw)
                    if value is not None:
                        body[name] = value
            for name, column, take in self._several:  # noqa: B007, named in the refusal
                if only is None or name in only:
                    value = take(row.data)
                    if value is not None:
                        body[name] = value
        except Bad as bad:
            refusal = Refuse(row.where, column, f"{name}: {bad.what}", bad.mend)
            if only is None:
                self._identify(row, refusal)
            raise refusal from None
        return body

    def _forget(self, cell: _Cell) -> None:
        """Map a column that does not repeat without a memory from the next row on."""
        self._fast = [each for each in self._fast if each[3] is not cell]
        self._single = [*self._single, (cell.field, cell.column, cell.convert)]
        self._count()

    def _identify(self, row: Row, refusal: Refuse) -> None:
        """Give a refusal what can still be read of who the row is; a row so known counts as present."""
        try:
            refusal.origin = self._origin(row)
            body = self._body(row, self._columns(tuple(row.data)), only=self._key)
            refusal.key = self._key_of(row, body, refusal.origin)
        except Refuse:
            pass

    def _key_of(self, row: Row, body: Mapping[str, Any], origin: str | None = None) -> str:
        parts: list[Any] = []
        for name in self._key:
            if name == ORDINAL:
                at = (origin or self._origin(row), _encode(parts).decode())
                self._met[at] += 1
                parts.append(self._met[at])
            elif name in body:
                parts.append(body[name])
            else:
                column = " + ".join(columns_of(self._plan.rules[name]))
                refusal = Refuse(row.where, column, f"{name}: is part of the key and has no value")
                refusal.origin = origin
                raise refusal
        return _encode(parts).decode()


def _origin_of(plan: Plan, nulls: frozenset[str]) -> Callable[[Row], str]:
    """Whose record a row is: the city's, or by a column and a table one of several origins'."""
    if plan.origin is None:
        return lambda row: plan.code
    column, name = plan.origin["from"], plan.origin["table"]
    look = transforms.code({"table": name}, nulls, plan.tables)

    def origin(row: Row) -> str:
        try:
            found = look(row.data.get(column))
        except Bad as bad:
            raise Refuse(row.where, column, f"origin: {bad.what}", bad.mend) from None
        if found is None:
            raise Refuse(row.where, column, "origin: has no value")
        return str(found)

    return origin


def _retracts(plan: Plan, nulls: frozenset[str]) -> Callable[[Row], bool] | None:
    """Whether a row says that its record was withdrawn."""
    if plan.operation is None:
        return None
    column = plan.operation["from"]
    words = {plain(word) for word in plan.operation["retract"]}

    def retracts(row: Row) -> bool:
        try:
            return plain(row.data.get(column)) in words
        except Bad as bad:
            raise Refuse(row.where, column, bad.what, bad.mend) from None

    return retracts
