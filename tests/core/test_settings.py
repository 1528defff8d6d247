"""Settings: the shipped folder loads, a wrong one is told whole with its lines, secrets stay secret."""

import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest

from hub import settings
from hub.errors import ConfigError
from hub.note import VKey

ROOT = Path(__file__).parents[2]
DECLARED = """\
code: "330483"
name: {zh: 桐乡市, en: Tongxiang}
connection: {directory: drops, access_key: env:TONGXIANG_AK}
feeds:
  - feed: cases
    kind: case/1
    transport: table_file
    source: {pattern: "*.csv", pick: all, format: csv, encodings: [utf-8-sig]}
    completeness: snapshot
    key: [case_code]
    map: {case_code: {from: 案号}}
"""


KIND = """\
kind: case/1
label: {zh: 案件, en: Case}
groups:
  facts: {label: {zh: 事实, en: Facts}}
codes: {}
fields:
  case_code: {type: text, max: 50, group: facts, required: true, label: {zh: 编号, en: Number}}
rules: []
"""
FRAMEWORK = """\
members:
  "330483": {name: {zh: 桐乡市, en: Tongxiang}, tier: county, custody: custodial}
  "330503": {name: {zh: 南浔区, en: Nanxun}, tier: county, custody: custodial}
  "330521": {name: {zh: 德清县, en: Deqing}, tier: county, custody: self}
agreements:
  jiahu:
    name: {zh: 嘉湖合作, en: Jiahu}
    basis: 协议
    in_force: 2022-05-01
    night: "02:00"
    freshness: 24 hours
    when_ended: keep
    members: [{code: "330483"}, {code: "330503"}, {code: "330521"}]
    shares:
      - {kind: case/1, from: all, to: all, groups: [facts], clause: 第一条, purpose: 互通, legal_basis: 条例}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A small config folder with the shipped hub.yaml and catalogue, reading one city."""
    folder = tmp_path / "config"
    write(folder / "kinds" / "case.yaml", KIND)
    write(folder / "framework.yaml", FRAMEWORK)
    write(folder / "deadlines.yaml", "rules: {}\n")
    write(folder / "catalogue" / "items.yaml", "same: []\n")
    write(tmp_path / "cities" / "330483.yaml", DECLARED)
    for name in ("hub.yaml", "catalogue/regions.yaml", "catalogue/differences.yaml"):
        write(folder / name, (ROOT / "config" / name).read_text(encoding="utf-8"))
    edit(
        folder / "hub.yaml",
        "  - ../adapters/jiaxing_huzhou\n  - ../adapters/changxing_anji_guangde\n",
        "  - ../cities\n",
    )
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def problems(config: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings.load(config)
    found = [problem.what for problem in caught.value.problems]
    assert settings.check(config) == (found, [])
    return found


def test_the_shipped_configuration_is_whole() -> None:
    loaded = settings.load(ROOT / "config")
    assert set(loaded.declarations) == set(loaded.framework.members)
    for code, declaration in loaded.declarations.items():
        assert declaration.name["zh"] == loaded.regions[code]


def test_values_are_typed_and_paths_start_at_the_folder(config: Path) -> None:
    edit(
        config / "hub.yaml",
        "connections: {}",
        'connections: {"330483": {directory: ../drops, ca_file: file:ca.pem}}',
    )
    loaded = settings.load(config)
    hub, root = loaded.hub, config.parent
    assert (hub.public_url, hub.host, hub.port, hub.tiles) == (
        "http://127.0.0.1:8470",
        "127.0.0.1",
        8470,
        "members",
    )
    assert (hub.data, hub.head) == (root / "var" / "hub", root / "var" / "hub-head" / "checkpoint")
    assert hub.pull_every == timedelta(minutes=30) and hub.adapters == (root / "cities",)
    assert loaded.zone.key == "Asia/Shanghai" and hub.limits == settings.Limits()
    assert loaded.connection("330483") == {
        "directory": str(root / "drops"), "access_key": "env:TONGXIANG_AK", "ca_file": "file:ca.pem"
    }  # fmt: skip
    assert loaded.sources("330483") == ("330483",) and loaded.sources("330503") == ()


def test_notes_say_what_is_worth_knowing(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CROSSREGION_PASSPHRASE", raising=False)
    found, notes = settings.check(config, date(2026, 11, 22))
    assert found == []
    for expected in (
        "name is the example's",
        "env:CROSSREGION_PASSPHRASE is not set",
        "Deqing 330521 signs itself but has no first_key",
    ):
        assert len([note for note in notes if expected in note]) == 1
    assert len([note for note in notes if "Nanxun 330503 is custodial, but no declaration reads it" in note]) == 1
    assert any("jiahu is not in force" in note for note in settings.check(config, date(2022, 4, 30))[1])


NAME = "name: crossregion-hub.example/ledger"
PUBLIC = "# public_url: https://hub.example.cn"
ZONE = "time_zone: Asia/Shanghai"
REACHED = "connections: {}"


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("hub.yaml", NAME, "name: crossregion hub", "name: expected a name for the ledger"),
        ("hub.yaml", NAME, "name: 平台", "name: expected a name for the ledger"),
        ("hub.yaml", NAME, "nmae: x", "nmae: unknown key; did you mean name?"),
        ("hub.yaml", PUBLIC, "public_url: http://hub.example.cn", "public_url: expected https://"),
        ("hub.yaml", PUBLIC, "public_url: https://u:p@hub.example.cn", "public_url: expected https://"),
        ("hub.yaml", PUBLIC, "public_url: https://hub.example.cn/hub", "public_url: expected https://"),
        ("hub.yaml", PUBLIC, "public_url: https://hub.example.cn:99999", "public_url: expected https://"),
        (
            "hub.yaml",
            "host: 127.0.0.1",
            "host: 0.0.0.0",
            "public_url: is missing, and the hub listens beyond this machine",
        ),
        ("hub.yaml", "host: 127.0.0.1", "host: everywhere!", "host: expected an address"),
        ("hub.yaml", "port: 8470", "port: 84700", "port: "),
        ("hub.yaml", "port: 8470", 'port: "8470"', "port: expected a whole number without quotes"),
        ("hub.yaml", ZONE, "time_zone: Asia/Peking", "time_zone: expected a time zone"),
        ("hub.yaml", ZONE, "time_zone: ../../etc/passwd", "time_zone: expected a time zone"),
        ("hub.yaml", ZONE, "time_zone: Asia/Tokyo", "agreements.jiahu.time_zone: hub.yaml says Asia/Tokyo"),
        (
            "hub.yaml",
            "passphrase: env:CROSSREGION_PASSPHRASE",
            "passphrase: open sesame",
            "passphrase: expected a reference",
        ),
        ("hub.yaml", "tiles: members", "tiles: nobody", "tiles: "),
        (
            "hub.yaml",
            "pull_every: 30 minutes",
            "pull_every: 30 min",
            'pull_every: expected a time like "30 minutes"',
        ),
        (
            "hub.yaml",
            "head: ../var/hub-head/checkpoint",
            "head: ../var/hub/head",
            "head: the head file lies inside the data folder",
        ),
        ("hub.yaml", "  - ../cities", "  - ../citys", "adapters.0: no folder with declarations"),
        ("hub.yaml", "  - ../cities", "  - ../cities/330503.yaml", "adapters.0: no folder with declarations"),
        (
            "hub.yaml",
            REACHED,
            'connections: {"330438": {proxy: null}}',
            "330438: no declaration has this code; did you mean 330483?",
        ),
        ("hub.yaml", REACHED, "connections: {330483: {proxy: null}}", "put it in quotes"),
        (
            "hub.yaml",
            REACHED,
            'connections: {"330483": {access_key: open-sesame}}',
            "330483.access_key: a literal secret",
        ),
        (
            "hub.yaml",
            REACHED,
            'connections: {"330483": {database: "postgresql://u:open-sesame@h/d"}}',
            "connections.330483.database: a password in the address",
        ),
        (
            "hub.yaml",
            REACHED,
            'connections: {"330483": {base_url: [a]}}',
            "connections.330483.base_url: expected text",
        ),
        ("hub.yaml", "nonces_per_key: 10000", "nonces_per_key: 10", "limits.nonces_per_key: "),
        ("hub.yaml", "max_age: 365 days", "max_age: 59 days", "keys.max_age: expected 60 days or more"),
        ("hub.yaml", "max_age: 365 days", "max_age: 9999 hours", "keys.max_age: expected 60 days or more"),
        (
            "framework.yaml",
            "zh: 桐乡市",
            "zh: 桐庐县",
            "members.330483.name.zh: not the name that catalogue/regions.yaml gives",
        ),
        ("catalogue/regions.yaml", '  "330483": 桐乡市\n', "", "framework.yaml:"),
        ("catalogue/regions.yaml", "regions:", "region:", "region: unknown key; did you mean regions?"),
        ("kinds/case.yaml", "kind: case/1", "kind: cases/1", "unknown kind 'case/1'"),
        (
            "../cities/330483.yaml",
            'code: "330483"',
            'code: "330438"',
            "330438 is no member in framework.yaml; did you mean 330483?",
        ),
        (
            "../cities/330483.yaml",
            "kind: case/1",
            "kind: case/2",
            "feeds.0.kind: no such kind in kinds/; did you mean case/1?",
        ),
        (
            "../cities/330483.yaml",
            "feed: cases",
            "fed: cases",
            "feeds.0.fed: unknown key; did you mean feed?",
        ),
    ],
)
def test_says_what_is_wrong_and_where(config: Path, file: str, old: str, new: str, expected: str) -> None:
    edit(config / file, old, new)
    found = problems(config)
    assert [each for each in found if expected in each], found
    for each in found:
        name, line, _ = each.split(":", 2)
        assert name.endswith(".yaml") and int(line) >= 1
        assert "sesame" not in each and "u:p@" not in each


def test_an_http_key_that_ends_soon_is_a_note(config: Path) -> None:
    key = str(VKey("a.example", 1, bytes(32)))
    edit(config / "framework.yaml", "custody: self}", f'custody: self, http_keys: [{{key: "{key}", until: 2027-06-30}}]}}')
    for on, told in (("2027-05-30", ""), ("2027-05-31", "30 days left"), ("2027-07-01", "requests by it are refused")):
        notes = [each for each in settings.check(config, date.fromisoformat(on))[1] if "HTTP key" in each]
        assert [told in each and "330521: " in each for each in notes] == ([True] if told else []), on
    # What ends while another key goes on, or goes on for longer, is no news.
    other = str(VKey("b.example", 1, bytes(31) + b"1"))
    for more, left in ((f'"{other}"', []), (f'{{key: "{other}", until: 2027-07-05}}', ["4 days left"])):
        edit(config / "framework.yaml", "until: 2027-06-30}]", f"until: 2027-06-30}}, {more}]")
        notes = [each for each in settings.check(config, date(2027, 7, 1))[1] if "HTTP key" in each]
        assert [told in each for told, each in zip(left, notes, strict=True)] == [True] * len(left)
        edit(config / "framework.yaml", f", {more}]", "]")


RETENTION = """\
retention:
  - {after: 5 years, from: last revision, law: 某规定, article: 第一条}
"""


def test_retention_is_told_and_its_reason_and_kind_are_checked(config: Path) -> None:
    shutil.copy(ROOT / "config" / "kinds" / "erasure.yaml", config / "kinds")
    write(config / "kinds" / "case.yaml", KIND + RETENTION)
    wrong, notes = settings.check(config)
    assert wrong == []
    assert "case/1: the whole record erased 5 years after last revision (某规定第一条) · 到期自动删除" in notes
    write(config / "kinds" / "case.yaml", KIND + RETENTION.replace("第一条}", "第一条, reason: courtt}"))
    assert problems(config) == ["case.yaml:10: retention.0.reason: not a reason of kinds/erasure.yaml; did you mean court?"]
    write(config / "kinds" / "case.yaml", KIND)
    text = (config / "kinds" / "erasure.yaml").read_text(encoding="utf-8")
    write(config / "kinds" / "erasure.yaml", text + RETENTION)
    line = len(text.splitlines()) + 1
    assert problems(config) == [f"erasure.yaml:{line}: retention: what the hub itself says stays on the ledger; leave it out"]


def test_problems_of_every_file_come_together(config: Path) -> None:
    edit(config / "hub.yaml", "port: 8470", "port: many")
    edit(config / "framework.yaml", "tier: county", "tier: metropolis")
    edit(config / "kinds" / "case.yaml", "group: facts", "group: fact")
    edit(config / "catalogue" / "regions.yaml", '"330400": 嘉兴市', "330400: 嘉兴市")
    assert {each.split(":")[0] for each in problems(config)} == {
        "hub.yaml",
        "framework.yaml",
        "case.yaml",
        "regions.yaml",
    }


def test_what_depends_on_a_broken_file_is_not_blamed(config: Path) -> None:
    edit(config / "kinds" / "case.yaml", "group: facts", "group: fact")
    assert {each.split(":")[0] for each in problems(config)} == {"case.yaml"}
    (config / "framework.yaml").unlink()
    assert {each.split(":")[0] for each in problems(config)} == {"case.yaml", "framework.yaml"}


def test_one_jurisdiction_has_one_declaration(config: Path) -> None:
    (config.parent / "cities" / "copy.yaml").write_text(DECLARED, encoding="utf-8")
    [found] = problems(config)
    assert found.startswith("copy.yaml:1: code: also declared by") and "330483.yaml" in found


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    [found] = problems(tmp_path / "confg")
    assert "confg: is not a folder" in found


# --- secrets ---


def refused(reference: str, base: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        settings.secret(reference, base)
    return str(caught.value)


def test_secrets_come_from_the_environment_or_a_private_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY_KEY", "open sesame")
    assert settings.secret("env:CITY_KEY", tmp_path) == "open sesame"
    path = tmp_path / "keys" / "city"
    path.parent.mkdir()
    path.write_text("芝麻 开门 \n", encoding="utf-8")
    path.chmod(0o600)
    assert settings.secret("file:keys/city", tmp_path) == settings.secret(f"file:{path}", Path("/")) == "芝麻 开门 "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o666])
def test_a_secret_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "city"
    path.write_text("open sesame", encoding="utf-8")
    path.chmod(mode)
    said = refused("file:city", tmp_path)
    assert "file:city: others than its owner may read it" in said and "chmod 600" in said and "sesame" not in said


def test_refusals_name_the_reference_and_never_the_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CITY_KEY", raising=False)
    assert "env:CITY_KEY: is not set or empty; export CITY_KEY=" in refused("env:CITY_KEY", tmp_path)
    monkeypatch.setenv("CITY_KEY", "")
    assert "env:CITY_KEY: is not set or empty" in refused("env:CITY_KEY", tmp_path)
    for value in ("open sesame", "open-sesame", "sesame:env:X", "env:", "env:1sesame", "file:"):
        assert "a secret is written as env:NAME or file:PATH" in refused(value, tmp_path)
        assert "sesame" not in refused(value, tmp_path)
    assert "file:nowhere: cannot be read" in refused("file:nowhere", tmp_path)
    (tmp_path / "folder").mkdir(mode=0o700)
    assert "file:folder: " in refused("file:folder", tmp_path)
    for name, content in (("empty", b"\n"), ("binary", b"\xff\xfe"), ("large", b"x" * 70_000)):
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(0o600)
        assert f"file:{name}: " in refused(f"file:{name}", tmp_path)
