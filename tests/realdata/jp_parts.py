"""The 27 monthly lists as csv tells them, and what one month makes of the one before: never by the mapping."""

import csv
from pathlib import Path

from shared_data import shared

DATA = shared("jp_labor_bureaus")
# In the order of publication: the newest alone carries no number (025 was never kept upstream).
FILES = [*sorted(DATA.glob("0*.tsv")), *DATA.glob("company_list_*.tsv")]
PREFECTURES = (
    "北海道 青森 岩手 宮城 秋田 山形 福島 茨城 栃木 群馬 埼玉 千葉 東京 神奈川 新潟 富山 "
    "石川 福井 山梨 長野 岐阜 静岡 愛知 三重 滋賀 京都 大阪 兵庫 奈良 和歌山 鳥取 島根 "
    "岡山 広島 山口 徳島 香川 愛媛 高知 福岡 佐賀 長崎 熊本 大分 宮崎 鹿児島 沖縄"
)
ORIGINS = {f"{name}労働局": f"jp-{number:02}" for number, name in enumerate(PREFECTURES.split(), 1)}
KEY = ("管轄", "企業・事業場名称", "公表日")
UPDATED = "最終更新日"

Table = dict[tuple[str, ...], dict[str, str]]


def table(path: Path) -> Table:
    """A month's file by natural key, every cell as it is written."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", strict=True))
    found = {tuple(row[name] for name in KEY): row for row in rows}
    assert len(found) == len(rows)
    return found


def same(row: dict[str, str], other: dict[str, str], *spared: str) -> bool:
    return all(row[name] == other[name] for name in row if name not in spared)


def difference(before: Table, month: Table, *spared: str) -> tuple[int, int, int]:
    """How many rows were added, withdrawn and edited."""
    edited = sum(not same(row, before[key], *spared) for key, row in month.items() if key in before)
    return len(month.keys() - before.keys()), len(before.keys() - month.keys()), edited


MONTHS = [table(path) for path in FILES]
