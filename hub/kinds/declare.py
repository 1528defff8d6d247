"""Reading a kind's declaration: one YAML file, judged whole, every problem named by file and line at once.

Owns the closed lists a declaration may draw on: keys, field types and their options, rule forms, conditions,
masks. May never guess: what is not in a list is refused with the nearest word that is.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from adapters.declared import Code, DeclarationError, Doc, Key, Read, check, read_yaml
from hub.canonical import LARGEST
from hub.kinds.kind import Kind
from hub.kinds.masks import HOW, Mask
from hub.kinds.retention import LAST_REVISION, REASON, Retention, parse_span
from hub.kinds.vocabulary import NUMBERS, TYPES, Condition, Field, Rule

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}/[1-9][0-9]{0,3}")
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_RESERVED = frozenset({"open"})
_LONGEST, _MOST_ITEMS = 1_000_000, 100_000

# The parts of a `when`, of a rule, and which field types they may look at.
_CONDITIONS = ("in", "present", "prefix", "not_prefix")
_FORMS: Mapping[str, tuple[str, ...]] = {
    "require": tuple(TYPES),
    "allow": ("code",),
    "include": ("codes",),
    "check": ("id_number", "identifier", "text"),
    "order": ("date", "datetime", "integer"),
}


# How a kind's records are found: what each role looks at, of which types, and whether it may be sealed.
_ROLES: Mapping[str, tuple[str, ...]] = {
    "number": ("uscc", "id_number", "identifier"),
    "document": ("text", "identifier"),
    "party": ("text",),
    "item": ("digits", "identifier"),
    "date": ("date", "datetime"),
}
_OPEN_ROLES = ("item", "date")


class _Label(Schema):
    zh = fields.String(required=True, validate=validate.Length(1, 100))
    en = fields.String(required=True, validate=validate.Length(1, 100))


class _Whole(fields.Field[int]):
    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if type(value) is not int or not 0 <= value <= LARGEST:
            raise ValidationError("expected a whole number without quotes, from 0 on")
        return value


class _Flag(fields.Field[bool]):
    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if type(value) is not bool:
            raise ValidationError("expected true or false")
        return value


class _Any(fields.Field[Any]):
    """Judged by its own step."""


class _Head(Schema):
    kind = fields.String(required=True)
    label = fields.Nested(_Label, required=True)
    groups, codes, rules, retention, search = _Any(required=True), _Any(), _Any(), _Any(), _Any()
    fields_ = _Any(required=True, data_key="fields")


class _GroupShape(Schema):
    label = fields.Nested(_Label, required=True)
    personal = _Flag()
    masks = fields.List(fields.String(), validate=validate.Length(1))
    person = fields.Dict(keys=fields.String(), values=fields.List(Code(), validate=validate.Length(1)))
    minor = fields.Nested(
        Schema.from_dict(
            {
                "birth": fields.String(required=True),
                "on": fields.List(fields.String(), required=True, validate=validate.Length(1)),
            }
        )
    )
    how = fields.Dict(keys=fields.String(), values=fields.String(), validate=validate.Length(1))


class _PartShape(Schema):
    type = fields.String(required=True)
    label = fields.Nested(_Label, required=True)
    required, lines = _Flag(), _Flag()
    codes = fields.String()
    min, max, length, max_text = _Whole(), _Whole(), _Whole(), _Whole()


class _FieldShape(_PartShape):
    group = fields.String(required=True)
    volatile = _Flag()
    of = _Any()


_SearchShape = Schema.from_dict(
    {role: fields.List(fields.String(), validate=validate.Length(1)) for role in _ROLES}, name="_SearchShape"
)


class _RuleShape(Schema):
    require = fields.List(fields.String(), validate=validate.Length(1))
    order = fields.List(fields.String(), validate=validate.Length(2))
    allow = fields.Dict(
        keys=fields.String(),
        values=fields.List(Code(), validate=validate.Length(1)),
        validate=validate.Length(1, 1),
    )
    include = fields.Dict(keys=fields.String(), values=Code(), validate=validate.Length(1, 1))
    check = fields.Dict(keys=fields.String(), values=fields.String(), validate=validate.Length(1, 1))
    strict = _Flag()
    when = fields.Dict(keys=fields.String(), values=_Any(), validate=validate.Length(1))


class _RetentionShape(Schema):
    after = Read(parse_span, 'a span such as "30 days", "6 months" or "5 years"', required=True)
    start = fields.String(required=True, data_key="from")
    law = fields.String(required=True, validate=validate.Length(1, 200))
    article = fields.String(required=True, validate=validate.Length(1, 200))
    groups = fields.List(fields.String(), validate=validate.Length(1))
    when = fields.Dict(keys=fields.String(), values=_Any(), validate=validate.Length(1))
    reason = fields.String()


def load_kinds(directory: Path) -> dict[str, Kind]:
    """Every kind declared in a directory's *.yaml, by name; DeclarationError with all files' problems."""
    kinds: dict[str, Kind] = {}
    wrong: list[str] = []
    for path in sorted(directory.glob("*.yaml")):
        try:
            doc = read_yaml(path)
            kind = parse_kind(doc)
        except DeclarationError as error:
            wrong += error.problems
            continue
        if kind.name in kinds:
            wrong.append(doc.problem(["kind"], f"{kind.name} is declared in another file too", "keep one"))
        kinds[kind.name] = kind
    if not kinds and not wrong:
        wrong.append(f"{directory.name}:1: no kind is declared here; add one YAML file per kind")
    if wrong:
        raise DeclarationError(wrong)
    return kinds


def parse_kind(doc: Doc) -> Kind:
    """The kind that a document declares; DeclarationError with all its problems."""
    return _Parser(doc).kind()


class Conditions:
    """Reads each `when` on the fields of one kind, for its own rules and whoever else watches its records.

    `wrong` collects every problem with its line.
    """

    def __init__(self, doc: Doc, fields: Mapping[str, Field]) -> None:
        self.doc, self.fields = doc, dict(fields)
        self.wrong: list[tuple[int, str]] = []

    def say(self, keys: Sequence[Key], what: str, mend: str = "") -> None:
        self.wrong.append((self.doc.line(*keys), self.doc.problem(keys, what, mend)))

    def known(self, keys: Sequence[Key], name: str, names: Iterable[str], what: str) -> bool:
        names = list(names)
        if name in names:
            return True
        close = difflib.get_close_matches(name, names, 1)
        mend = f"did you mean {close[0]}?" if close else f"known here: {', '.join(sorted(names)) or 'none'}"
        self.say(keys, f"unknown {what} {name[:64]!a}", mend)
        return False

    def seen(self, keys: Sequence[Key], name: str, types: Sequence[str]) -> bool:
        """Whether a field of one of these types has that name."""
        if not self.known(keys, name, self.fields, "field"):
            return False
        if self.fields[name].type in types:
            return True
        self.say(keys, f"{name} is of type {self.fields[name].type}", f"use a field of type {' or '.join(types)}")
        return False

    def condition(self, at: tuple[Key, ...], name: str, how: Any) -> Condition | None:
        if not isinstance(how, dict) or len(how) != 1:
            self.say(at, "expected one condition", f"write one of {', '.join(_CONDITIONS)}")
            return None
        ((word, value),) = how.items()
        if not self.known((*at, word), word, _CONDITIONS, "condition"):
            return None
        if word == "present":
            if type(value) is not bool:
                self.say((*at, word), "expected true or false")
                return None
            return Condition(name, word, (value,)) if self.seen(at, name, tuple(TYPES)) else None
        types = ("code", "boolean", "region", "digits") if word == "in" else ("code", "region", "digits", "identifier")
        if not self.seen(at, name, types):
            return None
        if not isinstance(value, list) or not value:
            self.say((*at, word), "expected a list of values")
            return None
        for n, each in enumerate(value):
            self.condition_value((*at, word, n), self.fields[name], word, each)
        return Condition(name, word, tuple(value))

    def condition_value(self, at: tuple[Key, ...], field: Field, word: str, value: Any) -> None:
        if field.type == "boolean":
            if type(value) is not bool:
                self.say(at, "expected true or false")
        elif type(value) is not str:
            self.say(at, "expected text", "put it in quotes")
        elif word == "in" and field.type == "code":
            self.known(at, value, field.codes, "code")
        elif not _CODE.fullmatch(value):
            self.say(at, "expected letters and digits")


class _Parser(Conditions):
    """Reads one document part by part, so that a problem in one part hides none in another."""

    def __init__(self, doc: Doc) -> None:
        super().__init__(doc, {})
        self.codes: dict[str, dict[str, dict[str, str]]] = {}
        self.labels: dict[str, dict[str, str]] = {}
        self.shapes: dict[str, dict[str, Any]] = {}  # groups that could be read

    def shape(self, schema: Schema, *keys: Key) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = check(self.doc, schema, keys)
        except DeclarationError as error:
            self.wrong += [(self.doc.line(*keys), each) for each in error.problems]
            return None
        return found

    def parts(self, *keys: Key) -> dict[str, Any]:
        """The map at `keys`, its keys judged as names; empty where it is not one."""
        value: Any = self.doc.value
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.say(keys, "expected keys and values")
            return {}
        for name in value:
            if not _NAME.fullmatch(name):
                self.say((*keys, name), "a name is small letters, digits and _", "begin with a letter, 40 at most")
        return value

    # ---- the parts ----

    def kind(self) -> Kind:
        if not isinstance(self.doc.value, dict):
            raise DeclarationError([self.doc.problem((), "expected keys and values")])
        head = self.shape(_Head()) or {}
        name = head.get("kind", "none/1")
        if not _KIND.fullmatch(name):
            self.say(["kind"], "expected a name and a version", "write kind: case/1")
        self.read_codes()
        self.read_groups()
        self.read_fields()
        masks = self.read_masks()
        rules = self.read_rules()
        retention, search = self.read_retention(), self.read_search()
        self.audit()
        if self.wrong:
            raise DeclarationError([text for _, text in sorted(self.wrong, key=lambda each: each[0])])
        personal = frozenset(group for group, shape in self.shapes.items() if shape.get("personal"))
        return Kind(name, head["label"], self.fields, self.labels, personal, masks, self.codes, rules, search, retention)

    def read_codes(self) -> None:
        for table in self.parts("codes"):
            entries = self.doc.value["codes"][table]
            if not isinstance(entries, dict) or not entries:
                self.say(["codes", table], "expected codes and their labels")
                continue
            self.codes[table] = {}
            for code in entries:
                if not _CODE.fullmatch(code):
                    self.say(["codes", table, code], "a code is letters, digits, _ . and -", "64 at most")
                label = self.shape(_Label(), "codes", table, code)
                self.codes[table][code] = label or {"zh": "", "en": ""}

    def read_groups(self) -> None:
        for group in self.parts("groups"):
            if group in _RESERVED:
                self.say(
                    ["groups", group],
                    "open is no group: its fields are never sealed",
                    "name the group otherwise",
                )
            shape = self.shape(_GroupShape(), "groups", group)
            self.labels[group] = shape["label"] if shape else {"zh": "", "en": ""}
            if shape:
                self.shapes[group] = shape

    def read_fields(self) -> None:
        for name in self.parts("fields"):
            found = self.field(_FieldShape(), ("fields", name))
            if found:
                self.fields[name] = found
        if not self.parts("fields"):
            self.say(["fields"], "a kind has at least one field")

    def field(self, schema: Schema, at: tuple[Key, ...]) -> Field | None:
        shape = self.shape(schema, *at)
        if shape is None or not self.known((*at, "type"), shape["type"], TYPES, "field type"):
            return None
        before = len(self.wrong)
        spec, name = TYPES[shape["type"]], str(at[-1])
        for option in ("min", "max", "length", "max_text", "lines", "codes", "of"):
            if option in shape and option not in spec.options:
                self.say((*at, option), f"is no option of {shape['type']}", f"it takes: {_words(spec.options)}")
        for option in ("codes", "of"):
            if option in spec.options and option not in shape:
                self.say(at, f"a {shape['type']} needs `{option}`")
        group = self.group_of(shape, at)
        codes = self.table_of(shape, at)
        of = self.inside(at) if shape["type"] == "list" and "of" in shape else {}
        low, high = self.bounds(shape, at, len(codes))
        if len(self.wrong) > before:
            return None
        return Field(
            name,
            shape["type"],
            shape["label"],
            group,
            required=shape.get("required", False),
            volatile=shape.get("volatile", False),
            codes=codes,
            table=shape.get("codes"),
            min=low,
            max=high,
            max_text=self.text_bound(shape),
            lines=shape.get("lines", False),
            of=of,
        )

    def group_of(self, shape: Mapping[str, Any], at: tuple[Key, ...]) -> str:
        group = str(shape.get("group", "sealed"))
        if "group" not in shape:
            return group
        here = (*at, "group")
        if group == "open":
            if not TYPES[shape["type"]].may_be_open:
                mend = "name a sealed group, or use a type that holds no words about a person"
                self.say(here, f"a {shape['type']} may hold words about a person: never open", mend)
        elif self.known(here, group, [*self.labels, "open"], "group") and "masks" in self.shapes.get(group, {}):
            self.say(here, "a masked group is computed; no field stands in it", "name the group that it masks")
        return group

    def table_of(self, shape: Mapping[str, Any], at: tuple[Key, ...]) -> tuple[str, ...]:
        table = shape.get("codes")
        if table is None or not self.known((*at, "codes"), table, self.codes, "code table"):
            return ()
        return tuple(self.codes[table])

    def bounds(self, shape: Mapping[str, Any], at: tuple[Key, ...], codes: int) -> tuple[int, int]:
        spec = TYPES[shape["type"]]
        if spec.base == "boolean":
            return 0, 1
        if shape["type"] == "codes":
            return 1, max(codes, 1)
        length = shape.get("length")
        low, high = shape.get("min", length or spec.least), shape.get("max", length or spec.most)
        most = {"integer": LARGEST, "list": _MOST_ITEMS}.get(spec.base, _LONGEST)
        if "length" in shape and ("min" in shape or "max" in shape):
            self.say((*at, "length"), "stands beside min or max", "keep one of them")
        elif low > high or high > most or (low < 1 and spec.base != "integer"):
            self.say(at, f"min and max must be 1 to {most}, min no more than max", "0 only for an integer")
        return low, high

    @staticmethod
    def text_bound(shape: Mapping[str, Any]) -> int:
        usual = {"texts": TYPES["text"].most, "identifiers": TYPES["identifier"].most}
        return int(shape.get("max_text", usual.get(shape["type"], 0)))

    def inside(self, at: tuple[Key, ...]) -> dict[str, Field]:
        found = {}
        for name in self.parts(*at, "of"):
            part = self.field(_PartShape(), (*at, "of", name))
            if part and TYPES[part.type].base == "list":
                self.say((*at, "of", name), "a list inside a list", "use a plain type")
            elif part:
                found[name] = part
        if not self.parts(*at, "of"):
            self.say((*at, "of"), "an object has at least one field")
        return found

    # ---- masks ----

    def read_masks(self) -> dict[str, Mask]:
        masks = {}
        for group, shape in self.shapes.items():
            extra = [key for key in ("how", "person", "minor") if key in shape]
            if "masks" in shape:
                masks[group] = self.mask(group, shape)
            elif extra:
                self.say(["groups", group, extra[0]], "belongs to a masked group", "say which groups it `masks`")
        return masks

    def mask(self, group: str, shape: dict[str, Any]) -> Mask:
        at = ("groups", group)
        for n, source in enumerate(shape["masks"]):
            plain = [name for name in self.labels if "masks" not in self.shapes.get(name, {})]
            self.known((*at, "masks", n), source, plain, "group")
        if "how" not in shape:
            self.say(at, "a masked group needs `how`", "say how each field is masked")
        ways = []
        for name, how in shape.get("how", {}).items():
            here = (*at, "how", name)
            if self.known(here, how, HOW, "way of masking") and self.seen(here, name, ("text", "id_number")):
                if self.fields[name].group not in shape["masks"]:
                    self.say(here, "stands in a group that this one does not mask", "add its group to `masks`")
                ways.append((name, how))
        return Mask(
            tuple((name, HOW[how].mask, HOW[how].always) for name, how in ways if how != "title"),
            self.person(at, shape),
            self.minor(at, shape),
            titles=tuple(name for name, how in ways if how == "title"),
            names=tuple(name for name, how in ways if how == "name"),
        )

    def person(self, at: tuple[Key, ...], shape: dict[str, Any]) -> tuple[str, frozenset[str]] | None:
        if "person" not in shape:
            return None
        if len(shape["person"]) != 1:
            self.say((*at, "person"), "names one field", 'write person: {party_type: ["2"]}')
            return None
        ((name, codes),) = shape["person"].items()
        here = (*at, "person", name)
        if self.seen(here, name, ("code",)):
            for n, code in enumerate(codes):
                self.known((*here, n), code, self.fields[name].codes, "code")
        return name, frozenset(codes) | {""}

    def minor(self, at: tuple[Key, ...], shape: dict[str, Any]) -> tuple[str, tuple[str, ...]] | None:
        if "minor" not in shape:
            return None
        birth, days = shape["minor"]["birth"], tuple(shape["minor"]["on"])
        self.seen((*at, "minor", "birth"), birth, ("id_number",))
        for n, name in enumerate(days):
            self.seen((*at, "minor", "on", n), name, ("date", "datetime"))
        return birth, days

    def seen(self, keys: Sequence[Key], name: str, types: Sequence[str]) -> bool:
        """The same; a field that is itself wrong is not told twice."""
        return (name in self.fields or name not in self.parts("fields")) and super().seen(keys, name, types)

    # ---- rules ----

    def read_rules(self) -> tuple[Rule, ...]:
        rules = self.doc.value.get("rules")
        if rules is None:
            return ()
        if not isinstance(rules, list):
            self.say(["rules"], "expected a list")
            return ()
        return tuple(rule for n in range(len(rules)) if (rule := self.rule(n)) is not None)

    def rule(self, n: int) -> Rule | None:
        at = ("rules", n)
        shape = self.shape(_RuleShape(), *at)
        if shape is None:
            return None
        forms = [form for form in _FORMS if form in shape]
        if len(forms) != 1:
            self.say(at, "a rule has one form", f"write one of {', '.join(_FORMS)}")
            return None
        form = forms[0]
        before = len(self.wrong)
        if "strict" in shape and form != "order":
            self.say((*at, "strict"), "belongs to an order")
        names = tuple(shape[form])
        for m, name in enumerate(names):
            key = name if isinstance(shape[form], dict) else m
            self.seen((*at, form, key), name, _FORMS[form])
        if len(set(names)) != len(names):
            self.say((*at, form), "names a field twice")
        values = self.rule_values(at, form, shape) if len(self.wrong) == before else ()
        when = tuple(self.condition((*at, "when", name), name, how) for name, how in shape.get("when", {}).items())
        if len(self.wrong) > before:
            return None
        return Rule(form, names, values, tuple(each for each in when if each is not None))

    def rule_values(self, at: tuple[Key, ...], form: str, shape: dict[str, Any]) -> tuple[str, ...]:
        if form == "order":
            types = {self.fields[name].type for name in shape["order"]}
            if len(types) > 1:
                self.say((*at, form), "orders fields of different types", "order dates with dates")
            return ("strict",) if shape.get("strict") else ()
        if form == "require":
            return ()
        ((name, value),) = shape[form].items()
        values = tuple(value) if form == "allow" else (value,)
        known: Iterable[str] = NUMBERS if form == "check" else self.fields[name].codes
        for each in values:
            self.known((*at, form, name), each, known, "number" if form == "check" else "code")
        return values

    # ---- how long it is kept ----

    def read_retention(self) -> tuple[Retention, ...]:
        rules = self.doc.value.get("retention")
        if rules is None:
            return ()
        if not isinstance(rules, list) or not rules:
            self.say(["retention"], "expected a list of rules", "leave it out to keep records without an end")
            return ()
        return tuple(rule for n in range(len(rules)) if (rule := self.retained(n)) is not None)

    def retained(self, n: int) -> Retention | None:
        at = ("retention", n)
        shape = self.shape(_RetentionShape(), *at)
        if shape is None:
            return None
        before, start = len(self.wrong), shape["start"]
        if start != LAST_REVISION and self.seen((*at, "from"), start, ("date", "datetime")):
            self.unsealed((*at, "from"), start)
        for m, group in enumerate(shape.get("groups", ())):
            self.known((*at, "groups", m), group, self.labels, "group")
        when = []
        for name, how in shape.get("when", {}).items():
            condition = self.condition((*at, "when", name), name, how)
            if condition is not None:
                self.unsealed((*at, "when", name), name)
                when.append(condition)
        if len(self.wrong) > before:
            return None
        return Retention(
            shape["after"], start, shape["law"], shape["article"], tuple(shape.get("groups", ())), tuple(when),
            shape.get("reason", REASON),
        )  # fmt: skip

    def unsealed(self, keys: Sequence[Key], name: str) -> None:
        if name in self.fields and not self.fields[name].is_open:
            self.say(keys, f"{name} stands in group {self.fields[name].group}", "count by open fields: sealed ones may be gone")

    # ---- search ----

    def read_search(self) -> dict[str, tuple[str, ...]]:
        if self.doc.value.get("search") is None:
            return {}
        shape = self.shape(_SearchShape(), "search") or {}
        for role, names in shape.items():
            for n, name in enumerate(names):
                here = ("search", role, n)
                if not self.seen(here, name, _ROLES[role]) or name not in self.fields:
                    continue
                if role in _OPEN_ROLES and not self.fields[name].is_open:
                    self.say(here, f"{name} is sealed: lists are narrowed and ordered by open fields alone",
                             "name a field of group open")  # fmt: skip
                if names.index(name) < n:
                    self.say(here, "names a field twice", "keep one")
        return {role: tuple(names) for role, names in shape.items()}

    # ---- what nobody uses ----

    def audit(self) -> None:
        if self.wrong:
            return
        parts = [part for field in self.fields.values() for part in (field, *field.of.values())]
        tables = {part.table for part in parts}
        for table in self.codes:
            if table not in tables:
                self.say(["codes", table], "no field uses this table", "remove it")
        homes = {field.group for field in self.fields.values()} | {
            group for group, shape in self.shapes.items() if "masks" in shape
        }
        for group in self.labels:
            if group not in homes:
                self.say(["groups", group], "no field stands in this group", "remove it")


def _words(options: frozenset[str]) -> str:
    return ", ".join(sorted(options)) or "no options"
