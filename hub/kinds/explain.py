"""Why a body is refused, for people; and the form of a kind for machines (JSON Schema 2020-12).

Runs only on what the fast path refused, and judges everything anew, so a property test can hold the two to
one verdict. A problem carries the field's path, its Chinese and English label, what was expected and how to
mend it; never the value, nor the name of an unknown field. Bounded: at most 50 problems, and no look into a
list that is too long.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import marshmallow
from marshmallow import ValidationError, fields, validates_schema

from hub.errors import Problem
from hub.kinds.vocabulary import (
    TYPES,
    WORDS,
    CodeTables,
    Condition,
    Field,
    Rule,
    flaw,
    hides_person,
    test_of,
    unlike,
)

if TYPE_CHECKING:
    from hub.kinds.kind import Kind

MOST = 50

_JSON_NAMES = {
    dict: "object",
    list: "list",
    str: "text",
    bool: "boolean",
    int: "whole number",
    float: "decimal number",
}
_MESSAGES: dict[str, Any] = {
    "required": "is required; give it, or correct the mapping",
    "null": "is null; leave the field out where there is nothing",
}
_BASES: Mapping[str, type[Any]] = {"text": str, "integer": int, "boolean": bool, "list": list}


def called(field: Field) -> str:
    """How a field is called in front of people: 相对人名称 (Party)."""
    return f"{field.label['zh']} ({field.label['en']})"


def problems(kind: "Kind", body: Any) -> list[Problem]:
    """Every problem of a body, at most 50, in the order of the kind's fields."""
    if not isinstance(body, dict):
        return [Problem("", f"expected an object of fields, not a {_named(body)}", "send one object per record")]
    found = list(_flat(kind.schema().validate(body), kind.fields, ""))
    if len(found) > MOST:
        found = [*found[: MOST - 1], Problem("", "more problems than are listed", "mend these first")]
    return found


def _named(value: Any) -> str:
    return _JSON_NAMES.get(type(value), "value of another type")


def _flat(messages: Mapping[Any, Any], known: Mapping[str, Field], path: str) -> Iterator[Problem]:
    order = {name: n for n, name in enumerate(known)}
    for key in sorted(messages, key=lambda key: order.get(key, -1)):
        if key in known:
            yield from _of_field(messages[key], known[key], f"{path}.{key}" if path else key)
        else:
            yield from (_problem(path, "", text) for text in messages[key])


def _of_field(messages: Any, field: Field, path: str) -> Iterator[Problem]:
    if isinstance(messages, list):
        yield from (_problem(path, called(field), text) for text in messages)
        return
    for n, inner in messages.items():
        if isinstance(inner, dict):
            yield from _flat(inner, field.of, f"{path}.{n}")
        else:
            yield from (_problem(f"{path}.{n}", called(field), text) for text in inner)


def _problem(path: str, label: str, text: str) -> Problem:
    what, _, mend = text.partition("; ")
    return Problem(path, f"{label}: {what}" if label else what, mend)


# ---- one value ----


def fault(field: Field, value: Any) -> str | None:
    """What is wrong with one value that is not a list, as "what; how to mend it"; None where nothing is."""
    spec = TYPES[field.type]
    expects = spec.expects.format(table=field.table)
    if type(value) is not _BASES[spec.base]:
        return f"expected {expects}, not a {_named(value)}; send it as {_JSON_NAMES[_BASES[spec.base]]}"
    if spec.base == "boolean":
        return None
    if spec.base == "integer":
        ok = field.min <= value <= field.max
        return None if ok else f"expected a whole number from {field.min} to {field.max}; correct it at the source"
    if field.type == "code":
        return None if value in field.codes else f"expected {expects}; one of: {_listed(field.codes)}"
    if not field.min <= len(value) <= field.max:
        return f"expected {_size(field)} characters, not {len(value)}; correct the value or its mapping"
    if field.type in WORDS and (wrong := flaw(value, field.lines)):
        return f"{wrong}; clean it at the source or in the mapping"
    return _untested(field, value, expects)


def _untested(field: Field, value: Any, expects: str) -> str | None:
    test = test_of(field)
    if test is None or test(value):
        return None
    if field.is_open and field.type in ("digits", "identifier") and hides_person(value):
        return "looks like a person's identity number; no open field may hold one, correct the mapping"
    return f"expected {expects}; correct the value or its mapping"


def _size(field: Field) -> str:
    return str(field.min) if field.min == field.max else f"{field.min} to {field.max}"


def _listed(codes: tuple[str, ...]) -> str:
    return ", ".join(codes[:40]) + (" …" if len(codes) > 40 else "")


# ---- a body, through marshmallow ----


class _Value(fields.Field[Any]):
    """A marshmallow field that judges by the kind's own field."""

    def __init__(self, field: Field) -> None:
        super().__init__(required=field.required, error_messages=_MESSAGES)
        self.field = field

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        wrong = fault(self.field, value)
        if wrong:
            raise ValidationError(wrong)
        return value


class _Values(_Value):
    """A list of codes, names, texts or objects."""

    def __init__(self, field: Field) -> None:
        super().__init__(field)
        self.schema = _schema_of(field.of, ()) if field.type == "list" else None

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        field = self.field
        if type(value) is not list:
            raise ValidationError(f"expected {TYPES[field.type].expects.format(table=field.table)}; send a list")
        if not field.min <= len(value) <= field.max:
            raise ValidationError(f"expected {_size(field)} items, not {len(value)}; correct the value or its mapping")
        wrong: dict[int, Any] = {}
        for n, item in enumerate(value):
            found = self._of_item(item)
            if found:
                wrong[n] = found
            if len(wrong) >= MOST:
                break
        if wrong:
            raise ValidationError(wrong)
        return self._whole(value)

    def _of_item(self, item: Any) -> Any:
        field = self.field
        if self.schema is not None:
            if not isinstance(item, dict):
                return [f"expected an object, not a {_named(item)}; send one object per item"]
            return self.schema.validate(item)
        wrong = fault(_inner(field), item)
        return [wrong] if wrong else None

    def _whole(self, value: list[Any]) -> list[Any]:
        if self.field.type in ("codes", "identifiers") and not unlike(value):
            raise ValidationError("the same code or name stands twice; send each once")
        wrong = _untested(self.field, value, "no person's identity number") if self.schema is None else None
        if wrong:
            raise ValidationError(wrong)
        return value


def _inner(field: Field) -> Field:
    """The field that one item of a plain list is."""
    if field.type == "codes":
        return Field(field.name, "code", field.label, field.group, codes=field.codes, table=field.table)
    kind = "text" if field.type == "texts" else "identifier"
    return Field(field.name, kind, field.label, "sealed", max=field.max_text, lines=True)


class BodySchema(marshmallow.Schema):
    """What marshmallow says of a body (or of an object in a list): fields, unknown ones, and rules."""

    known: ClassVar[Mapping[str, Field]] = {}
    rules: ClassVar[tuple[Rule, ...]] = ()

    class Meta:
        unknown = marshmallow.EXCLUDE  # judged below, bounded and without naming them

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _unknown(self, data: Any, original: Any, **kwargs: Any) -> None:
        extra = [key for key in original if key not in self.known] if isinstance(original, dict) else []
        if not extra:
            return
        close = {match for key in extra[:MOST] for match in difflib.get_close_matches(str(key)[:64], self.known, 1)}
        absent = sorted(name for name in close if name not in original)
        hint = f"did you mean {', '.join(absent)}?" if absent else "send only the fields of the kind"
        raise ValidationError(f"{len(extra)} unknown field{'s' if len(extra) > 1 else ''}; {hint}")

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _across(self, data: Any, original: Any, **kwargs: Any) -> None:
        if not isinstance(original, dict):
            return
        broken: dict[str, list[str]] = {}
        for rule in self.rules:
            # A field that is itself wrong leaves the rule undecided: its own problem is told already.
            if any(name in original and name not in data for name in rule.mentions):
                continue
            for name in _at_fault(rule, data):
                if not (rule.form == "require" and self.known[name].required):
                    broken.setdefault(name, []).append("; ".join(rule.says()))
        if broken:
            raise ValidationError(broken)


def _at_fault(rule: Rule, body: Mapping[str, Any]) -> Iterator[str]:
    parts = (
        [rule] if rule.form != "require" else [Rule(rule.form, (name,), rule.values, rule.when) for name in rule.names]
    )
    for part in parts:
        judge = part.within(frozenset(body))
        name = judge(body) if judge else None
        if name is not None:
            yield name


def _schema_of(known: Mapping[str, Field], rules: tuple[Rule, ...]) -> BodySchema:
    inside = {name: _Values(each) if TYPES[each.type].base == "list" else _Value(each) for name, each in known.items()}
    made: type[BodySchema] = type("Body", (BodySchema,), {**inside, "Meta": BodySchema.Meta})
    made.known, made.rules = known, rules
    return made()


def body_schema(kind: "Kind") -> BodySchema:
    """The marshmallow schema of a kind's body."""
    return _schema_of(kind.fields, kind.rules)


# ---- JSON Schema ----

_DAY = "(19|20|21)[0-9]{2}-[01][0-9]-[0-3][0-9]"
_PATTERNS = {
    "digits": "^[0-9]+$",
    "date": f"^{_DAY}$",
    "datetime": f"^{_DAY}T[0-2][0-9]:[0-5][0-9]:[0-5][0-9][+-][01][0-9]:[0-5][0-9]$",
    "money": r"^(0|[1-9][0-9]{0,15})\.[0-9]{2}$",
    "region": "^([0-9]{6}|[0-9]{9}|[0-9]{12})$",
    "uscc": "^[0-9A-HJ-NPQRTUWXY]{2}[0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}$",
    "id_number": r"^\S+$",
    "identifier": "^[A-Za-z0-9._:/-]+$",
}
_FORMATS = {"date": "date", "datetime": "date-time"}


def json_schema(kind: "Kind") -> dict[str, Any]:
    """JSON Schema 2020-12 of a body: forms, codes, rules; check digits and orders stand in `description`."""
    said = [
        " ".join((", ".join(rule.names), *rule.says()[:1])) for rule in kind.rules if rule.form in ("check", "order")
    ]
    ruled = [_json_rule(rule, kind.fields) for rule in kind.rules if rule.form not in ("check", "order")]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": kind.name,
        "description": f"{kind.label['zh']} / {kind.label['en']}." + "".join(f" {each}." for each in said),
        **_json_object(kind.fields, kind.codes),
        **({"allOf": ruled} if ruled else {}),
        "x-groups": {
            name: {
                "label": dict(kind.group_labels[name]),
                "personal": name in kind.personal,
                "masked": name in kind.masks,
            }
            for name in kind.groups
        },
    }


def _json_object(known: Mapping[str, Field], codes: CodeTables) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: _json_field(field, codes) for name, field in known.items()},
        "required": [name for name, field in known.items() if field.required],
        "additionalProperties": False,
    }


def _json_field(field: Field, codes: CodeTables) -> dict[str, Any]:
    found: dict[str, Any] = {"title": called(field), "x-group": field.group}
    if field.volatile:
        found["x-volatile"] = True
    if field.table is not None:
        found["x-codes"] = {code: dict(label) for code, label in codes[field.table].items()}
    return found | _json_form(field, codes)


def _json_form(field: Field, codes: CodeTables) -> dict[str, Any]:
    base = TYPES[field.type].base
    if base == "boolean":
        return {"type": "boolean"}
    if base == "integer":
        return {"type": "integer", "minimum": field.min, "maximum": field.max}
    if base == "list":
        items = _json_object(field.of, codes) if field.type == "list" else _json_form(_inner(field), codes)
        unique = {"uniqueItems": True} if field.type in ("codes", "identifiers") else {}
        return {"type": "array", "minItems": field.min, "maxItems": field.max, "items": items, **unique}
    if field.type == "code":
        return {"type": "string", "enum": list(field.codes)}
    found: dict[str, Any] = {"type": "string", "minLength": field.min, "maxLength": field.max}
    if field.type in _PATTERNS:
        found["pattern"] = _PATTERNS[field.type]
    if field.type in _FORMATS:
        found["format"] = _FORMATS[field.type]
    return found


def _json_rule(rule: Rule, known: Mapping[str, Field]) -> dict[str, Any]:
    if rule.form == "require":
        then: dict[str, Any] = {"required": list(rule.names)}
    elif rule.form == "allow":
        then = {"properties": {rule.names[0]: {"enum": list(rule.values)}}}
    else:
        then = {
            "required": list(rule.names),
            "properties": {rule.names[0]: {"contains": {"const": rule.values[0]}}},
        }
    return {"if": {"allOf": [_json_condition(each) for each in rule.when]}, "then": then} if rule.when else then


def _json_condition(condition: Condition) -> dict[str, Any]:
    name, values = condition.name, list(condition.values)
    if condition.how == "present":
        given = {"required": [name]}
        return given if values[0] else {"not": given}
    if condition.how == "in":
        return {"required": [name], "properties": {name: {"enum": values}}}
    begins = {"pattern": f"^({'|'.join(values)})"}
    return {
        "required": [name],
        "properties": {name: begins if condition.how == "prefix" else {"not": begins}},
    }
