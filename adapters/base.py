"""What every source of records is: the Source protocol, the shapes that travel through it, and its
three errors.

A source yields pages of rows; a mapper turns one row into one body. Errors say what to do next:
`Retry` (the far side is busy or gone: try later), `Look` (a person must look: refused signature,
changed format, unreadable file) and `Refuse` (this one row cannot be mapped: quarantine it, go on).
None of them carries a value of a row.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class Row(NamedTuple):
    """One row of a city's system: its columns, and where it stands ("cases.csv:12", "page 3 row 5").

    Values are what JSON has (text, numbers, booleans, None, lists and objects of them): rows travel between processes.
    """

    data: Mapping[str, Any]
    where: str


FAULT = "\x00fault"  # no system can name a column so: the one key of a row that could not be read


def faulty(where: str, what: str) -> Row:
    """A row that its transport could not read as a row: a mapper refuses it with `what`, the others go on."""
    return Row({FAULT: what}, where)


class Page(NamedTuple):
    """Some rows, in the source's order, and the cursor reached once ALL pages of this read are stored."""

    rows: list[Row]
    cursor: str | None = None


class Mapped(NamedTuple):
    """One row as a kind's body; `key` is the source key as canonical JSON, `retract` marks a deletion."""

    origin: str
    key: str
    body: dict[str, Any]
    retract: bool = False


class SourceError(Exception):
    """Where, what, and how to mend it."""

    def __init__(self, where: str, what: str, mend: str = "") -> None:
        super().__init__(f"{where}: {what}" + (f"; {mend}" if mend else ""))
        self.where, self.what, self.mend = where, what, mend


class Retry(SourceError):
    """The far side is busy, slow or gone: the same read may succeed later."""


class Look(SourceError):
    """A person must look: refused key or signature, stale clock, another format, an unreadable file."""


class Refuse(SourceError):
    """This row cannot be mapped.

    `field` is the source column at fault, `key` and `origin` are set where they could still be read.
    """

    def __init__(self, where: str, field: str, what: str, mend: str = "") -> None:
        super().__init__(f"{where}: {field}" if field else where, what, mend)
        self.row, self.field = where, field
        self.key: str | None = None
        self.origin: str | None = None


class Listed(Protocol):
    """A source that can also list which rows there are and of which version, so that only some need be read whole."""

    def listing(self) -> Iterator[Page]:
        """Every row there is with few of its columns, those of its key and its version among them."""
        ...

    def fetch(self, rows: Sequence[Row]) -> Iterator[Page]:
        """The whole rows of some listed ones."""
        ...


class Source(Protocol):
    """One feed of one city's system."""

    def pages(self, cursor: str | None) -> Iterator[Page]:
        """Read from `cursor` on, or the whole range where it is None; raises Retry or Look, never Refuse."""
        ...
