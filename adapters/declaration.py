"""A city as one YAML file: what it hands over, how it is reached, how its columns become a record's
fields.

Owns the reading of that file, with every problem named by file and line at once; opens nothing
else. A declaration is data: the transforms are a closed list (`transforms`), the transports four
modules beside this one. Anything they cannot say is said in Python, in the region's folder, with
the reason.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from adapters import http_json, sql_view, table_file, xml_exchange
from adapters.base import Source
from adapters.connection import Connection, problems_of
from adapters.declared import Code, DeclarationError, Doc, Words, check, did_you_mean, read_yaml
from adapters.linting import lint_feed
from adapters.mapping import ORDINAL, Mapper, Plan, columns_of
from adapters.transforms import finder, format_of, zone_of

TRANSPORTS = {
    "http_json": http_json,
    "table_file": table_file,
    "sql_view": sql_view,
    "xml_exchange": xml_exchange,
}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_KIND = re.compile(r"[a-z][a-z0-9_]*/[1-9][0-9]*")


# --- the shape of the file ---


class NameYaml(Schema):
    zh = fields.String(required=True)
    en = fields.String(required=True)


class _Share(fields.Field[Decimal]):
    """A part of a whole in quotes, "0.65"."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Decimal:
        if not isinstance(value, str) or not re.fullmatch(r"0(\.[0-9]{1,4})?|1(\.0{1,4})?", value):
            raise ValidationError('expected a part from "0" to "1" in quotes, such as "0.65"')
        return Decimal(value)


def _count(**options: Any) -> fields.Integer:
    return fields.Integer(strict=True, validate=validate.Range(min=0), **options)


class _ExpectYaml(Schema):
    min_rows = _count()
    max_rows = _count()
    max_loss = _Share()


class _WindowYaml(Schema):
    field = fields.String(required=True)
    days = fields.Integer(strict=True, required=True, validate=validate.Range(min=1, max=36_500))


class _OriginYaml(Schema):
    class Meta:
        include: ClassVar = {"from": fields.String(required=True)}

    table = fields.String(required=True)


class _OperationYaml(Schema):
    class Meta:
        include: ClassVar = {"from": fields.String(required=True)}

    retract = Words(required=True)


def _one_of(*words: str, **options: Any) -> fields.String:
    return fields.String(validate=validate.OneOf(words, error=f"expected one of {', '.join(words)}"), **options)


class _FeedYaml(Schema):
    class Meta:
        include: ClassVar = {"null": fields.List(fields.String(), load_default=list)}

    feed = fields.String(
        required=True,
        validate=validate.Regexp(r"\A[a-z][a-z0-9_]{0,63}\Z", error="expected small letters, digits, _"),
    )
    kind = fields.String(
        required=True,
        validate=validate.Regexp(rf"\A{_KIND.pattern}\Z", error="expected a kind such as case/1"),
    )
    transport = _one_of(*TRANSPORTS, required=True)
    source = fields.Dict(keys=fields.String(), required=True)
    completeness = _one_of("snapshot", "window", "delta", required=True)
    window = fields.Nested(_WindowYaml)
    key = Words(required=True)
    origin = fields.Nested(_OriginYaml)
    absent = _one_of("retract", "flag", load_default="retract")
    duplicates = _one_of("refuse", "first", load_default="refuse")
    expect = fields.Nested(_ExpectYaml, load_default=dict)
    tables = fields.Dict(
        keys=fields.String(), values=fields.Dict(keys=fields.String(), values=Code()), load_default=dict
    )
    operation = fields.Nested(_OperationYaml)
    map = fields.Dict(
        keys=fields.String(validate=validate.Regexp(_NAME, error="expected the name of a field")),
        values=fields.Dict(keys=fields.String()),
        required=True,
    )
    ignore = fields.List(fields.String(), load_default=list)
    sample = fields.String()


class _CityYaml(Schema):
    code = Code(required=True)
    name = fields.Nested(NameYaml, required=True)
    connection = fields.Dict(keys=fields.String(), load_default=dict)
    feeds = fields.List(
        fields.Nested(_FeedYaml),
        required=True,
        validate=validate.Length(min=1, error="name at least one feed"),
    )


# --- the shape of a rule, by its `as:` ---

_FOLDS = ("blanks", "entities", "width", "brackets")


class _Rule(Schema):
    class Meta:
        include: ClassVar = {"from": Words(), "as": fields.String(), "null": Words()}

    join = fields.String()
    first = fields.Boolean(truthy={True}, falsy={False})
    optional = fields.Boolean(truthy={True}, falsy={False})


class _Cleaned(_Rule):
    fold = fields.List(_one_of(*_FOLDS))
    strip_prefix = Words()
    strip_suffix = Words()


class _Sized(_Cleaned):
    max = fields.Integer(strict=True, validate=validate.Range(min=1))


class _Text(_Sized):
    exact = fields.Boolean(truthy={True}, falsy={False})

    @validates_schema
    def _one_way(self, data: Any, **kwargs: Any) -> None:
        if data.get("exact") and data.keys() & {"fold", "strip_prefix", "strip_suffix"}:
            raise ValidationError("keeps the text as it is written; leave out fold: and strip_…:", "exact")


class _Code(_Cleaned):
    class Meta:
        include: ClassVar = {"else": Code()}

    table = fields.String()


class _Codes(_Code):
    split = Words()


class _Money(_Cleaned):
    unit = _one_of("元", "万元", "分")


class _Boolean(_Cleaned):
    yes = Words()
    no = Words()


def _parsed(read: Callable[[str], Any]) -> Callable[[str], None]:
    def judge(value: str) -> None:
        try:
            read(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None

    return judge


def _day_form(value: str) -> None:
    format_of(value, zone_of("+08:00"), clock=False)


class _Date(_Cleaned):
    formats = fields.List(fields.String(validate=_parsed(_day_form)), validate=validate.Length(min=1))
    zone = fields.String(validate=_parsed(zone_of))


class _List(_Sized):
    split = Words()


class _Objects(_Rule):
    split = Words()
    between = Words()
    parts = fields.Dict(keys=fields.String(), required=True)
    parallel = fields.Boolean(truthy={True}, falsy={False})


class _Const(_Rule):
    value = fields.Raw(required=True)


class _Pick(_Rule):
    path = fields.String(required=True, validate=_parsed(finder))
    then = fields.Raw()


RULES: dict[str, type[_Rule]] = {
    "text": _Text,
    "code": _Code,
    "codes": _Codes,
    "date": _Date,
    "datetime": _Date,
    "money": _Money,
    "integer": _Cleaned,
    "boolean": _Boolean,
    "list": _List,
    "objects": _Objects,
    "const": _Const,
    "pick": _Pick,
    "doc_no": _Cleaned,
}


class _Rules:
    """Checks the rules of one feed's `map:`, collecting problems."""

    def __init__(self, doc: Doc, tables: Mapping[str, Any]) -> None:
        self.doc, self.tables, self.problems = doc, tables, list[str]()
        self.used_tables: set[str] = set()

    def say(self, at: Sequence[str | int], what: str, mend: str = "") -> None:
        self.problems.append(self.doc.problem(at, what, mend))

    def rule(self, raw: Mapping[str, Any], at: tuple[str | int, ...]) -> dict[str, Any]:
        """One rule of `map:` with its columns."""
        loaded = self.value(raw, at)
        if raw and not loaded:
            return loaded  # said already
        columns, const = columns_of(loaded), loaded.get("as") == "const"
        if const and columns:
            self.say(at, "a const reads no column", "remove `from:`")
        elif not const and not columns:
            self.say(at, "says no column", "add from: COLUMN")
        ways = [way for way in ("join", "first", "parallel") if loaded.get(way) not in (None, False)]
        if len(columns) > 1 and len(ways) != 1:
            self.say(
                at,
                "reads several columns",
                'say how, by one of join: "…", first: true or parallel: true',
            )
        if len(columns) == 1 and ways:
            self.say((*at, ways[0]), "is for several columns", "remove it")
        return loaded

    def value(self, raw: Any, at: tuple[str | int, ...], known: Sequence[str] = tuple(RULES)) -> dict[str, Any]:
        """A transform with its options, and the transforms inside it."""
        if not isinstance(raw, dict):
            self.say(at, "expected keys and values such as {from: COLUMN}")
            return {}
        name = raw.get("as", "text")
        if name not in known:
            self.say((*at, "as"), "unknown transform", did_you_mean(str(name), known))
            return {}
        try:
            loaded: dict[str, Any] = check(self.doc, RULES[name](), at, raw)
        except DeclarationError as error:
            self.problems += error.problems
            return {}
        if table := loaded.get("table"):
            self.used_tables.add(table)
            if table not in self.tables:
                self.say((*at, "table"), "unknown table", did_you_mean(table, self.tables))
        elif "else" in loaded:
            self.say((*at, "else"), "is for codes looked up in a table", "add table: or remove it")
        return self.inside(loaded, at)

    def inside(self, loaded: dict[str, Any], at: tuple[str | int, ...]) -> dict[str, Any]:
        inner = [name for name in RULES if name not in ("const", "pick")]
        if "then" in loaded:
            then = loaded["then"]
            loaded["then"] = self.value({"as": then} if isinstance(then, str) else then, (*at, "then"), inner)
        for name, spec in loaded.get("parts", {}).items():
            place = (*at, "parts", name)
            if isinstance(spec, dict):
                rule = {key: value for key, value in spec.items() if key != "at"}
                loaded["parts"][name] = self.value(rule, place, inner) | {"at": spec.get("at")}
                spec = spec.get("at")
            self.part(spec, place)
        return loaded

    def part(self, spec: Any, at: tuple[str | int, ...]) -> None:
        if isinstance(spec, int) and not isinstance(spec, bool) and 0 <= spec < 100:
            return
        if not isinstance(spec, str):
            self.say(at, "expected a place (0, 1, …) or a path", "write {at: 0, …} where it needs a transform")
            return
        try:
            finder(spec)
        except ValueError as error:
            self.say(at, str(error))


# --- the declaration ---


class Window(NamedTuple):
    """What a window read covers: records whose `field` lies in the last `days` days."""

    field: str
    days: int


class Expect(NamedTuple):
    """Bounds on what a whole read may give; None where there is none. `max_loss` is a part of what stood."""

    min_rows: int | None = None
    max_rows: int | None = None
    max_loss: Decimal | None = None


@dataclass(frozen=True)
class Feed:
    """One kind of record that a city hands over, and how."""

    code: str
    name: str
    kind: str
    transport: str
    completeness: str
    absent: str
    duplicates: str
    expect: Expect
    key: tuple[str, ...]
    window: Window | None
    origins: tuple[str, ...]
    sample: Path | None
    plan: Plan
    options: Mapping[str, Any]
    connection: Mapping[str, Any]
    base: Path

    @property
    def version(self) -> str | None:
        """The column that tells a row's version, where the source can list its rows."""
        return (self.options.get("inventory") or {}).get("version")

    def mapper(self) -> Mapper:
        """A fresh mapper, for one read."""
        return Mapper(self.plan)

    def source(
        self,
        connection: Mapping[str, Any],
        secret: Callable[[str], str],
        *,
        now: Callable[[], datetime],
    ) -> Source:
        """Where its rows come from; `connection` overrides the declared one, `secret` resolves references."""
        values = {**self.connection, **connection}
        reached = Connection(f"{self.code} {self.name}", values, secret, now, self.base)
        made: Source = TRANSPORTS[self.transport].source(self.options, reached, self.plan.needed())
        return made

    def sample_source(self) -> Source:
        """The offline sample, read through the same decoding; DeclarationError where none is declared."""
        if self.sample is None:
            raise DeclarationError([f"{self.code}: {self.name}: no sample: is declared"])
        if self.sample.suffix == ".csv" and self.transport != "table_file":
            return table_file.sample({"format": "csv", "encodings": ["utf-8-sig"]}, self.sample, self.plan.needed())
        made: Source = TRANSPORTS[self.transport].sample(self.options, self.sample, self.plan.needed())
        return made


@dataclass(frozen=True)
class Declaration:
    """A city's declaration; `doc` is the file it was read from."""

    code: str
    name: Mapping[str, str]
    feeds: tuple[Feed, ...]
    connection: Mapping[str, Any]
    doc: Doc


def load(path: Path) -> Declaration:
    """The declaration in a file; DeclarationError with every problem at once."""
    doc = read_yaml(path)
    raw = check(doc, _CityYaml())
    problems = [doc.problem(("connection", name), what) for name, what in problems_of(raw["connection"]).items()]
    feeds = []
    for n, each in enumerate(raw["feeds"]):
        made, found = _feed(doc, raw, each, ("feeds", n))
        feeds.append(made)
        problems += found
        if each["feed"] in [other["feed"] for other in raw["feeds"][:n]]:
            problems.append(doc.problem(("feeds", n, "feed"), "this name stands twice", "give each feed its own"))
    if problems:
        raise DeclarationError(problems)
    return Declaration(raw["code"], raw["name"], tuple(feeds), raw["connection"], doc)


def _feed(doc: Doc, city: Mapping[str, Any], raw: dict[str, Any], at: tuple[str | int, ...]) -> tuple[Feed, list[str]]:
    rules = _Rules(doc, raw["tables"])
    mapped = {name: rules.rule(rule, (*at, "map", name)) for name, rule in raw["map"].items()}
    try:
        options = check(doc, TRANSPORTS[raw["transport"]].SourceYaml(), (*at, "source"))
    except DeclarationError as error:
        rules.problems += error.problems
        options = {}
    code, origin = city["code"], raw.get("origin")
    plan = Plan(code, mapped, raw["key"], raw["null"], raw["tables"], raw["ignore"], origin, raw.get("operation"))
    _check_feed(rules, raw, mapped, options, at)
    origins = tuple(sorted(set(raw["tables"].get(origin["table"], {}).values()))) if origin else (code,)
    made = Feed(
        code=code,
        name=raw["feed"],
        kind=raw["kind"],
        transport=raw["transport"],
        completeness=raw["completeness"],
        absent=raw["absent"],
        duplicates=raw["duplicates"],
        expect=Expect(**raw["expect"]),
        key=tuple(raw["key"]),
        window=Window(**raw["window"]) if "window" in raw else None,
        origins=origins,
        sample=doc.path.parent / raw["sample"] if "sample" in raw else None,
        plan=plan,
        options=options,
        connection=city["connection"],
        base=doc.path.parent,
    )
    return made, rules.problems


def _check_feed(
    rules: _Rules,
    raw: Mapping[str, Any],
    mapped: Mapping[str, Any],
    options: Mapping[str, Any],
    at: tuple[str | int, ...],
) -> None:
    """What the shape alone cannot say."""
    say = rules.say
    for n, name in enumerate(raw["key"]):
        if name == ORDINAL and n and n == len(raw["key"]) - 1:
            if raw["completeness"] == "delta" or options.get("incremental"):
                say(
                    (*at, "key", n),
                    "ordinal counts within a whole read",
                    "it cannot be used with delta or incremental",
                )
        elif name not in mapped:
            say((*at, "key", n), "is not mapped", did_you_mean(name, mapped))
    if inventory := options.get("inventory"):
        if raw["completeness"] == "delta" or ORDINAL in raw["key"]:
            say((*at, "source", "inventory"), "needs rows that stand by themselves", "not with delta or ordinal")
        missing = sorted(_identifying(raw, mapped) - {inventory["by"], *inventory.get("columns", ())})
        if missing and raw["transport"] == "sql_view":
            mend = f"add to columns: {', '.join(missing)}"
            say((*at, "source", "inventory"), "lacks columns that tell whose row it is", mend)
    if (raw["completeness"] == "window") != ("window" in raw):
        say((*at, "completeness"), "window: goes with completeness: window", "give both or neither")
    elif "window" in raw and raw["window"]["field"] not in mapped:
        say((*at, "window", "field"), "is not mapped", did_you_mean(raw["window"]["field"], mapped))
    if (origin := raw.get("origin")) and origin["table"] not in raw["tables"]:
        say((*at, "origin", "table"), "unknown table", did_you_mean(origin["table"], raw["tables"]))
    used = rules.used_tables | ({origin["table"]} if origin else set())
    for name in set(raw["tables"]) - used:
        say((*at, "tables", name), "is not used", "remove it, or name it in a rule")
    columns = {column for rule in mapped.values() for column in columns_of(rule)}
    for n, column in enumerate(raw["ignore"]):
        if column in columns:
            say((*at, "ignore", n), "is mapped too", "remove it here")


def _identifying(raw: Mapping[str, Any], mapped: Mapping[str, Any]) -> set[str]:
    """The columns that a row's key, origin and operation are read from."""
    found = {column for name in raw["key"] if name in mapped for column in columns_of(mapped[name])}
    return found | {raw[section]["from"] for section in ("origin", "operation") if section in raw}


def lint(declaration: Declaration, kinds: Mapping[str, Iterable[str]]) -> list[str]:
    """What is wrong with a declaration as far as kinds and samples tell; each with file and line.

    `kinds` gives each kind's field names.
    """
    return [found for n, feed in enumerate(declaration.feeds) for found in _lint(declaration.doc, n, feed, kinds)]


def _lint(doc: Doc, n: int, feed: Feed, kinds: Mapping[str, Iterable[str]]) -> Iterator[str]:
    at: tuple[str | int, ...] = ("feeds", n)
    if feed.kind not in kinds:
        yield doc.problem((*at, "kind"), "unknown kind", did_you_mean(feed.kind, kinds))
    else:
        known = list(kinds[feed.kind])
        for name in feed.plan.rules:
            if name not in known:
                yield doc.problem((*at, "map", name), f"is no field of {feed.kind}", did_you_mean(name, known))
    if feed.sample is None:
        yield doc.problem(at, "has no sample", "add sample: samples/….csv with a few rows as the city writes them")
        return
    for keys, what, mend in lint_feed(feed.sample_source(), feed.mapper(), feed.plan, feed.duplicates):
        yield (doc.problem((*at, *keys), what, mend) if keys else f"{what}" + (f"; {mend}" if mend else ""))
