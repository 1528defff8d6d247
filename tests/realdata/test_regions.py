"""Every region code in config/ and adapters/ against the national list of 2023 (统计用区划代码)."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from shared_data import ROOT, shared

from adapters.declared import read_yaml

DATA = shared("cn_admin_divisions")

# A quoted text of 6, 9 or 12 digits that begins with a province's code.
PROVINCE = "1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]"
CODE = re.compile(rf"""(?<![0-9A-Za-z])["']((?:{PROVINCE})[0-9]{{4}}(?:[0-9]{{3}}|[0-9]{{6}})?)["']""")


def national() -> dict[str, str]:
    """Code -> name at every level, in the short form 6 or 9 digits long."""
    found = {}
    for name in ("provinces", "cities", "areas", "streets"):
        with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            found.update({row["code"].ljust(6, "0"): row["name"] for row in csv.DictReader(file)})
    return found


NATIONAL = national()
CATALOGUE = read_yaml(ROOT / "config" / "catalogue" / "regions.yaml").value


def files() -> Iterator[Path]:
    for folder in ("config", "adapters"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".yaml", ".py", ".json") and path.name != "regions.yaml":
                yield path


def codes(path: Path) -> dict[str, int]:
    """The region codes a file writes, with the first line of each."""
    found: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        for code in CODE.findall(line):
            found.setdefault(code, number)
    return found


def test_the_catalogue_is_the_national_list_word_for_word() -> None:
    regions = CATALOGUE["regions"]
    assert len(regions) >= 25
    assert {code: NATIONAL.get(code) for code in regions} == regions
    assert not set(CATALOGUE["former"]) & set(NATIONAL)


def test_members_carry_the_national_name_of_their_code() -> None:
    members = read_yaml(ROOT / "config" / "framework.yaml").value["members"]
    assert {code: member["name"]["zh"] for code, member in members.items()} == {
        code: NATIONAL[code] for code in members
    }


def test_declarations_carry_the_national_name_of_their_code() -> None:
    for path in sorted((ROOT / "adapters").glob("*/[0-9]*.yaml")):
        value = read_yaml(path).value
        assert value["code"] == path.stem and value["name"]["zh"] == NATIONAL[path.stem]


@pytest.mark.parametrize("path", list(files()), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_region_code_written_exists(path: Path) -> None:
    former = CATALOGUE["former"]
    unknown = {
        f"{path.name}:{line}": code
        for code, line in codes(path).items()
        if code.removesuffix("000" if len(code) == 12 else "") not in NATIONAL and code not in former
    }
    assert not unknown


def test_a_code_that_does_not_exist_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text('a: "330438"\n"330483": b\nc: [\'330483199\', "330483100000", "610828103"]\n', encoding="utf-8")
    assert codes(path) == {"330438": 1, "330483": 2, "330483199": 3, "330483100000": 3, "610828103": 3}
    assert "330438" not in NATIONAL and "330483199" not in NATIONAL
    assert NATIONAL["330483100"] != NATIONAL["610828103"]  # 乌镇镇 and 乌镇: the code is the identity
