"""What a feed's offline sample says about its declaration.

Reads one sample through the feed's own transport and mapper, changes nothing, and reports; never a
value of a row.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from adapters.base import Refuse, Source, SourceError
from adapters.mapping import Mapper, Plan

_MOST = 20


class Finding(NamedTuple):
    """Where in the feed's declaration (() for the sample itself), what is wrong, how to mend it."""

    keys: tuple[str | int, ...]
    what: str
    mend: str = ""


def lint_feed(source: Source, mapper: Mapper, plan: Plan, duplicates: str) -> Iterator[Finding]:
    """Rows that do not map, keys met twice, columns that nobody named or that are not there."""
    bodies: dict[tuple[str, str], Any] = {}
    columns: set[str] = set()
    refused = rows = 0
    try:
        for page in source.pages(None):
            for row in page.rows:
                rows += 1
                columns |= set(row.data)
                try:
                    mapped = mapper(row)
                except Refuse as error:
                    refused += 1
                    if refused <= _MOST:
                        yield Finding((), str(error))
                    continue
                if mapped.retract:
                    continue
                known = bodies.setdefault((mapped.origin, mapped.key), mapped.body)
                if known != mapped.body and duplicates == "refuse":
                    what = f"{row.where}: has the key ({', '.join(plan.key)}) of another row above"
                    yield Finding((), what, "add a field to key:, or say duplicates: first")
    except SourceError as error:
        yield Finding((), str(error))
        return
    if refused > _MOST:
        yield Finding(("sample",), f"{refused} of {rows} rows cannot be mapped")
    if not rows:
        yield Finding(("sample",), "holds no rows", "add a few as the city writes them")
        return
    yield from _columns(mapper, plan, columns)


def _columns(mapper: Mapper, plan: Plan, columns: set[str]) -> Iterator[Finding]:
    for column in sorted(mapper.leftovers):
        yield Finding(("map",), f"column {column} is neither mapped nor ignored", "map it, or add it to ignore:")
    for n, column in enumerate(plan.ignore):
        if column not in columns:
            yield Finding(("ignore", n), f"no column {column} in the sample", "remove it, or mend its name")
    for column in sorted(plan.needed() - columns):
        yield Finding(("map",), f"no column {column} in the sample", "mend its name, or say optional: true")
