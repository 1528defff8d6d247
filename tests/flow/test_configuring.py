"""The commands on what is declared, as an operator types them: config check, framework diff, adapters check, preview, diff."""

import json
import shutil

import pytest
from city_parts import ROOT
from click.testing import CliRunner, Result

from hub import cli

CITY, OTHER = "330483", "330500"
DECLARED = ROOT / "adapters" / "jiaxing_huzhou"


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A copy of the configuration, whose city has dropped its samples, and a copy of that city's declaration."""
    monkeypatch.setenv("CROSSREGION_PASSPHRASE", "a passphrase of many letters")
    folder, drops = tmp_path / "config", tmp_path / "drops"
    shutil.copytree(ROOT / "config", folder)
    shutil.copytree(DECLARED / "samples", tmp_path / "samples")
    shutil.copy(DECLARED / f"{CITY}.yaml", tmp_path)
    drops.mkdir()
    for feed, name in (("cases", "CF"), ("transfers", "YS")):
        shutil.copy(DECLARED / "samples" / f"{CITY}_{feed}.csv", drops / f"{name}_{CITY}_1.csv")
    edit(folder / "hub.yaml", "connections: {}", f'connections: {{"{CITY}": {{directory: {drops}}}}}')
    edit(folder / "hub.yaml", "../adapters/jiaxing_huzhou", f"../{CITY}.yaml")
    edit(folder / "hub.yaml", "../adapters/changxing_anji_guangde", str(DECLARED / f"{OTHER}.yaml"))
    return folder


def edit(path, old, new):
    text = path.read_text()
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1))


def run(config, *args: object) -> Result:
    return CliRunner().invoke(cli.main, [*map(str, args), "--config", str(config)])


def test_config_check_says_every_problem_of_every_file_with_its_line(config):
    assert run(config, "config", "check").exit_code == 0
    edit(config / "hub.yaml", "port: 8470", "port: 847000")
    edit(config / "kinds" / "case.yaml", "masks: [party, identity]", "masks: [party, identiti]")
    edit(config / "framework.yaml", "tier: town", "tier: twon")
    done = run(config, "config", "check", "--json")
    told = json.loads(done.stdout)["problems"]
    assert done.exit_code == 2
    for name, old in (("hub.yaml", "847000"), ("kinds/case.yaml", "identiti"), ("framework.yaml", "twon")):
        lines = (config / name).read_text().splitlines()
        line = next(n for n, text in enumerate(lines, 1) if old in text)
        assert any(each.startswith(f"{name.split('/')[-1]}:{line}: ") for each in told), told


def test_framework_diff_tells_a_line_for_each_gain_or_loss(config, tmp_path):
    shutil.copy(config / "framework.yaml", tmp_path / "old.yaml")
    edit(config / "framework.yaml", '"330523", joined: 2022-09-01', '"330523", joined: 2022-09-01, left: 2026-01-01')
    done = run(config, "framework", "diff", tmp_path / "old.yaml", "--lang", "en")
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert all(line.startswith("zhewan: ") for line in lines), lines
    assert "zhewan: Guangde 341882 ← Anji 330523: inspection/1 -facts -officers -open -party_masked" in lines
    told = json.loads(run(config, "framework", "diff", tmp_path / "old.yaml", "--json").stdout)["changes"]
    assert {each["agreement"] for each in told} == {"zhewan"} and not any(each["gained"] for each in told)
    same = run(config, "framework", "diff", config / "framework.yaml")
    assert same.exit_code == 0 and "no change" in same.output


def test_adapters_check_says_where_and_how_to_mend_it(config, tmp_path):
    assert run(config, "adapters", "check", CITY).exit_code == 0
    edit(tmp_path / f"{CITY}.yaml", "from: CF_XDR_MC", "from: CF_XDR_MCC")
    done = run(config, "adapters", "check", CITY)
    assert done.exit_code == 2 and f"{CITY}_cases.csv:1: no column CF_XDR_MCC; " in done.output
    edit(tmp_path / f"{CITY}.yaml", "from: CF_XDR_MCC", "from: CF_XDR_MC, foldd: [width]")
    done = run(config, "adapters", "check", CITY)
    line = next(n for n, text in enumerate((tmp_path / f"{CITY}.yaml").read_text().splitlines(), 1) if "foldd" in text)
    assert done.exit_code == 2 and f"{CITY}.yaml:{line}: " in done.output and "did you mean fold?" in done.output
    assert run(config, "adapters", "check", "330599").exit_code == 2


def test_adapters_preview_shows_columns_and_the_masked_record(config):
    done = run(config, "adapters", "preview", CITY, "--feed", "cases", "--rows", 2, "--json")
    rows = json.loads(done.stdout)["rows"]
    assert done.exit_code == 0 and [each["where"] for each in rows] == [f"{CITY}_cases.csv:2", f"{CITY}_cases.csv:3"]
    assert all(each["origin"] == CITY and "CF_XDR_MC" in each["columns"] for each in rows)
    assert all(each["record"]["facts"].startswith("***") for each in rows)
    assert run(config, "adapters", "preview", CITY, "--feed", "nope").exit_code == 2
    assert run(config, "adapters", "preview", CITY, "--rows", -1).exit_code == 2


def test_adapters_diff_counts_and_stores_nothing(config, tmp_path):
    data = ("--data", tmp_path / "hub")
    refused = run(config, "pull", CITY, *data)
    assert refused.exit_code == 2 and f"keys init --config {config} --data {tmp_path / 'hub'}`" in refused.stderr
    assert run(config, "keys", "init", *data).exit_code == 0
    assert run(config, "pull", CITY, *data).exit_code == 0
    shutil.copy(tmp_path / f"{CITY}.yaml", tmp_path / "changed.yaml")
    edit(tmp_path / "changed.yaml", 'case_source: {as: const, value: "99"}', 'case_source: {as: const, value: "98"}')
    before = json.loads(run(config, "verify", "--json", *data).stdout)
    done = run(config, "adapters", "diff", CITY, "--with", tmp_path / "changed.yaml", "--json", *data)
    cases, transfers = json.loads(done.stdout)["feeds"]
    assert done.exit_code == 0 and cases["revised"] == 10 and cases["new"] == 0
    assert transfers["revised"] == 0 and transfers["unchanged"] == transfers["read"]
    assert json.loads(run(config, "verify", "--json", *data).stdout)["root"] == before["root"]
    other = run(config, "adapters", "diff", CITY, "--with", DECLARED / f"{OTHER}.yaml", *data)
    assert other.exit_code == 2 and f"declares {OTHER}, not {CITY}" in other.stderr


def test_verify_by_url_says_which_option_holds_no_key(config):
    done = run(config, "verify", "--url", "http://127.0.0.1:1", "--ledger-key", "garbage")
    assert done.exit_code == 2 and "--ledger-key: not a verifier key" in done.stderr
