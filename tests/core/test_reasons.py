"""Why a row or a read was refused is told in Chinese too: every sentence that the code can say has its pair."""

import ast
import itertools
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.kinds.vocabulary import NUMBERS, TYPES, flaw
from hub.reasons import CLAUSES, PLACES, THINGS, chinese, clauses, place

TOP = Path(__file__).resolve().parents[2]
# Who refuses, and which arguments tell why: what, and how to mend it.
TOLD = {"Refuse": (2, 3), "Look": (1, 2), "Retry": (1, 2), "Bad": (0, 1), "_expected": (0, 2), "faulty": (1,),
        "Problem": (1, 2)}  # fmt: skip
# Who gives a reason back.
TELLERS = {"fault", "_untested", "_of_item", "flaw", "says", "_shortfall", "_problem"}
# What may stand in a gap that is worded itself; any other gap is filled with a number.
GAPS = {
    **dict.fromkeys(("said", "said_by(reply)", "said(given)"), ("", ": no")),
    **dict.fromkeys(("expects", "TYPES[field.type].expects.format(table=field.table)"), ("a list of texts",)),
    **dict.fromkeys(("_named(body)", "_named(value)", "_named(item)"), ("whole number",)),
    **dict.fromkeys(("kind_of(value)", "kind_of(item)", "kind_of(found)"), ("text of 5 characters",)),
    "_JSON_NAMES[_BASES[spec.base]]": ("boolean",),
    "NUMBERS[self.values[0]][1]": ("digits 0-9",),
    "_size(field)": ("5", "5 to 9"),
    "bad.what": ("has no value",),
    "hint": ("send only the fields of the kind",),
    "problem": ("expected text",),
    "what": ("a date",),
    "when": ("", " where x is given"),
    "wrong": tuple(filter(None, [flaw("\x00", True), flaw("\x00", False), flaw("e\u0301", True)])),
}


def said(node: ast.expr, scope: dict[str, list[ast.expr]]) -> list[str]:
    """Every text that an expression can be, with its gaps filled; none where it is told of elsewhere (`bad.what`)."""
    match node:
        case ast.Constant(str(text)):
            return [text]
        case ast.IfExp():
            return said(node.body, scope) + said(node.orelse, scope)
        case ast.BoolOp() | ast.Tuple():
            return [text for each in getattr(node, "values", None) or node.elts for text in said(each, scope)]
        case ast.BinOp():
            return [a + b for a in said(node.left, scope) for b in said(node.right, scope)]
        case ast.Subscript(ast.JoinedStr() as whole, ast.Slice()):
            return said(whole, scope)
        case ast.Call(ast.Name("kind_of")):  # added to a text
            return list(GAPS["kind_of(found)"])
        case ast.Name(name):
            return [text for each in scope.get(name, []) for text in said(each, {})]
        case ast.JoinedStr():
            return ["".join(parts) for parts in itertools.product(*(gap(part, n, scope) for n, part in enumerate(node.values)))]
    return []


def gap(part: ast.expr, n: int, scope: dict[str, list[ast.expr]]) -> list[str]:
    if isinstance(part, ast.FormattedValue):
        return list(GAPS.get(ast.unparse(part.value), ())) or said(part.value, scope) or [f"70{n}"]
    return said(part, scope)


def sentences(path: Path) -> Iterator[tuple[str, str]]:
    for function in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(function, ast.FunctionDef):
            continue
        scope: dict[str, list[ast.expr]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Assign):
                target, value = node.targets[0], node.value
                pair = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
                both = zip(target.elts, value.elts, strict=True) if pair else [(target, value)]
                for name, each in both:
                    scope.setdefault(ast.unparse(name), []).append(each)
        for node in ast.walk(function):
            told: list[ast.expr] = []
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                places = (0,) if node.func.id == "ValidationError" and path.name == "explain.py" else TOLD.get(node.func.id, ())
                told = [node.args[n] for n in places if n < len(node.args)]
            elif isinstance(node, ast.Return) and node.value is not None and function.name in TELLERS:
                told = [node.value]
            for text in (text for each in told for text in said(each, scope)):
                # What `_expected` is given is a thing; its ways to mend name keys.
                thing = isinstance(node, ast.Call) and ast.unparse(node.func) == "_expected" and "`" not in text
                yield f"{path.name}:{node.lineno}", f"expected {text}, found bytes" if thing else text


# Of declarations, which their author reads, not the console.
AUTHORS = ("declared.py", "declaration.py", "linting.py")
SAYING = [path for path in (TOP / "adapters").glob("*.py") if path.name not in AUTHORS]
SAYING += [TOP / "hub" / "kinds" / "explain.py", TOP / "hub" / "kinds" / "vocabulary.py", TOP / "hub" / "intake.py"]


def sides(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


def test_every_pair_has_the_same_gaps() -> None:
    for en, zh in (CLAUSES | THINGS | PLACES).items():
        assert zh and sides(en) == sides(zh), en


@pytest.mark.parametrize("path", SAYING, ids=lambda path: path.name)
def test_every_reason_that_the_code_can_give_has_its_chinese_words(path: Path) -> None:
    english = {
        f"{at}: {clause}"
        for at, text in sentences(path) if text
        for lang, clause in clauses(f"x: {text}") if lang == "en" and not clause.endswith(": a date")  # a thing, no clause
    }  # fmt: skip
    assert english == set()


def test_every_type_and_number_that_a_value_can_miss_is_worded() -> None:
    expected = [each.expects.format(table="7") for each in TYPES.values()] + [words for _, words in NUMBERS.values()]
    assert [each for each in expected if clauses(f"expected {each}, not a text")[0][0] == "en"] == []


@pytest.mark.parametrize(
    ("en", "zh"),
    [
        (
            "page 2 row 13: penalty: penalty_types: not in the table penalty; "
            "add it to tables.penalty, or say what `else:` is to be",
            "第 2 页第 13 行：penalty：penalty_types：不在代码表 penalty 中；"
            "将其加入 tables.penalty，或用 `else:` 写明其余如何处理",
        ),
        ("fine: 罚款金额 (Fine): expected a list of texts, not a text; send a list",
         "fine：罚款金额：应为文本列表，而非文本；请报送列表"),
        ("expected a date (iso, %Y/%m/%d), found text of 5 characters", "应为日期（iso, %Y/%m/%d），实为长 5 个字符的文本"),
        ("cases.csv:12: 12 cells where the header has 9", "cases.csv:12：该行有 12 格，表头有 9 格"),
        ("330503 cases: GET a/b: answered 503: try: later", "330503 cases：GET a/b：应答 503：try: later"),
    ],
)  # fmt: skip
def test_a_reason_is_told_in_chinese_with_its_own_names(en: str, zh: str) -> None:
    assert chinese(en) == zh


def test_what_has_no_words_stays_as_it_is_and_is_marked() -> None:
    assert clauses("a thing nobody worded; send a list") == [("en", "a thing nobody worded"), ("zh", "请报送列表")]
    assert clauses("expected a thing nobody worded") == [("en", "expected a thing nobody worded")]
    assert clauses("a: " * 400 + "send a list")[0][0] == "en"  # however long the far side's words are, a page is soon there
    assert clauses("expected five characters, not 6")[0][0] == "en"


def test_places() -> None:
    assert [place(each) for each in ("page 2 row 13", "cases row 4", "m.xml record 9", "cases.csv:12")] == [
        "第 2 页第 13 行", "cases 第 4 行", "m.xml 第 9 条记录", "cases.csv:12",
    ]  # fmt: skip
