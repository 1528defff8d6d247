"""What a kind is made of: its fields, the closed list of field types, and its rules, all as plain frozen
values.

A field type says which texts it takes. `text` and its like may hold words about a person, so they are never
open. May never judge a whole body (that is the kind's) nor read a file (that is `declare`'s). Units: money is
yuan with two places as text; a datetime has seconds and an explicit offset; a region is a GB/T 2260 or
statistical code of 6, 9 or 12 digits; text is Unicode NFC.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any
from unicodedata import is_normalized

from hub.canonical import LARGEST
from hub.kinds.checkdigits import is_authority_uscc, is_date, is_day, is_resident_id, is_uscc

Test = Callable[[Any], bool]
CodeTables = Mapping[str, Mapping[str, Mapping[str, str]]]

# Control characters, half characters, line and paragraph separators, and marks that turn the direction of
# writing.
_FORBIDDEN = "\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_bad_in_line = re.compile(f"[\x00-\x1f{_FORBIDDEN}]").search
_bad_in_lines = re.compile(f"[\x00-\x08\x0b-\x1f{_FORBIDDEN}]").search
_clock = re.compile(
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\+(?:0[0-9]|1[0-4])|-(?:0[1-9]|1[0-2])):[0-5][0-9]"
).fullmatch
_money = re.compile(r"(?:0|[1-9][0-9]{0,15})\.[0-9]{2}").fullmatch
_identifier = re.compile(r"[A-Za-z0-9._:/-]+").fullmatch
_blank = re.compile(r"\s").search
_long_number = re.compile(r"[0-9]{7}").search


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a kind.

    `group` is "open" or a sealed group; `codes` the values of its code table; `min` and `max` bound
    characters, items or the number itself; `max_text` bounds each text of a `texts`; `of` are the fields of a
    list's objects.
    """

    name: str
    type: str
    label: Mapping[str, str]
    group: str = "open"
    required: bool = False
    volatile: bool = False
    codes: tuple[str, ...] = ()
    table: str | None = None
    min: int = 1
    max: int = 1
    max_text: int = 0
    lines: bool = False
    of: Mapping[str, "Field"] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether the field travels in clear with every record."""
        return self.group == "open"


@dataclass(frozen=True, slots=True)
class Type:
    """A field type: what it expects in words, which options it takes, and its usual bounds (least, most)."""

    expects: str
    options: frozenset[str] = frozenset()
    least: int = 1
    most: int = 1
    may_be_open: bool = True
    base: str = "text"  # text | integer | boolean | list


_SIZE = frozenset({"min", "max"})

TYPES: Mapping[str, Type] = {
    "text": Type("text", _SIZE | {"lines"}, 1, 500, may_be_open=False),
    "agency": Type("the full name of an authority without a long number", _SIZE, 4, 200),
    "code": Type("a code of the table {table}", frozenset({"codes"}), 1, 64),
    "codes": Type("different codes of the table {table}", frozenset({"codes"}), base="list"),
    "digits": Type("digits 0-9", _SIZE | {"length"}, 1, 64),
    "date": Type("a calendar day as YYYY-MM-DD, 1900 to 2100", most=10, least=10),
    "datetime": Type("a time as YYYY-MM-DDTHH:MM:SS+08:00", most=25, least=25),
    "money": Type("yuan with two places, such as 2000.00", most=19, least=4),
    "integer": Type("a whole number", _SIZE, 0, LARGEST, base="integer"),
    "boolean": Type("true or false", base="boolean"),
    "region": Type("a region code of 6, 9 or 12 digits", most=12, least=6),
    "uscc": Type("a unified social credit code: 18 characters with a right check digit", most=18, least=18),
    "id_number": Type("a certificate number without blanks", _SIZE, 1, 40, may_be_open=False),
    "identifier": Type("letters, digits and . _ : / - only", _SIZE, 1, 128),
    "identifiers": Type("a list of names of letters, digits and . _ : / -", _SIZE, 1, 100, base="list"),
    "texts": Type("a list of texts", _SIZE | {"max_text"}, 1, 100, may_be_open=False, base="list"),
    "list": Type("a list of objects", _SIZE | {"of"}, 1, 100, may_be_open=False, base="list"),
}

# Judged together with the other texts of the body, see `plain`.
WORDS = frozenset({"text", "agency", "id_number"})


def plain(text: str) -> bool:
    """Whether a text is surely printable and NFC; False only sends it to `flaw`."""
    return text.isprintable() and is_normalized("NFC", text)


def flaw(text: str, lines: bool) -> str | None:
    """What forbids a text, None where nothing does; `lines` allows newline and tab."""
    if (_bad_in_lines if lines else _bad_in_line)(text):
        return "holds a control, direction or half character" + ("" if lines else ", or more than one line")
    return None if is_normalized("NFC", text) else "is not in Unicode normal form NFC"


def flawed(fields: Mapping[str, Field], body: Mapping[str, Any]) -> bool:
    """Whether any text of a body of the right form is forbidden, texts inside lists included."""
    for name, value in body.items():
        one = fields[name]
        if one.type in WORDS:
            found = flaw(value, one.lines) is not None
        elif one.type == "texts":
            found = any(flaw(text, True) for text in value)
        else:
            found = one.type == "list" and any(flawed(one.of, item) for item in value)
        if found:
            return True
    return False


def is_datetime(text: str) -> bool:
    """Whether a text is a real time with seconds and an explicit offset, in its one spelling."""
    return _clock(text, 10) is not None and is_day(text[:10])


def is_money(text: str) -> bool:
    """Whether a text is an amount of yuan with two places, below 10^16, in its one spelling."""
    return _money(text) is not None


def is_region(text: str) -> bool:
    """Whether a text has the form of a region code."""
    return len(text) in (6, 9, 12) and text.isascii() and text.isdigit()


def is_agency(text: str) -> bool:
    """Whether a text may name an authority: no run of seven digits, which may be a person's number."""
    return _long_number(text) is None


def is_id_number(text: str) -> bool:
    """Whether a text has no blanks, as certificate numbers have none."""
    return _blank(text) is None


def is_digits(text: str) -> bool:
    """Whether a text is ASCII digits."""
    return text.isascii() and text.isdigit()


def is_identifier(text: str) -> bool:
    """Whether a text is letters, digits and . _ : / - only."""
    return _identifier(text) is not None


def hides_person(text: str) -> bool:
    """Whether a text is a resident identity number: no open field may carry one."""
    return len(text) == 18 and is_resident_id(text)


def unlike(texts: list[str]) -> bool:
    """Whether no text stands twice."""
    return len(texts) == len(set(texts))


def _identifiers(texts: list[str]) -> bool:
    return all(map(is_identifier, texts)) and unlike(texts)


_TESTS: Mapping[str, Test] = {
    "agency": is_agency,
    "codes": unlike,
    "digits": is_digits,
    "date": is_date,
    "datetime": is_datetime,
    "money": is_money,
    "region": is_region,
    "uscc": is_authority_uscc,
    "id_number": is_id_number,
    "identifier": is_identifier,
    "identifiers": _identifiers,
}


def test_of(one: Field) -> Test | None:
    """What a value of the right form must still pass, None where the form says all."""
    test = _TESTS.get(one.type)
    if test is None or not one.is_open:
        return test
    if one.type == "identifiers":
        return lambda names: test(names) and not any(map(hides_person, names))
    if one.type in ("digits", "identifier") and one.min <= 18 <= one.max:
        return lambda text: test(text) and not hides_person(text)
    return test


# ---- rules ----

NUMBERS: Mapping[str, tuple[Test, str]] = {
    "uscc": (is_uscc, TYPES["uscc"].expects),
    "resident_id": (
        is_resident_id,
        "a resident identity number with a real birth date and a right check digit",
    ),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """When a rule applies: `how` is in | present | prefix | not_prefix.

    An absent field meets only `present: false`.
    """

    name: str
    how: str
    values: tuple[Any, ...]

    def test(self) -> Test:
        """The condition as a test of a field's value, where it is not about presence."""
        values = self.values
        if self.how == "in":
            return frozenset(values).__contains__
        if self.how == "prefix":
            return lambda value: bool(value.startswith(values))
        return lambda value: not value.startswith(values)

    def meets(self, fields: Mapping[str, Any]) -> bool:
        """Whether fields meet the condition."""
        if self.how == "present":
            return (self.name in fields) is bool(self.values[0])
        return self.name in fields and bool(self.test()(fields[self.name]))

    def __str__(self) -> str:
        if self.how == "present":
            return f"{self.name} is {'given' if self.values[0] else 'absent'}"
        words = {"in": "is", "prefix": "begins with", "not_prefix": "does not begin with"}[self.how]
        return f"{self.name} {words} {' or '.join(str(value).lower() for value in self.values)}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule across fields: `form` is require | allow | include | check | order, `names` are the fields it
    judges.

    `values` are the codes of allow and include, the number's name of check, ("strict",) of a strict order.
    """

    form: str
    names: tuple[str, ...]
    values: tuple[str, ...] = ()
    when: tuple[Condition, ...] = ()

    @property
    def mentions(self) -> frozenset[str]:
        """Every field the rule looks at."""
        return frozenset(self.names) | {condition.name for condition in self.when}

    def within(self, present: frozenset[str]) -> "Judge | None":
        """The rule for bodies with exactly these fields, None where none of them can break it.

        The judge gives the name of the field at fault, None where the body keeps the rule.
        """
        tests = []
        for condition in self.when:
            if condition.how == "present":
                if (condition.name in present) is not condition.values[0]:
                    return None
            elif condition.name not in present:
                return None
            else:
                tests.append((condition.name, condition.test()))
        judge = _FORMS[self.form](self, present)
        if judge is None or not tests:
            return judge
        return _guarded(tests, judge)

    def says(self) -> tuple[str, str]:
        """What a body that breaks the rule did wrong, and how to mend it."""
        when = " and ".join(map(str, self.when))
        when = f" where {when}" if when else ""
        if self.form == "require":
            return f"is required{when}", "give it, or correct the field that asks for it"
        if self.form == "allow":
            return f"is not allowed to have this value{when}", f"allowed: {', '.join(self.values)}"
        if self.form == "include":
            return f"must include {self.values[0]}{when}", "add that code, or leave out what asks for it"
        if self.form == "check":
            return f"expected {NUMBERS[self.values[0]][1]}{when}", "correct the number or its type"
        than = "later than" if self.values else "no earlier than"
        return f"must be {than} the one before it of: {', '.join(self.names)}", "correct the dates"


Judge = Callable[[Mapping[str, Any]], str | None]


def _guarded(tests: list[tuple[str, Test]], judge: Judge) -> Judge:
    if len(tests) == 1:
        ((name, test),) = tests
        return lambda body: judge(body) if test(body[name]) else None
    return lambda body: judge(body) if all(test(body[name]) for name, test in tests) else None


def _require(rule: Rule, present: frozenset[str]) -> Judge | None:
    absent = next((name for name in rule.names if name not in present), None)
    return None if absent is None else lambda body: absent


def _allow(rule: Rule, present: frozenset[str]) -> Judge | None:
    (name,), allowed = rule.names, frozenset(rule.values)
    return (lambda body: None if body[name] in allowed else name) if name in present else None


def _include(rule: Rule, present: frozenset[str]) -> Judge | None:
    (name,), (value,) = rule.names, rule.values
    if name not in present:
        return lambda body: name
    return lambda body: None if value in body[name] else name


def _check(rule: Rule, present: frozenset[str]) -> Judge | None:
    (name,), test = rule.names, NUMBERS[rule.values[0]][0]
    return (lambda body: None if test(body[name]) else name) if name in present else None


def _order(rule: Rule, present: frozenset[str]) -> Judge | None:
    names = [name for name in rule.names if name in present]
    pairs, strict = tuple(pairwise(names)), bool(rule.values)
    if not pairs:
        return None

    def judge(body: Mapping[str, Any]) -> str | None:
        for before, name in pairs:
            if not _follows(body[before], body[name], strict):
                return name
        return None

    return judge


def _follows(before: Any, value: Any, strict: bool) -> bool:
    # Texts of one offset order as the moments do; only different offsets must be computed.
    if isinstance(value, str) and before[19:] != value[19:]:
        before, value = datetime.fromisoformat(before), datetime.fromisoformat(value)
    return bool(before < value if strict else before <= value)


_FORMS: Mapping[str, Callable[[Rule, frozenset[str]], Judge | None]] = {
    "require": _require,
    "allow": _allow,
    "include": _include,
    "check": _check,
    "order": _order,
}
