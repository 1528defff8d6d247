"""One kind at work: accepting bodies fast, splitting them into open fields and groups, joining them again.

A body is a flat dict of field to text, boolean, integer or list; what a record does not have is absent, never
null or "". Accepting: msgspec judges form (types, lengths, codes, unknown fields), one look over all texts
together judges Unicode, then come the fields' own tests and the rules. May never import marshmallow at the
hot path, nor keep a body.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import Annotated, Any, Literal

import msgspec

from hub.canonical import encode
from hub.errors import KindError, Problem
from hub.kinds import explain
from hub.kinds.checkdigits import is_birthplace, is_resident_id
from hub.kinds.masks import HIDDEN, Mask
from hub.kinds.retention import Retention
from hub.kinds.vocabulary import TYPES, WORDS, CodeTables, Field, Rule, Test, flawed, plain, test_of

Body = Mapping[str, Any]
Group = dict[str, Any] | None
_MOST_SHAPES = 1024


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
        search: Mapping[str, tuple[str, ...]],
        retention: tuple[Retention, ...] = (),
    ) -> None:
        """`search` says by role (number, document, party, item, date) which fields a record is found by."""
        self.search = search
        self.name, self.label, self.fields, self.codes = name, label, fields, codes
        self.group_labels, self.personal, self.masks, self.rules = group_labels, personal, masks, rules
        self.retention = retention
        self.groups: tuple[str, ...] = tuple(sorted(group_labels))
        self._struct = _struct("Body", fields)
        self._shapes: dict[tuple[str, ...], Shape] = {}
        self._empty: dict[str, Group] = dict.fromkeys(self.groups)

    def accept(self, body: dict[str, Any]) -> "Shape":
        """The shape of a valid body of this kind; KindError, with every problem explained, where it is none."""
        shape = self._accepted(body)
        if shape is None:
            found = explain.problems(self, body)
            raise KindError(self.name, found or [Problem("", "is refused", "report this kind and field types")])
        return shape

    def _accepted(self, body: Any) -> "Shape | None":
        if type(body) is not dict:
            return None
        try:
            msgspec.convert(body, self._struct)
        except (msgspec.ValidationError, TypeError, UnicodeError, RecursionError):
            return None
        shape = self._shape(body)
        return shape if shape.judge(body, self.fields) else None

    def _shape(self, body: Body) -> "Shape":
        names = tuple(body)
        found = self._shapes.get(names)
        if found is None:
            # Bounded whatever is sent: real feeds have a few dozen.
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            found = self._shapes[names] = Shape(self, names)
        return found

    def essence(self, body: Body) -> bytes:
        """What of a body counts as its content: which field stands in which group, and canonical JSON without volatile ones.

        The same fields in another order are the same; a field that moves to another group is another content.
        """
        return self._shape(body).essence(body)

    def split(self, body: Body) -> tuple[dict[str, Any], dict[str, Group]]:
        """A valid body as (open fields, fields of every group).

        A group without fields is None; masks are computed.
        """
        groups = self._empty.copy()
        return self._shape(body).split(body, groups), groups

    def join(self, open_: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
        """The body again: open fields and those of the groups at hand; masks are left out."""
        body = dict(open_)
        for home, fields in groups.items():
            if fields and home not in self.masks:
                body.update(fields)
        return body

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
            shown |= mask.within(frozenset(body)).of(body) or {}
        return {name: shown.get(name, self._shown(name, value)) for name, value in body.items()}

    def _shown(self, name: str, value: Any) -> Any:
        field = self.fields[name]
        if field.group in self.personal and field.type not in ("code", "codes", "boolean"):
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


# ---- the hot path ----


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
    # In the order in which fields come in a body that was joined of its homes: msgspec looks for each behind the one before.
    order = sorted(fields.values(), key=lambda field: (not field.is_open, field.group, field.name))
    # Attributes are numbered, so that a field may have any name, a word of Python among them.
    columns: list[Any] = [
        (f"f{n}", _form(field)) if field.required else (f"f{n}", _form(field) | msgspec.UnsetType, msgspec.UNSET)
        for n, field in enumerate(order)
    ]
    rename = {f"f{n}": field.name for n, field in enumerate(order)}
    return msgspec.defstruct(name, columns, rename=rename, forbid_unknown_fields=True, kw_only=True, gc=False)


class Shape:
    """What all bodies with the same fields in the same order have in common, found out once.

    Bodies of one feed have few shapes. Of one it is known which fields there are, so what is left is the work
    on values: the tests, the rules that its fields can break at all, and where each field goes.
    """

    __slots__ = (
        "_arrays", "_layout", "_lists", "_masked", "_rules", "_runs", "_sealed", "_tests", "_texts", "_volatile", "masks",
    )  # fmt: skip

    def __init__(self, kind: Kind, names: tuple[str, ...]) -> None:
        fields, present = {name: kind.fields[name] for name in names}, frozenset(names)
        self._texts = _gather(fields)
        self._tests = _tests(fields)
        self._arrays = tuple(name for name, field in fields.items() if TYPES[field.type].base == "list")
        self._lists = tuple((name, inner) for name, field in fields.items() if (inner := _tests(field.of)))
        self._rules = tuple(judge for rule in kind.rules if (judge := rule.within(present)) is not None)
        self._sealed = tuple(
            (group, inside)
            for group in kind.groups
            if (inside := tuple(name for name, field in fields.items() if field.group == group))
        )
        self._masked = kind.masks.keys()
        self.masks = tuple((group, mask.within(present)) for group, mask in kind.masks.items())
        # How many fields of one home follow each other: a body joined of its homes, each field in its own, has these lengths.
        self._runs = [(home, sum(1 for _ in run)) for home, run in groupby(field.group for field in fields.values())]
        self._volatile = tuple(name for name, field in fields.items() if field.volatile)
        lasting = sorted(f"{name} {field.group}" for name, field in fields.items() if not field.volatile)
        self._layout = sha256("\n".join(lasting).encode()).digest()[:16]

    def essence(self, body: Body) -> bytes:
        """Where the lasting fields stand, in 16 bytes, and their canonical JSON."""
        if self._volatile:
            rest = dict(body)
            for name in self._volatile:
                del rest[name]
            return self._layout + encode(rest)
        return self._layout + encode(body)

    def placed(self, body: Body, open_: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether each field of a valid body stands where the kind says, and each mask is what its fields give.

        The body is what `Kind.join` made of the two.
        """
        runs = [("open", len(open_))] if open_ else []
        runs += [(home, len(fields)) for home, fields in groups.items() if home not in self._masked]
        return runs == self._runs and all(mask.of(body) == groups.get(group) for group, mask in self.masks)

    def judge(self, body: Body, fields: Mapping[str, Field]) -> bool:
        """Whether a body of the right form is valid."""
        for name in self._arrays:
            if type(body[name]) is not list:  # msgspec takes tuples and sets too
                return False
        if not plain(self._texts(body)) and flawed(fields, body):
            return False
        for name, test in self._tests:
            if not test(body[name]):
                return False
        for name, inner in self._lists:
            for item in body[name]:
                for part, test in inner:
                    if part in item and not test(item[part]):
                        return False
        for rule in self._rules:  # noqa: SIM110 - a generator costs as much as a rule
            if rule(body) is not None:
                return False
        return True

    def split(self, body: Body, groups: dict[str, Group]) -> dict[str, Any]:
        """Fill the groups that the body has fields of; gives its open fields."""
        rest = dict(body)
        take = rest.pop
        for group, names in self._sealed:
            groups[group] = {name: take(name) for name in names}
        for group, mask in self.masks:
            groups[group] = mask.of(body)
        return rest


def _tests(fields: Mapping[str, Field]) -> tuple[tuple[str, Test], ...]:
    return tuple((name, test) for name, field in fields.items() if (test := test_of(field)) is not None)


def _words(fields: Mapping[str, Field]) -> tuple[str, ...]:
    return tuple(name for name, field in fields.items() if field.type in WORDS)


def _gather(fields: Mapping[str, Field]) -> Callable[[Body], str]:
    """All texts of a body that must be plain, those inside lists too, joined by blanks.

    A blank joins with nothing in Unicode normalisation, so the whole is plain exactly when every text is.
    """
    words = _words(fields)
    pick: Callable[[Body], tuple[str, ...]] = itemgetter(*words) if len(words) > 1 else _single(words)
    texts = tuple(name for name, field in fields.items() if field.type == "texts")
    lists = tuple(
        (name, inner) for name, field in fields.items() if field.type == "list" and (inner := _words(field.of))
    )
    if not texts and not lists:
        return lambda body: " ".join(pick(body))

    def gather(body: Body) -> str:
        found = list(pick(body))
        for name in texts:
            found += body[name]
        for name, inner in lists:
            found += [item[word] for item in body[name] for word in inner if word in item]
        return " ".join(found)

    return gather


def _single(words: tuple[str, ...]) -> Callable[[Body], tuple[str, ...]]:
    return lambda body: tuple(body[word] for word in words)
