"""How personal values are shown to those who may not see them; computed at the origin, so a mask verifies too.

A mask must not depend on anything but the record: every implementation computes the same. 张三 becomes 张*, 欧阳修 becomes
欧阳*; an identity number keeps 6 + 4 characters, a telephone number 3 + 4, an address its town. An organisation's name
and number are public and stay; a minor's are suppressed. May never log or raise: what cannot be masked well is hidden whole.
Source: 个人信息保护法 arts. 6, 28, 51; the practice of publishing penalty decisions.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hub.kinds.checkdigits import birth_date

HIDDEN = "***"

_COMPOUND = frozenset(
    "欧阳 太史 端木 上官 司马 东方 独孤 南宫 万俟 闻人 夏侯 诸葛 尉迟 公羊 赫连 澹台 皇甫 宗政 濮阳 公冶 太叔 申屠 公孙 慕容 "
    "仲孙 钟离 长孙 宇文 司徒 鲜于 司空 令狐 百里 呼延 东郭 南门 羊舌 微生 左丘 东门 西门 第五 拓跋 轩辕 淳于 单于 完颜".split()
)
# A town ends in one of these; 乡 in 桐乡市 and the first 镇 in 乌镇镇 or 镇海区 are part of a name.
_TOWN = re.compile(
    r"[^0-9０-９路弄巷号村幢室]{0,30}?(?:街道|苏木|镇(?![镇乡]|.?[市县区])|乡(?![镇乡]|.?[市县区]))", re.DOTALL
)
_COUNTY = re.compile(r"[^0-9０-９路弄巷号村幢室]{0,20}[市县区旗](?!场)", re.DOTALL)


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
    found = _TOWN.match(text) or _COUNTY.match(text)
    return found.group() if found else HIDDEN


class How(NamedTuple):
    """One way of masking; `always` where the field is a person's whoever the party is."""

    mask: Callable[[str], str]
    always: bool


HOW: Mapping[str, How] = {
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

    `person` is (field, codes of natural persons), None where everybody is one; with "" among the codes, a body without
    the field counts as a person's. `minor` is (field of the resident identity number, fields of the day that counts, first present wins).
    """

    fields: tuple[tuple[str, Callable[[str], str], bool], ...]
    person: tuple[str, frozenset[str]] | None
    minor: tuple[str, tuple[str, ...]] | None

    def of(self, body: Mapping[str, Any]) -> dict[str, Any] | None:
        """The group's fields for a body; None where it has none of them."""
        person = self.person is None or body.get(self.person[0], "") in self.person[1]
        hidden = person and self.minor is not None and self._is_minor(body)
        masked = {}
        for name, mask, always in self.fields:
            value = body.get(name)
            if value is None:
                continue
            if always:
                value = mask(value)
            elif person:
                value = HIDDEN if hidden else mask(value)
            masked[name] = value
        return masked or None

    def _is_minor(self, body: Mapping[str, Any]) -> bool:
        assert self.minor is not None
        born = birth_date(body.get(self.minor[0], ""))
        day = next((body[name] for name in self.minor[1] if name in body), None)
        if born is None or day is None:
            return False
        return f"{int(born[:4]) + 18:04}{born[4:]}" > day[:10]
