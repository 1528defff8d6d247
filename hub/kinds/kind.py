"""One kind at work: accepting bodies fast, splitting them into open fields and groups, and joining them again.

A body is a flat dict of field to text, boolean, integer or list; what a record does not have is absent, never null or "".
Accepting: msgspec judges form (types, lengths, codes, unknown fields), one look over all texts together judges Unicode,
then come the fields' own tests and the rules. May never import marshmallow at the hot path, nor keep a body.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec

from hub.canonical import encode
from hub.errors import KindError, Problem
from hub.kinds import explain
from hub.kinds.checkdigits import is_birthplace, is_resident_id
from hub.kinds.masks import HIDDEN, Mask
from hub.kinds.vocabulary import TYPES, WORDS, Field, Rule, Test, flawed, plain, test_of

Body = Mapping[str, Any]
Group = dict[str, Any] | None
CodeTables = Mapping[str, Mapping[str, Mapping[str, str]]]


class Kind:
    """A declared kind of record; made by `parse_kind`, then only read."""

    def __init__(
        self,
        name: str,
        label: Mapping[str, str],
        fields: Mapping[str, Field],
        group_labels: Mapping[str, Mapping[str, str]],
        personal: frozenset[str],
        masks: Mapping[str, Mask],
        codes: CodeTables,
        rules: tuple[Rule, ...],
    ) -> None:
        self.name, self.label, self.fields, self.codes = name, label, fields, codes
        self.group_labels, self.personal, self.masks, self.rules = group_labels, personal, masks, rules
        self.groups: tuple[str, ...] = tuple(sorted(group_labels))
        self._judge = _compile(name, fields, rules)
        self._homes = {field.name: field.group for field in fields.values()}
        self._volatile = tuple(field.name for field in fields.values() if field.volatile)
        self._empty: dict[str, Group] = dict.fromkeys(self.groups)

    def accept(self, body: dict[str, Any]) -> None:
        """Raise KindError, with every problem explained, unless the body is a valid one of this kind."""
        if not self._judge(body):
            found = explain.problems(self, body)
            raise KindError(self.name, found or [Problem("", "is refused", "report this kind and field types")])

    def split(self, body: Body) -> tuple[dict[str, Any], dict[str, Group]]:
        """A valid body as (open fields, fields of every group); a group without fields is None, masks are computed."""
        open_: dict[str, Any] = {}
        groups = self._empty.copy()
        homes = self._homes
        for name, value in body.items():
            home = homes[name]
            if home == "open":
                open_[name] = value
                continue
            group = groups[home]
            if group is None:
                groups[home] = {name: value}
            else:
                group[name] = value
        for home, mask in self.masks.items():
            groups[home] = mask.of(body)
        return open_, groups

    def join(self, open_: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
        """The body again: open fields and those of the groups at hand; masks are left out."""
        body = dict(open_)
        for home, fields in groups.items():
            if fields and home not in self.masks:
                body.update(fields)
        return body

    def content(self, body: Body) -> bytes:
        """Canonical JSON bytes of a valid body without its volatile fields: equal bytes, unchanged record."""
        kept = dict(body)
        for name in self._volatile:
            kept.pop(name, None)
        return encode(kept)

    def warnings(self, body: Body) -> list[Problem]:
        """What a valid body leaves to wonder about: identity numbers whose birthplace is no province."""
        numbers = [field for field in self.fields.values() if field.type == "id_number" and field.name in body]
        return [
            Problem(
                field.name,
                f"{explain.called(field)}: the birthplace in this identity number is not a known province",
                "compare it with the certificate",
            )
            for field in numbers
            if is_resident_id(body[field.name]) and not is_birthplace(body[field.name])
        ]

    def masked(self, body: Body) -> dict[str, Any]:
        """A body for people's eyes: personal groups masked, free text as its length; never to be stored."""
        shown: dict[str, Any] = {}
        for mask in self.masks.values():
            shown |= mask.of(body) or {}
        return {name: shown.get(name, self._shown(name, value)) for name, value in body.items()}

    def _shown(self, name: str, value: Any) -> Any:
        field = self.fields[name]
        if field.group in self.personal:
            return [HIDDEN] * len(value) if isinstance(value, list) else HIDDEN
        if field.lines and not field.is_open:
            return f"{HIDDEN} ({len(value)})"
        return value

    @cached_property
    def _schema(self) -> explain.BodySchema:
        return explain.body_schema(self)

    def schema(self) -> explain.BodySchema:
        """The marshmallow schema of a body; it gives the same verdict as `accept`, and reasons."""
        return self._schema

    def json_schema(self) -> dict[str, Any]:
        """The form of a body as JSON Schema 2020-12: what a schema can say, rules across fields in words."""
        return explain.json_schema(self)


# ---- the hot path ----------------------------------------------------------------------------------------------------


def _form(field: Field) -> Any:
    """The type that msgspec converts a value of this field into."""
    base = TYPES[field.type].base
    if base == "boolean":
        return bool
    if base == "integer":
        return Annotated[int, msgspec.Meta(ge=field.min, le=field.max)]
    if base == "list":
        size = msgspec.Meta(min_length=field.min, max_length=field.max)
        return Annotated[list[_item(field)], size]  # type: ignore[misc]
    if field.type == "code":
        return Literal[field.codes]
    return Annotated[str, msgspec.Meta(min_length=field.min, max_length=field.max)]


def _item(field: Field) -> Any:
    if field.type == "codes":
        return Literal[field.codes]
    if field.type == "list":
        return _struct(field.name, field.of)
    return Annotated[str, msgspec.Meta(min_length=1, max_length=field.max_text)]


def _struct(name: str, fields: Mapping[str, Field]) -> type[msgspec.Struct]:
    # Attributes are numbered, so that a field may have any name, a word of Python among them.
    required = [field for field in fields.values() if field.required]
    optional = [field for field in fields.values() if not field.required]
    columns: list[Any] = [(f"f{n}", _form(field)) for n, field in enumerate(required)]
    for n, field in enumerate(optional, len(required)):
        columns.append((f"f{n}", _form(field) | msgspec.UnsetType, msgspec.UNSET))
    rename = {f"f{n}": field.name for n, field in enumerate(required + optional)}
    return msgspec.defstruct(name, columns, rename=rename, forbid_unknown_fields=True, gc=False)


def _words(fields: Mapping[str, Field]) -> tuple[str, ...]:
    return tuple(name for name, field in fields.items() if field.type in WORDS)


def _tests(fields: Mapping[str, Field]) -> tuple[tuple[str, Test], ...]:
    return tuple((name, test) for name, field in fields.items() if (test := test_of(field)) is not None)


def _gather(fields: Mapping[str, Field]) -> Callable[[Body], list[str]]:
    """All texts of a body that must be plain, those inside lists too."""
    words = _words(fields)
    texts = tuple(name for name, field in fields.items() if field.type == "texts")
    lists = tuple((name, _words(field.of)) for name, field in fields.items() if field.type == "list")

    def gather(body: Body) -> list[str]:
        found = [body[name] for name in words if name in body]
        for name in texts:
            found += body.get(name, ())
        for name, inner in lists:
            for item in body.get(name, ()):
                found += [item[word] for word in inner if word in item]
        return found

    return gather


def _compile(name: str, fields: Mapping[str, Field], rules: tuple[Rule, ...]) -> Callable[[Any], bool]:
    struct = _struct("Body", fields)
    gather = _gather(fields)
    tests = _tests(fields)
    lists = tuple((name, inner) for name, field in fields.items() if (inner := _tests(field.of)))
    compiled = tuple(rule.compiled() for rule in rules)
    convert = msgspec.convert

    def judge(body: Any) -> bool:
        if type(body) is not dict:
            return False
        try:
            convert(body, struct)
        except (msgspec.ValidationError, TypeError, RecursionError):
            return False
        texts = gather(body)
        if not plain(" ".join(texts)) and flawed(fields, body):
            return False
        for field, test in tests:
            if field in body and not test(body[field]):
                return False
        for field, inner in lists:
            for item in body.get(field, ()):
                for part, test in inner:
                    if part in item and not test(item[part]):
                        return False
        return all(rule(body) is None for rule in compiled)

    return judge
