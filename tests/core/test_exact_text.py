"""Text that a declaration keeps exactly: the blanks at its ends stay, and nothing else is done to it."""

from pathlib import Path

import pytest

from adapters.declaration import load
from adapters.declared import DeclarationError
from adapters.transforms import text

NULLS = frozenset({"", "无"})
CITY = """\
code: "330483"
name: {zh: 桐乡市, en: Tongxiang}
feeds:
  - feed: cases
    kind: case/1
    transport: table_file
    source: {pattern: "CF_*.csv", format: csv}
    completeness: snapshot
    key: [name]
    map:
      name: {from: MC, exact: true, WITH}
"""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("（有）市木\u3000\u3000", "（有）市木\u3000\u3000"),
        (" a  b ", " a  b "),
        ("か\u3099", "が"),
        ("a\r\n", "a\n"),
        (" 无 ", None),
        ("  ", None),
        (None, None),
        (12, "12"),
    ],
)
def test_blanks_at_the_ends_stay_and_nothing_is_still_nothing(value: object, expected: str | None) -> None:
    assert text({"exact": True}, NULLS)(value) == expected


@pytest.mark.parametrize("other", ["fold: [blanks]", "strip_prefix: A", "strip_suffix: A"])
def test_what_is_kept_exactly_is_not_changed_as_well(tmp_path: Path, other: str) -> None:
    path = tmp_path / "330483.yaml"
    path.write_text(CITY.replace("WITH", other), "utf-8")
    with pytest.raises(DeclarationError) as caught:
        load(path)
    assert caught.value.problems == [
        "330483.yaml:11: feeds.0.map.name.exact: keeps the text as it is written; leave out fold: and strip_…:"
    ]
