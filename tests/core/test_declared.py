"""Declarations are read strictly: nothing guessed, every problem named by file and line."""

from pathlib import Path

import marshmallow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import fields
from ruamel.yaml import YAML

from adapters.declared import Code, DeclarationError, Span, Words, check, read_yaml


def read(tmp_path: Path, text: str | bytes):
    path = tmp_path / "x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path)


def refused(tmp_path: Path, text: str | bytes) -> list[str]:
    with pytest.raises(DeclarationError) as caught:
        read(tmp_path, text)
    return caught.value.problems


def test_what_yaml_would_guess_stays_text(tmp_path):
    doc = read(tmp_path, "a: 2022-05-01\nb: no\nc: on\nd: 02:00\ne: 2022-05-01T02:00:00+08:00\nnull: [/]\n")
    assert doc.value == {
        "a": "2022-05-01",
        "b": "no",
        "c": "on",
        "d": "02:00",
        "e": "2022-05-01T02:00:00+08:00",
        "null": ["/"],
    }


@pytest.mark.parametrize(
    "text", ["1.5", "1e3", ".inf", "010", "0x10", "0b1", "1_000", "9" * 19, "!!python/name:os.system x"]
)
def test_what_could_mean_two_things_is_refused(tmp_path, text):
    assert refused(tmp_path, f"a: {text}\n")[0].startswith("x.yaml:1: a: ")


def test_every_problem_is_told_at_once_with_its_line(tmp_path):
    problems = refused(tmp_path, "a: 1.5\nb: [x, 010]\na: 2\n1: y\n<<: {z: 1}\n'': 1\n")
    assert [problem.split(": ")[0] for problem in problems] == [
        "x.yaml:1",
        "x.yaml:2",
        "x.yaml:3",
        "x.yaml:4",
        "x.yaml:5",
        "x.yaml:6",
    ]
    assert "b.1" in problems[1] and "first on line 1" in problems[2]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"a: [", 1),
        (b"a: 1\nb: \xff\n", 2),
        (b"a: \x00", 1),
        (b"a: 1\n---\nb: 2\n", 2),
        (b"a: &x [*x]", 1),
        (b"[" * 5_000, 1),
        (b"a: |\n" + b"  x\n" * 300_000, 1),
    ],
)
def test_garbage_is_named_by_line(tmp_path, content, line):
    assert refused(tmp_path, content)[0].startswith(f"x.yaml:{line}: ")


def test_aliases_may_not_unfold_without_end(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert "unfolds" in refused(tmp_path, "\n".join(lines))[0]


def test_a_missing_file_is_a_problem_not_a_crash(tmp_path):
    with pytest.raises(DeclarationError, match=r"gone\.yaml:1: cannot be read"):
        read_yaml(tmp_path / "gone.yaml")


def test_the_line_of_what_is_missing_is_that_of_its_surroundings(tmp_path):
    doc = read(tmp_path, "a:\n  b:\n    - c: 1\n      d: 2\n")
    assert (doc.line("a", "b", 0, "d"), doc.line("a", "b", 0, "e"), doc.line("zzz")) == (4, 3, 1)
    assert doc.problem(("a", "b"), "is wrong", "mend it") == "x.yaml:2: a.b: is wrong; mend it"


class Member(marshmallow.Schema):
    name = fields.String(required=True)
    code = Code(required=True)
    wait = Span()
    also = Words()


class Whole(marshmallow.Schema):
    members = fields.Dict(keys=Code(), values=fields.Nested(Member))
    listed = fields.List(fields.Nested(Member))


def test_a_schema_names_place_and_line_and_suggests(tmp_path):
    doc = read(
        tmp_path,
        'members:\n  "1":\n    nme: x\n    code: 12\n  "2": 3\n'
        'listed:\n  - {name: a, code: "1", wait: 10 minuets}\n'
        '  - {name: b, code: "1", also: [1]}\nmembesr: 1\n',
    )
    with pytest.raises(DeclarationError) as caught:
        check(doc, Whole())
    assert caught.value.problems == [
        "x.yaml:2: members.1.name: is missing",
        "x.yaml:3: members.1.nme: unknown key; did you mean name?",
        "x.yaml:4: members.1.code: a code written as a number; put it in quotes",
        "x.yaml:5: members.2: expected keys and values",
        'x.yaml:7: listed.0.wait: expected a length of time such as "10 minutes"',
        "x.yaml:8: listed.1.also: expected text or a list of texts; put numbers in quotes",
        "x.yaml:9: membesr: unknown key; did you mean members?",
    ]


printable = st.text(st.characters(codec="utf-8", exclude_categories=["C"]))
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.text(st.characters(codec="utf-8", exclude_categories=["C"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(value=st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), plain, max_size=3))
def test_what_a_yaml_writer_writes_is_read_back(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("yaml") / "x.yaml"
    writer = YAML(typ="safe", pure=True)
    # In flow style ruamel.yaml writes text that begins with `?` unquoted, and reads `[?0]` as a key.
    writer.default_flow_style = False
    with path.open("w", encoding="utf-8") as file:
        writer.dump(value, file)
    assert read_yaml(path).value == value
