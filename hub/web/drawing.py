"""The cooperation network as a drawing: where each box, line and title stands. Units: px, and em for texts."""

import math
from collections.abc import Iterator, Mapping, Sequence
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
    """An agreement's name above its boxes."""

    lines: list[str]
    x: float
    y: float
    anchor: str


class Drawing(NamedTuple):
    """The network in px: `box` is a box's width and height, `hub` the disc's centre and radius."""

    width: float
    height: float
    box: tuple[float, float]
    hub: tuple[float, float, float]
    spots: list[Spot]
    titles: list[Title]


class Shape(NamedTuple):
    """The sizes of a drawing in px; `bulge` bends the two columns around the hub."""

    width: float
    box: tuple[float, float]
    radius: float
    bulge: float
    title: float  # em


WIDE = Shape(640, (132, 44), 60, 34, 22)
NARROW = Shape(344, (112, 44), 42, 0, 11.5)
_GAP, _LINE, _BLOCK = 10, 18, 14

Block = tuple[list[str], list[Mapping[str, Any]]]


def network(cities: Sequence[Mapping[str, Any]], names: Mapping[str, str], none: str, shape: Shape) -> Drawing:
    """The hub between two columns of jurisdictions, grouped by the agreements they are in.

    `names` words the agreements and `none` having none; who is in two agreements stands in a group of both.
    """
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for city in cities:
        groups.setdefault(tuple(city["agreements"]), []).append(city)
    blocks = [
        (wrap(" + ".join(names.get(one, one) for one in key) or none, shape.title), members)
        for key, members in groups.items()
    ]
    columns = _columns(blocks)
    height = max([shape.radius * 2 + 40, *(_height(column, shape) for column in columns)])
    hub = (shape.width / 2, height / 2, shape.radius)
    drawing = Drawing(shape.width, height, shape.box, hub, [], [])
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


def _height(column: list[Block], shape: Shape) -> float:
    boxes = sum(len(members) * (shape.box[1] + _GAP) for _, members in column)
    return boxes + sum(len(title) * _LINE + 6 for title, _ in column) + _BLOCK * max(0, len(column) - 1)


def _place(drawing: Drawing, column: list[Block], shape: Shape, *, right: bool) -> None:
    wide, high = shape.box
    middle = drawing.height / 2
    y = (drawing.height - _height(column, shape)) / 2
    for title, members in column:
        drawing.titles.append(Title(title, shape.width - 2 if right else 2, y + 13, "end" if right else "start"))
        y += len(title) * _LINE + 6
        for city in members:
            bend = shape.bulge * ((y + high / 2 - middle) / middle) ** 2
            x = shape.width - wide - bend - 2 if right else bend + 2
            drawing.spots.append(_spot(drawing, city, x, y, right=right))
            y += high + _GAP
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
