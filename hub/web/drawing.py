"""The cooperation network as a drawing: where each box, line and title stands. Units: px, and em for texts."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple


def wrap(text: str, width: float) -> list[str]:
    """The text in lines of at most `width` em, broken at spaces or between Chinese characters."""
    lines = [""]
    for word in _pieces(text):
        if lines[-1] and ems(lines[-1] + word.rstrip()) > width:
            lines.append("")
        lines[-1] += word
    return [line.strip() for line in lines]


def shorten(text: str, width: float) -> str:
    """The text cut to `width` em with an ellipsis that says so."""
    if ems(text) <= width:
        return text
    while text and ems(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _pieces(text: str) -> Iterator[str]:
    for wide, run in groupby(text, key=_wide):
        if wide:
            yield from run
        else:
            yield from (word + " " for word in "".join(run).split(" "))


def _wide(character: str) -> bool:
    return ord(character) >= 0x2E80


def ems(text: str) -> float:
    """The width of a text in em, roughly: no font is asked."""
    return sum(1.0 if _wide(character) else 0.56 for character in text)


class Spot(NamedTuple):
    """A jurisdiction in the drawing: its box's upper left corner, the line to the hub and its middle."""

    city: Mapping[str, Any]
    x: float
    y: float
    line: str
    mark: tuple[float, float]


class Title(NamedTuple):
    """An agreement's name above its boxes, or a tier's."""

    lines: list[str]
    x: float
    y: float
    anchor: str
    of: str = "group"


class Border(NamedTuple):
    """A line between provinces, from x to x at y, with what it parts."""

    x: float
    to: float
    y: float
    word: str


class Drawing(NamedTuple):
    """The network in px: `box` is a box's width and height, `hub` the disc's centre and radius."""

    width: float
    height: float
    box: tuple[float, float]
    hub: tuple[float, float, float]
    spots: list[Spot]
    titles: list[Title]
    borders: list[Border]


class Shape(NamedTuple):
    """The sizes of a drawing in px; `bulge` bends the two columns around the hub."""

    width: float
    box: tuple[float, float]
    radius: float
    bulge: float
    title: float  # em


WIDE = Shape(640, (132, 44), 60, 34, 22)
NARROW = Shape(344, (112, 44), 42, 0, 11.5)
_GAP, _LINE, _BLOCK, _TIER, _BORDER = 10, 18, 14, 19, 24
_TIERS = ("city", "county", "town")

Block = tuple[list[str], list[Mapping[str, Any]]]
Worded = Callable[[str, str], str]


class _Tier(NamedTuple):
    """What stands above the boxes of one tier."""

    word: str


class _Between(NamedTuple):
    """What stands where a province ends and another begins."""

    word: str


def network(
    cities: Sequence[Mapping[str, Any]], names: Mapping[str, str], none: str, shape: Shape,
    word: Worded = lambda group, code: code,
) -> Drawing:  # fmt: skip
    """The hub between two columns of jurisdictions, grouped by the agreements they are in, then by province and tier.

    `names` words the agreements and `none` having none; who is in two agreements stands in a group of both. `word` words a
    code of group `tier` or `province`.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for city in cities:
        groups.setdefault(tuple(city["agreements"]), []).append(city)
    blocks = [
        (wrap(" + ".join(names.get(one, one) for one in key) or none, shape.title), members)
        for key, members in groups.items()
    ]
    columns = [[(title, _ranked(members, word)) for title, members in column] for column in _columns(blocks)]
    height = max([shape.radius * 2 + 40, *(_height(column, shape) for column in columns)])
    hub = (shape.width / 2, height / 2, shape.radius)
    drawing = Drawing(shape.width, height, shape.box, hub, [], [], [])
    for side, column in enumerate(columns):
        _place(drawing, column, shape, right=side == 1)
    return drawing


def _columns(blocks: list[Block]) -> tuple[list[Block], list[Block]]:
    """Each group on the lighter side, the largest first; one group alone is divided between both."""
    if len(blocks) == 1 and len(blocks[0][1]) > 1:
        title, members = blocks[0]
        half = math.ceil(len(members) / 2)
        return [(title, members[:half])], [(title, members[half:])]
    columns: tuple[list[Block], list[Block]] = ([], [])
    for block in sorted(blocks, key=lambda block: -len(block[1])):
        min(columns, key=lambda column: sum(len(members) for _, members in column)).append(block)
    return columns


def province(code: str) -> str:
    """The GB/T 2260 code of a region's province, empty where the code is none of a region."""
    return code[:2] if len(code) >= 6 and code.isdigit() else ""


def _ranked(members: Sequence[Mapping[str, Any]], word: Worded) -> list[Any]:
    """The members by province and tier, with what parts them where there is more than one."""

    def rank(city: Mapping[str, Any]) -> tuple[str, int, str]:
        tier = city.get("tier", "")
        return province(city["code"]), _TIERS.index(tier) if tier in _TIERS else len(_TIERS), city["code"]

    many = len({rank(city)[1] for city in members}) > 1
    found: list[Any] = []
    before: tuple[str, int, str] | None = None
    for city in sorted(members, key=rank):
        now = rank(city)
        if before is not None and before[0] != now[0]:
            found.append(_Between(f"{word('province', before[0])} | {word('province', now[0])}"))
        if many and (before is None or before[:2] != now[:2]):
            found.append(_Tier(word("tier", city.get("tier", ""))))
        found.append(city)
        before = now
    return found


def _high(item: Any, shape: Shape) -> float:
    return _TIER if isinstance(item, _Tier) else _BORDER if isinstance(item, _Between) else shape.box[1] + _GAP


def _height(column: list[tuple[list[str], list[Any]]], shape: Shape) -> float:
    boxes = sum(_high(item, shape) for _, items in column for item in items)
    return boxes + sum(len(title) * _LINE + 6 for title, _ in column) + _BLOCK * max(0, len(column) - 1)


def _place(drawing: Drawing, column: list[tuple[list[str], list[Any]]], shape: Shape, *, right: bool) -> None:
    wide, high = shape.box
    middle = drawing.height / 2
    y = (drawing.height - _height(column, shape)) / 2
    for title, items in column:
        anchor = "end" if right else "start"
        drawing.titles.append(Title(title, shape.width - 2 if right else 2, y + 13, anchor))
        y += len(title) * _LINE + 6
        for item in items:
            bend = shape.bulge * ((y + high / 2 - middle) / middle) ** 2
            x = shape.width - wide - bend - 2 if right else bend + 2
            if isinstance(item, _Tier):
                drawing.titles.append(Title([item.word], x + wide if right else x, y + 12, anchor, "tier"))
            elif isinstance(item, _Between):
                drawing.borders.append(Border(x, x + wide, y + 8, item.word))
            else:
                drawing.spots.append(_spot(drawing, item, x, y, right=right))
            y += _high(item, shape)
        y += _BLOCK


def _spot(drawing: Drawing, city: Mapping[str, Any], x: float, y: float, *, right: bool) -> Spot:
    centre_x, centre_y, radius = drawing.hub
    end = (x if right else x + drawing.box[0], y + drawing.box[1] / 2)
    angle = math.atan2((end[1] - centre_y) * 0.6, end[0] - centre_x)
    start = (centre_x + radius * math.cos(angle), centre_y + radius * math.sin(angle))
    bend = ((start[0] + end[0]) / 2, end[1])
    mark = tuple(round(a / 4 + b / 2 + c / 4, 1) for a, b, c in zip(start, bend, end, strict=True))
    points = [f"{value:.1f}" for point in (start, bend, end) for value in point]
    line = "M{} {}Q{} {} {} {}".format(*points)
    return Spot(city, round(x, 1), round(y, 1), line, (mark[0], mark[1]))
