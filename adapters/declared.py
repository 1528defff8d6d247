"""Declarations: YAML that people write, read strictly, with every problem named by file and line at
once.

Owns the loader and the wording of problems for every declaration of the project (cities, kinds,
framework, settings). Values are plain: dict, list, str, int, bool, None. Whatever YAML would guess
is refused or kept as text: floats, repeated keys, merges, tags, numbers as keys and numbers with
leading zeros are refused; dates, times, `no` and `on` stay text. May never open anything but the
file it is given, and never builds an object that a tag names.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import marshmallow
from marshmallow import fields
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Key = str | int

_MAX_NODES = 200_000  # an alias may stand for a tree: this bounds what aliases of aliases unfold to
_MAX_DEPTH = 40
_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_TAG = "tag:yaml.org,2002:"

# marshmallow's own words, where they do not say what to do
_PLAIN = {
    "Missing data for required field.": "is missing",
    "Field may not be null.": "is empty; give a value or leave the key out",
    "Not a valid string.": "expected text; put it in quotes if it looks like a number",
    "Not a valid integer.": "expected a whole number without quotes",
    "Not a valid boolean.": "expected true or false",
    "Not a valid list.": "expected a list",
    "Not a valid mapping type.": "expected keys and values",
    "Invalid type.": "expected keys and values",
    "Invalid input type.": "expected keys and values",
}
_UNKNOWN = "Unknown field."


class DeclarationError(Exception):
    """A declaration that cannot be used; `problems` holds all: `file.yaml:9: a.b: what; how to mend`.

    `places` are the keys that lead to what has not the form it should have.
    """

    def __init__(self, problems: Iterable[str], places: Iterable[tuple[Key, ...]] = ()) -> None:
        self.problems, self.places = list(problems), list(places)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True)
class Doc:
    """One file as plain values, the line each of them stands on, and its text as it was read."""

    path: Path
    value: Any
    lines: dict[tuple[Key, ...], int] = field(default_factory=dict, repr=False)
    text: str = field(default="", repr=False)

    def line(self, *keys: Key) -> int:
        """The line (from 1) of the value at `keys`, or of the nearest part of the file around it."""
        for end in range(len(keys), -1, -1):
            found = self.lines.get(tuple(keys[:end]))
            if found is not None:
                return found
        return 1

    def problem(self, keys: Sequence[Key], what: str, mend: str = "") -> str:
        """`file.yaml:9: members.1.interval: what; mend`."""
        place = ".".join(str(key) for key in keys)
        head = f"{self.path.name}:{self.line(*keys)}: " + (f"{place}: " if place else "")
        return head + what + (f"; {mend}" if mend else "")


def read_yaml(path: Path, *, max_bytes: int = 1 << 20) -> Doc:
    """The file as a Doc; DeclarationError where it is unreadable, not UTF-8, too large or not plain YAML."""
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DeclarationError([f"{path.name}:1: cannot be read: {reason}"]) from None
    if len(data) > max_bytes:
        raise DeclarationError([f"{path.name}:1: larger than {max_bytes} bytes; split it or shorten it"])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DeclarationError([f"{path.name}:{line}: not UTF-8; save the file as UTF-8"]) from None
    return _Reader(path).read(text)


class _Reader:
    """Walks composed nodes (never constructed objects), collecting values, lines and problems."""

    def __init__(self, path: Path) -> None:
        self.doc = Doc(path, None, {(): 1})
        self.problems: list[str] = []
        self.nodes = 0

    def read(self, text: str) -> Doc:
        name = self.doc.path.name
        try:
            root = YAML(typ="rt", pure=True).compose(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise DeclarationError([f"{name}:{line}: not YAML: {error.problem or error.context}"]) from None
        except (YAMLError, RecursionError, ValueError, AttributeError):
            raise DeclarationError([f"{name}:1: not YAML that can be read"]) from None
        value = None if root is None else self.value(root, ())
        if self.problems:
            raise DeclarationError(self.problems)
        return Doc(self.doc.path, value, self.doc.lines, text)

    def refuse(self, keys: tuple[Key, ...], what: str, mend: str = "") -> None:
        self.problems.append(self.doc.problem(keys, what, mend))

    def value(self, node: Node, keys: tuple[Key, ...]) -> Any:
        self.nodes += 1
        self.doc.lines.setdefault(keys, node.start_mark.line + 1)
        if self.nodes > _MAX_NODES or len(keys) > _MAX_DEPTH:
            self.refuse((), "unfolds to too much", "write fewer aliases (*name) and nest less deeply")
            raise DeclarationError(self.problems)
        if isinstance(node, MappingNode):
            return self.mapping(node, keys)
        if isinstance(node, SequenceNode):
            return [self.value(child, (*keys, place)) for place, child in enumerate(node.value)]
        return self.scalar(node, keys)

    def mapping(self, node: MappingNode, keys: tuple[Key, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, child in node.value:
            line = key_node.start_mark.line + 1
            name = self.key(key_node, keys, line)
            if name is None:
                continue
            if name in found:
                place, first = ".".join(map(str, (*keys, name))), self.doc.line(*keys, name)
                what = f"{place}: stands twice (first on line {first}); keep one"
                self.problems.append(f"{self.doc.path.name}:{line}: {what}")
                continue
            self.doc.lines[(*keys, name)] = line
            found[name] = self.value(child, (*keys, name))
        return found

    def key(self, node: Node, keys: tuple[Key, ...], line: int) -> str | None:
        at = f"{self.doc.path.name}:{line}: " + (f"{'.'.join(map(str, keys))}: " if keys else "")
        if not isinstance(node, ScalarNode):
            self.problems.append(f"{at}a key must be text")
            return None
        tag = str(node.tag).removeprefix(_TAG)
        if tag == "merge":
            self.problems.append(f"{at}`<<` is not supported; write the keys out")
            return None
        if tag in ("int", "float") and not node.style:
            self.problems.append(f"{at}a key that looks like a number; put it in quotes")
            return None
        if node.value == "":
            self.problems.append(f"{at}an empty key")
            return None
        return str(node.value)  # `null`, `true` and dates as keys are the words themselves

    def scalar(self, node: Node, keys: tuple[Key, ...]) -> Any:
        tag, text = str(node.tag).removeprefix(_TAG), str(node.value)
        if tag in ("str", "timestamp"):
            return text
        if tag == "null":
            return None
        if tag == "bool":
            return text.lower() == "true"
        if tag == "int":
            if _INT.fullmatch(text):
                return int(text)
            self.refuse(keys, "a number that is not plain decimal", "put a code in quotes")
        elif tag == "float":
            self.refuse(keys, "a number with a point or an exponent", "put it in quotes")
        else:
            self.refuse(keys, f"the tag {tag[:40]} is not supported", "remove it")
        return None


class Code(fields.Field[str]):
    """A code: text only; an unquoted number has already lost its leading zeros, so it is refused."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            raise marshmallow.ValidationError("a code written as a number; put it in quotes")
        if not isinstance(value, str):
            raise marshmallow.ValidationError("expected a code; put it in quotes")
        if not value:
            raise marshmallow.ValidationError("an empty code")
        return value


class Read(fields.Field[Any]):
    """Text read by a function; its ValueError becomes a problem that says what was expected."""

    def __init__(self, read: Callable[[str], Any], expected: str, **options: Any) -> None:
        super().__init__(**options)
        self._read, self._expected = read, expected

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        try:
            if isinstance(value, str):
                return self._read(value)
        except ValueError:
            pass
        raise marshmallow.ValidationError(f"expected {self._expected}")


class Span(fields.Field[timedelta]):
    """A length of time such as "10 minutes"."""

    _UNITS: ClassVar = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> timedelta:
        match = re.fullmatch(r"([1-9][0-9]{0,6}) (second|minute|hour|day)s?", value) if isinstance(value, str) else None
        if not match:
            raise marshmallow.ValidationError('expected a length of time such as "10 minutes"')
        return timedelta(seconds=int(match[1]) * self._UNITS[match[2]])


class Words(fields.Field[list[str]]):
    """One text, or a list of texts."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[str]:
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise marshmallow.ValidationError("expected text or a list of texts; put numbers in quotes")
        return words


def check(doc: Doc, schema: marshmallow.Schema, at: Sequence[Key] = (), value: Any = None) -> Any:
    """What `schema` loads from the value at `at` (or from `value`, which stands there in another spelling).

    DeclarationError with every problem at once.
    """
    if value is None:
        value = doc.value
        for key in at:
            value = value[key]
    if not isinstance(value, dict):
        raise DeclarationError([doc.problem(at, "expected keys and values")])
    try:
        return schema.load(value)
    except marshmallow.ValidationError as error:
        found = sorted(_explain(doc, tuple(at), error.messages, schema), key=lambda item: item[0])
        raise DeclarationError([text for _, text, _ in found], [place for _, _, place in found]) from None


def _explain(
    doc: Doc, keys: tuple[Key, ...], messages: Any, shape: Any
) -> Iterator[tuple[int, str, tuple[Key, ...]]]:
    if isinstance(messages, dict):
        for key, inner in messages.items():
            place, inside = _step(keys, key, shape)
            yield from _explain(doc, place, inner, inside if inside is not None else _names(shape))
        return
    for message in messages if isinstance(messages, list) else [messages]:
        if isinstance(message, dict):
            yield from _explain(doc, keys, message, shape)
        elif message == _UNKNOWN:
            yield doc.line(*keys), doc.problem(keys, *_unknown(str(keys[-1]) if keys else "", shape)), keys
        else:
            yield doc.line(*keys), doc.problem(keys, _PLAIN.get(str(message), str(message))), keys


def _step(keys: tuple[Key, ...], key: Any, shape: Any) -> tuple[tuple[Key, ...], Any]:
    """One step into marshmallow's nested messages: the place in the file, and what judged it."""
    if key == "_schema":
        return keys, shape
    if isinstance(shape, _Entry):
        return keys, shape.whole.key_field if key == "key" else shape.whole.value_field
    if isinstance(shape, fields.Nested):
        shape = shape.schema
    if isinstance(shape, marshmallow.Schema):
        if shape.many and isinstance(key, int):
            return (*keys, key), shape
        inside = {f.data_key or name: f for name, f in shape.load_fields.items()}.get(key)
        return (*keys, key), inside
    if isinstance(shape, fields.List):
        return (*keys, key), shape.inner
    if isinstance(shape, fields.Dict):
        return (*keys, key), _Entry(shape)
    return (*keys, key), None


class _Entry(NamedTuple):
    """One entry of a Dict field, where marshmallow's messages have one more level named `key` or `value`."""

    whole: fields.Dict


def _names(shape: Any) -> list[str]:
    if isinstance(shape, fields.Nested):
        shape = shape.schema
    if isinstance(shape, marshmallow.Schema):
        return [f.data_key or name for name, f in shape.load_fields.items()]
    return []


def _unknown(key: str, names: Any) -> tuple[str, str]:
    known = names if isinstance(names, list) else []
    return "unknown key", did_you_mean(key, known) if known else "remove it"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A remedy naming the nearest known word, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, 1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known) or 'none'}"
