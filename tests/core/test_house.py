"""The house itself: what lies where, that declared is used and used is declared, and that the documents tell the truth."""

import ast
import importlib
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import click
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
TOP = {
    ".ci", ".gitignore", "CHANGELOG.md", "README.md", "adapters", "config", "docs", "hub", "pyproject.toml", "run.py",
    "setup.cfg", "tests",
}  # fmt: skip


def tracked() -> list[Path]:
    """The files of the checkout as git knows them."""
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in found.split("\0") if name and (ROOT / name).exists()]


FILES = tracked()
CODE = [path for path in FILES if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in ("hub", "adapters")]
DOCS = [path for path in FILES if path.suffix == ".md"]


def text(path: Path) -> str:
    return path.read_text("utf-8")


def setup() -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


# --- layout ---


def test_nothing_new_at_the_top() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} <= TOP


def test_pyproject_is_two_lines() -> None:
    assert len(text(ROOT / "pyproject.toml").splitlines()) == 2


def test_no_python_in_config_and_no_file_name_twice_in_tests() -> None:
    assert [path for path in FILES if (ROOT / "config") in path.parents and path.suffix == ".py"] == []
    names = [path.name for path in FILES if (ROOT / "tests") in path.parents and path.name.startswith("test_")]
    assert sorted(names) == sorted(set(names))
    assert "__init__.py" not in names


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_room_opens_with_its_rules(path: Path) -> None:
    opening = ast.get_docstring(ast.parse(text(path)))
    assert opening and len(opening) >= 40, "say in the module's docstring what it owns and what it may never do"


def test_no_place_of_one_machine_is_named() -> None:
    stray = re.compile(r"(?<![\w./:])/(?:root|home|Users|work)/\w|--(?:extra-)?index" + "-url")
    found = [
        f"{path.relative_to(ROOT)}:{n}"
        for path in FILES
        if path.suffix in (".py", ".md", ".cfg", ".toml", ".yaml", ".html", ".js", ".css", "") and path.is_file()
        for n, line in enumerate(text(path).splitlines(), 1)
        if stray.search(line)
    ]
    assert found == []


# --- what is installed ---


def third_party() -> set[str]:
    """Top-level names that hub and adapters import from outside."""
    names = set()
    for path in CODE:
        for node in ast.walk(ast.parse(text(path))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"hub", "adapters"}


def declared() -> set[str]:
    """Distributions of install_requires and of the extra for identity providers, in normal spelling."""
    lines = setup()["options"]["install_requires"].strip().splitlines()
    lines += setup()["options.extras_require"]["oidc"].strip().splitlines()
    return {Requirement(line).name.lower().replace("_", "-") for line in lines}


def distributions(module: str) -> set[str]:
    """The distributions that provide a module; greater ones need not be installed to run this test."""
    found = importlib.metadata.packages_distributions().get(module, [module])
    return {name.lower().replace("_", "-") for name in found}


def test_what_is_imported_is_declared() -> None:
    missing = {module for module in third_party() if not distributions(module) & declared()}
    assert missing == set()


def test_what_is_declared_is_imported() -> None:
    unseen = {"pysqlite3", "tzdata"}  # sqlite-utils and zoneinfo take these by themselves
    used = {name for module in third_party() for name in distributions(module)}
    assert declared() - used - unseen == set()


# --- the checks ---


def test_ruff_heeds_all_of_its_section(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("run", ROOT / "run.py")
    assert spec and spec.loader
    head = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(head)
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "odd.py").write_text('import os\n\nNAME = "（：）"\n' + "# " + "x" * 127 + "\n", "utf-8")
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--output-format",
        "concise",
        *head.ruff_settings(),
        ".",
    ]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout
    assert re.findall(r": ([A-Z]+[0-9]+) ", found) == ["F401", "E501"]


# --- CI's rule ---

SKIPPER = "import pytest\n\ndef test_it():\n    pytest.skip('no browser')\n"


@pytest.mark.parametrize(
    ("folder", "ci", "checks", "code"),
    [
        ("flow", "", "", 0),
        ("flow", "true", "", 1),
        ("realdata", "true", "", 0),
        ("realdata", "true", "mypy", 1),
    ],
)
def test_a_skip_fails_in_ci_and_a_failed_check_fails_the_run(
    tmp_path: Path, folder: str, ci: str, checks: str, code: int
) -> None:
    place = tmp_path / "tests" / folder
    place.mkdir(parents=True)
    (tmp_path / "tests" / "conftest.py").write_text(text(ROOT / "tests" / "conftest.py"))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (place / "test_skipper.py").write_text(SKIPPER)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=os.environ | {"CI": ci, "FAILED_CHECKS": checks},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stdout
    assert ("mypy" in done.stdout) == bool(checks)


# --- documents ---


def test_decisions_are_numbered_without_a_gap_and_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    names = sorted(path.name for path in FILES if path.parent == folder)
    assert [name[:4] for name in names] == [f"{n:04}" for n in range(len(names))]
    index = text(folder / names[0])
    for name in names[1:]:
        assert f"({name})" in index, f"{name} is missing from {names[0]}"
        assert len(text(folder / name).splitlines()) <= 60, f"{name}: half a page is enough"


def test_links_between_documents_lead_somewhere() -> None:
    for path in DOCS:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text(path)):
            assert (path.parent / target).exists(), f"{path.relative_to(ROOT)}: {target}"


def commands() -> dict[str, click.Command]:
    """Every command by the words that call it, groups left out."""
    return dict(walk((), importlib.import_module("hub.cli").main))


def walk(words: tuple[str, ...], command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield " ".join(words), command
        return
    for name, each in command.commands.items():
        yield from walk((*words, name), each)


CALL = re.compile(r"python3 run\.py((?: +[^\s`|&;#)]+)*)")


def calls() -> Iterator[tuple[str, list[str]]]:
    """Every `python3 run.py …` in the documents: where, and its words."""
    for path in DOCS:
        for n, line in enumerate(text(path).splitlines(), 1):
            for found in CALL.finditer(line):
                yield f"{path.relative_to(ROOT)}:{n}", found[1].split()


def test_every_command_is_in_the_documents() -> None:
    told = [" ".join(words) + " " for _, words in calls()]
    missing = [name for name in (*commands(), "test", "bench") if not any(call.startswith(f"{name} ") for call in told)]
    assert missing == []


def test_the_documents_name_no_command_or_option_that_is_none() -> None:
    known = commands()
    for where, words in calls():
        if not words or words[0] in ("test", "bench") or words[0].startswith("-"):
            continue
        name = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in known), None)
        assert name, f"{where}: no such command"
        options = {flag for param in known[name].params for flag in (*param.opts, *param.secondary_opts)}
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in options | {"--help"}, f"{where}: {name} has no {word}"


def test_every_option_takes_its_own_default() -> None:
    """A default that its type refuses would refuse the command whenever the option is left out."""
    refused = []
    for name, command in commands().items():
        for param in command.params:
            context = click.Context(command)
            try:
                param.process_value(context, param.get_default(context))
            except click.MissingParameter:
                continue
            except click.BadParameter as error:
                refused.append(f"{name}: {error.message}")
    assert refused == []


def adapter_words() -> Iterator[tuple[str, str, str]]:
    """The closed lists of a declaration as the code has them: the guide's part, what kind of word, and the word."""
    declaration = importlib.import_module("adapters.declaration")
    http_json = importlib.import_module("adapters.http_json")
    gateways = importlib.import_module("adapters.gateways")
    lists: list[tuple[str, str, Any]] = [
        ("## A feed", "key", declaration._FeedYaml().fields),
        ("## Rules", "transform", declaration.RULES),
        ("## Rules", "fold", declaration._FOLDS),
        ("**`http_json`**", "paginator", http_json.PAGINATORS),
        ("**`http_json`**", "auth", gateways.OPTIONS),
    ]
    for name, transport in declaration.TRANSPORTS.items():
        lists.append((f"**`{name}`**", "key", transport.SourceYaml().fields))
    for name, rule in declaration.RULES.items():
        lists.append(("## Rules", f"option of {name}", set(rule().fields) - {"as", "from"}))
    for name, options in (http_json.PAGINATORS | gateways.OPTIONS).items():
        lists.append(("**`http_json`**", f"option of {name}", options().fields))
    return ((part, what, word) for part, what, words in lists for word in words)


def test_the_adapter_guide_names_every_word_of_a_declaration() -> None:
    guide = text(ROOT / "docs" / "adapter-guide.md")
    parts = re.split(r"^(?=## |\*\*`)", guide, flags=re.MULTILINE)
    missing = [
        f"{start}: {what} {word}"
        for start, what, word in adapter_words()
        if not any(part.startswith(start) and re.search(rf"`{word}[`:]", part) for part in parts)
    ]
    assert missing == []


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a document in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text(path), re.DOTALL | re.MULTILINE)


def test_the_adapter_guides_example_holds_and_gives_what_it_says(tmp_path: Path) -> None:
    declaration = importlib.import_module("adapters.declaration")
    kinds = importlib.import_module("hub.kinds").load_kinds(ROOT / "config" / "kinds")
    guide = ROOT / "docs" / "adapter-guide.md"
    (yaml,), (csv,) = blocks(guide, "yaml"), blocks(guide, "csv")
    (tmp_path / "samples").mkdir()
    (tmp_path / "330599.yaml").write_text(yaml, "utf-8")
    (tmp_path / "samples" / "330599_cases.csv").write_text(csv, "utf-8")
    example = declaration.load(tmp_path / "330599.yaml")
    assert declaration.lint(example, {name: list(kind.fields) for name, kind in kinds.items()}) == []
    (page,) = example.feeds[0].sample_source().pages(None)
    mapper = example.feeds[0].mapper()
    (body,) = [mapper(row).body for row in page.rows]
    kinds["case/1"].accept(body)
    assert body["fine_yuan"] == "2000.00"
    assert body["doc_no_norm"] == "示罚决字〔2026〕第1号"
    assert body["penalty_types"] == ["01", "02"]
    assert body["basis"] == "条例第一条"
    assert body["party_name"] == "张 三"


def test_the_kind_guide_names_every_type_and_kind_and_its_example_holds(tmp_path: Path) -> None:
    vocabulary = importlib.import_module("hub.kinds.vocabulary")
    declare = importlib.import_module("hub.kinds.declare")
    kinds = importlib.import_module("hub.kinds")
    guide = ROOT / "docs" / "kind-guide.md"
    words = [*vocabulary.TYPES, *declare._FORMS, *declare.HOW, *kinds.load_kinds(ROOT / "config" / "kinds")]
    assert [word for word in words if f"`{word}`" not in text(guide)] == []
    example, retention = blocks(guide, "yaml")
    (tmp_path / "notice.yaml").write_text(example, "utf-8")
    (tmp_path / "case.yaml").write_text(text(ROOT / "config" / "kinds" / "case.yaml") + retention, "utf-8")
    found = kinds.load_kinds(tmp_path)
    found["notice/1"].accept({"notice_no": "1", "way": "2", "party_name": "某公司"})
    assert [rule.groups for rule in found["case/1"].retention] == [("identity", "party"), ()]


def test_every_setting_is_explained_where_it_stands() -> None:
    """hub.yaml is its own document: every setting is in it, in force or as a comment."""
    settings = importlib.import_module("hub.settings")
    shown = text(ROOT / "config" / "hub.yaml")
    names = [*settings._HubYaml().fields, *settings._LimitsYaml().fields, *settings._KeysYaml().fields]
    assert [name for name in names if not re.search(rf"^ *(# )?{name}:", shown, re.MULTILINE)] == []


def test_every_attack_on_the_security_page_names_a_test_that_is_there() -> None:
    named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`", text(ROOT / "docs" / "security.md"))
    assert len(named) > 25
    assert [f"{path}::{name}" for path, name in named if f"def {name}(" not in text(ROOT / path)] == []


def test_chinese_sentences_have_full_width_marks():
    half = re.compile("[\u4e00-\u9fff][,;:][\u4e00-\u9fff]|^[,;:(][\u4e00-\u9fff]")
    texts = [
        (path.name, node.value)
        for path in (ROOT / "hub").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert [(name, text) for name, text in texts if half.search(text)] == []
