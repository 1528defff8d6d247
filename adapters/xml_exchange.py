"""Exchange messages that a city drops as XML: ExchangeMessage/Header, then Body with one element per
record.

Owns the reading of XML: element by element, in flat memory, by defusedxml. Entities, document types
and external references are refused whole. A record is a map of its children's texts; a child with
children of its own is a map, one that repeats a list. An attribute is not read. A record stands by
its number within its file.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse
from marshmallow import Schema, fields, validate

from adapters.base import Look, Page, Row, Source, faulty
from adapters.connection import Connection
from adapters.files import chosen, opened, pattern_field, positive
from adapters.table_file import paged

_DEPTH = 20
_CHILDREN = 5_000


class SourceYaml(Schema):
    pattern = pattern_field()
    pick = fields.String(load_default="newest", validate=validate.OneOf(("newest", "all")))
    record = fields.String(
        required=True,
        validate=validate.Regexp(
            r"\A[^/\s]+(/[^/\s]+)*\Z", error='expected a path below the root such as "Body/fields"'
        ),
    )
    header = fields.Dict(keys=fields.String(), values=fields.String(), load_default=dict)
    max_bytes = positive(64 << 20)
    max_rows = positive(1_000_000)


def _name(element: Element) -> str:
    """An element's name without its namespace."""
    tag: str = element.tag
    return tag.rpartition("}")[2]


def value_of(element: Element, depth: int = 0) -> Any:
    """An element's text, or a map of its children. ValueError where it is nested or filled too far."""
    if not len(element):
        return element.text or ""
    if depth >= _DEPTH or len(element) > _CHILDREN:
        raise ValueError
    found: dict[str, Any] = {}
    for child in element:
        name, value = _name(child), value_of(child, depth + 1)
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


class _Message:
    """Reads one message from its start to its end."""

    def __init__(self, file: BinaryIO, options: Mapping[str, Any], where: str) -> None:
        self._file, self._options, self._where = file, options, where
        self._record = tuple(options["record"].split("/"))

    def rows(self) -> Iterator[Row]:
        """Its records; Look where it is no such message, or broken, or hostile."""
        try:
            yield from self._walk()
        except DefusedXmlException:
            mend = "a message needs no <!DOCTYPE or <!ENTITY; ask the sender what this is"
            raise Look(self._where, "declares entities or a document type", mend) from None
        except ParseError as error:
            line = error.position[0] if getattr(error, "position", None) else 1
            raise Look(
                f"{self._where}:{line}", "not well-formed XML, or cut off", "let the city send it again"
            ) from None
        except (ValueError, LookupError, RecursionError):
            raise Look(self._where, "XML in an encoding or shape that cannot be read", "send it as UTF-8") from None

    def _walk(self) -> Iterator[Row]:
        above: list[Element] = []
        count, header_seen = 0, not self._options["header"]
        for event, element in iterparse(self._file, events=("start", "end"), forbid_dtd=True):
            if event == "start":
                above.append(element)
                if len(above) > _DEPTH + len(self._record):
                    raise ValueError
                continue
            above.pop()
            path = tuple(_name(each) for each in above[1:]) + ((_name(element),) if above else ())
            if path == ("Header",):
                self._check_header(element)
                header_seen = True
            elif path == self._record:
                if not header_seen:
                    raise Look(self._where, "a record comes before the Header", "the message's form changed")
                count += 1
                yield self._row(element, count)
            else:
                continue
            above[-1].remove(element)  # read records leave memory
        if not header_seen:
            raise Look(self._where, "no Header", "is this the message that header: means?")

    def _check_header(self, element: Element) -> None:
        found = value_of(element)
        for name, expected in self._options["header"].items():
            if not isinstance(found, dict) or found.get(name) != expected:
                mend = "another message fell under pattern:, or header: is wrong"
                raise Look(self._where, f"Header/{name} is not what is declared", mend)

    def _row(self, element: Element, count: int) -> Row:
        where = f"{self._where} record {count}"
        if count > self._options["max_rows"]:
            raise Look(where, f"more than {self._options['max_rows']} records", "raise max_rows:")
        try:
            found = value_of(element)
        except ValueError:
            return faulty(where, "nested too deeply, or too many parts")
        return Row(found, where) if isinstance(found, dict) else faulty(where, "expected elements, found text")


def rows_of(path: Path, options: Mapping[str, Any]) -> Iterator[Row]:
    """The records of one file."""
    with opened(path, options["max_bytes"]) as file:
        yield from _Message(file, options, path.name).rows()


class XmlFiles:
    """The messages of one feed, read whole every time."""

    def __init__(self, options: Mapping[str, Any], connection: Connection) -> None:
        self._options, self._connection = options, connection

    def pages(self, cursor: str | None) -> Iterator[Page]:
        """The records of every message that is meant, in order of the files' names."""
        for path in chosen(self._options, self._connection):
            yield from paged(rows_of(path, self._options))


class XmlSample:
    """One saved message."""

    def __init__(self, options: Mapping[str, Any], path: Path) -> None:
        self._options, self._path = options, path

    def pages(self, cursor: str | None) -> Iterator[Page]:
        if not self._path.is_file():
            raise Look(self._path.name, "the sample is missing")
        yield from paged(rows_of(self._path, self._options))


def source(options: Mapping[str, Any], connection: Connection, columns: set[str]) -> Source:
    """The city's messages as a source; an element without a value may be left out, so none is demanded."""
    return XmlFiles(options, connection)


def sample(options: Mapping[str, Any], path: Path, columns: set[str]) -> Source:
    """A saved message as a source."""
    return XmlSample(options, path)
