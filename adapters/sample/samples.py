"""The offline samples beside the declarations, written by the same hands as the sample cities' own tables.

`write` makes them anew; nothing calls it but who changes a table here. Rows that cannot be mapped are left
out.
"""

import json
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from adapters.sample.cities import SampleCities, table_text, workbook, xml_message
from adapters.sample.generator import write_huzhou_year
from adapters.sample.servers import CHINA

SEED, SIZE = 8, 12
FIRST_DAY = datetime(2026, 11, 20, 9, tzinfo=CHINA)
REGIONS = dict.fromkeys(("330522", "330523", "341882"), "changxing_anji_guangde")
ENDINGS = dict.fromkeys(("330400", "330500", "330521"), "json") | {
    "330483100": "xlsx",
    "330503102": "tsv",
    "330522": "xml",
}


def cities(directory: Path) -> SampleCities:
    """The cities that the samples are taken from, not yet started."""
    return SampleCities(directory, seed=SEED, size=SIZE, now=lambda: FIRST_DAY)


def path(adapters: Path, code: str, feed: str) -> Path:
    """Where a feed's sample stands."""
    region, ending = REGIONS.get(code, "jiaxing_huzhou"), ENDINGS.get(code, "csv")
    return adapters / region / "samples" / f"{code}_{feed}.{ending}"


def write(adapters: Path) -> None:
    """Write every sample into the region folders under `adapters`."""
    with TemporaryDirectory() as folder, cities(Path(folder)) as running:
        for code, feed in running.feeds():
            running.forget_spoilt(code, feed)
            path(adapters, code, feed).write_bytes(_content(running, code, feed))
    write_huzhou_year(adapters / "sample" / "samples" / "huzhou_year.csv", 12)


def _content(running: SampleCities, code: str, feed: str) -> bytes:
    rows, columns = running.rows(code, feed), running.columns(code, feed)
    if code in running.gateways:
        answer = running.gateways[code].answer_with(rows)
        return json.dumps(answer, ensure_ascii=False, indent=1).encode() + b"\n"
    match code:
        case "330483100":
            return workbook(columns, rows, "乌镇镇行政检查台账")
        case "330503102":
            return table_text(columns, rows, "\t").encode("utf-8-sig")
        case "330522":
            return xml_message(code, feed, "000000", rows)
        case "330503" | "330523":
            return table_text(columns, rows, ",").encode()
        case _:
            return table_text(columns, rows, ",").encode("gb18030")
