"""How personal values are shown to those who may not see them; computed at the origin, so a mask verifies
too.

A mask must not depend on anything but the record: every implementation computes the same. 张三 becomes 张*,
欧阳修 becomes 欧阳*; an identity number keeps 6 + 4 characters, a telephone number 3 + 4, an address its
town. An organisation's name and number are public and stay; a minor's are suppressed. May never log or raise:
what cannot be masked well is hidden whole. Source: 个人信息保护法 arts. 6, 28, 51; the practice of publishing
penalty decisions.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hub.kinds.checkdigits import birth_date

HIDDEN = "***"
SHORT = 8

_SURNAMES = (
    "欧阳太史端木上官司马东方独孤南宫万俟闻人夏侯诸葛尉迟公羊赫连澹台皇甫宗政濮阳公冶太叔申屠公孙"
    "慕容仲孙钟离长孙宇文司徒鲜于司空令狐百里呼延东郭南门羊舌微生左丘东门西门第五拓跋轩辕淳于单于完颜"
)
_COMPOUND = frozenset(_SURNAMES[n : n + 2] for n in range(0, len(_SURNAMES), 2))
# A town ends in one of these; 乡 in 桐乡市 and the first 镇 in 乌镇镇 or 镇海区 are part of a name.
_TOWN = r"街道|苏木|镇(?![镇乡]|.?[市县区])|乡(?![镇乡]|.?[市县区])"
# From these on an address leads to a door.
_DOOR = "0-9０-９路弄巷号村幢室"
_town_or_door = re.compile(f"({_TOWN})|[{_DOOR}]").search
_county = re.compile(f"[^{_DOOR}]{{0,20}}[市县区旗](?!场)").match


def mask_name(text: str) -> str:
    """A person's name: the surname and one star, whatever the length."""
    if len(text) < 2:
        return "*"
    return (text[:2] if len(text) > 2 and text[:2] in _COMPOUND else text[0]) + "*"


def mask_id(text: str) -> str:
    """A certificate number: first 6, stars, last 4; a short one keeps less."""
    size = len(text)
    if size >= 15:
        return text[:6] + "*" * (size - 10) + text[-4:]
    return text[0] + "*" * (size - 3) + text[-2:] if size >= 7 else "*" * size


def mask_phone(text: str) -> str:
    """A telephone number: 138****1234; another length keeps its last two characters."""
    if len(text) == 11:
        return text[:3] + "****" + text[-4:]
    return "*" * (len(text) - 2) + text[-2:] if len(text) >= 7 else "*" * len(text)


def mask_address(text: str) -> str:
    """An address down to its town, else its county, else nothing of it."""
    found = _town_or_door(text, 0, 40)
    if found and found[1]:
        return text[: found.end()]
    county = _county(text)
    return county.group() if county else HIDDEN


def mask_shape(value: Any) -> str:
    """A value of which nobody knows what it is (a row that could not be mapped): its ends alone, where it is long enough.

    Of a short text the ends would be most of a name, and parts that do not print are no shape.
    """
    if value is None or value == "":
        return ""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if len(text) < SHORT or not (text[0].isalnum() and text[-1].isalnum()):
        return HIDDEN
    return text[0] + HIDDEN + text[-1]


class How(NamedTuple):
    """One way of masking; `always` where the field is a person's whoever the party is."""

    mask: Callable[[str], str]
    always: bool


def mask_title(text: str) -> str:
    """A text that names the party, where it cannot be told what of it is the name: nothing of it."""
    return HIDDEN


HOW: Mapping[str, How] = {
    "title": How(mask_title, False),
    "name": How(mask_name, False),
    "id": How(mask_id, False),
    "phone": How(mask_phone, False),
    "address": How(mask_address, False),
    "person_name": How(mask_name, True),
    "person_id": How(mask_id, True),
    "person_phone": How(mask_phone, True),
    "person_address": How(mask_address, True),
}


class Mask(NamedTuple):
    """A group computed from others: which fields how, who is a natural person, and who is a minor.

    `person` is (field, codes of natural persons), None where everybody is one; with "" among the codes, a
    body without the field counts as a person's. `minor` is (field of the resident identity number, fields of
    the day that counts, first present wins). `titles` are texts that name the party ("张三无证经营案"): they are kept
    with the `names` in them masked.
    """

    fields: tuple[tuple[str, Callable[[str], str], bool], ...]
    person: tuple[str, frozenset[str]] | None
    minor: tuple[str, tuple[str, ...]] | None
    titles: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def within(self, present: frozenset[str]) -> "Mask":
        """The mask for bodies with exactly these fields."""
        return self._replace(
            fields=tuple(each for each in self.fields if each[0] in present),
            titles=tuple(name for name in self.titles if name in present),
            names=tuple(name for name in self.names if name in present),
        )

    def of(self, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """The group's fields for a body that has every field of this mask; None where that is none."""
        person = self.person is None or body.get(self.person[0], "") in self.person[1]
        if not person:
            found = {name: mask(body[name]) if always else body[name] for name, mask, always in self.fields}
        elif self.minor is not None and _is_minor(self.minor, body):
            found = {name: mask(body[name]) if always else HIDDEN for name, mask, always in self.fields}
        else:
            found = {name: mask(body[name]) for name, mask, _ in self.fields}
        for title in self.titles:
            found[title] = self._title(body[title], body, found) if person else body[title]
        return found or None

    def _title(self, text: str, body: Mapping[str, Any], found: Mapping[str, Any]) -> str:
        if not self.names:
            return HIDDEN
        for name in self.names:
            text = text.replace(body[name], found[name])
        return text


def _is_minor(minor: tuple[str, tuple[str, ...]], body: Mapping[str, Any]) -> bool:
    number, days = minor
    born = birth_date(body[number]) if number in body else None
    if born is None:
        return False
    for name in days:
        if name in body:
            return f"{int(born[:4]) + 18}{born[4:]}" > str(body[name])[:10]
    return False
