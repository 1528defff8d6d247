"""What the tests would let pass: `python3 run.py bench mutants [--module NAME]… [--sample N] [--seed S] [--json]`.

A copy of the checkout is spoiled in one place at a time, and the tests that speak to the spoiled module run until one fails.
Spoiled are: each comparison (turned round, and at its boundary), each condition and `not`, `and` and `or`, arithmetic and bit
operators, whole numbers (one more, one less), true and false; a `raise` or a call that stands alone is left out, and `return`
gives None. Texts, f-strings, annotations and decorators stay as they are. A mutant is killed by a test that fails, or that
comes to no end: such are counted apart. All draws of Hypothesis are fixed: the same sample gives the same answer.
"""

import argparse
import ast
import compileall
import copy
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# What speaks to each module, the fastest first: the second run is for what the first lets pass.
SLOW = "tests/flow/test_ledger.py::test_a_kill_between_each_two_steps_leaves_all_or_nothing"
TESTS = {
    "note": (["tests/core/test_note.py", "tests/core/test_witness.py", "tests/core/test_sm2.py"], ["tests/core/test_batch.py"]),
    "merkle": (["tests/core/test_merkle.py"],),
    "batch": (["tests/core/test_batch.py"],),
    "keys": (["tests/core/test_keys.py"], ["tests/flow/test_key_ends.py", "tests/flow/test_rotation.py"]),
    "ledger": (["tests/flow/test_ledger.py", "--deselect", SLOW], [SLOW]),
}  # fmt: skip
# Mutants that no test can tell from the code, as printed, and why.
EQUIVALENT: dict[str, dict[str, str]] = {
    "note": {
        "verify_exactly: for line, key in zip(note.lines, keys, strict=True): → "
        "for line, key in zip(note.lines, keys, strict=False):": "both are known to be as long",
    },
    "merkle": {
        "root_of: return row[0] → return row[-1]": "one is left in the row",
        "_fold: return row[0] → return row[-1]": "one is left in the row",
        "path_of: if index ^ 1 < len(row): → if index | 1 < len(row):": "the one before an odd index is in the row",
    },
    "batch": {
        "unpack: if lines.pop() or len(lines) % 2 != 1 or len(lines) > 2 * MAX_RECORDS + 1: → "
        "if lines.pop() or len(lines) % 2 != 1 or len(lines) > 2 * MAX_RECORDS + 2:": "the number of lines is odd by then",
    },
    "keys": {
        f"{room}: write_private({path}, json.dumps(info, indent=1).encode()) → "
        f"write_private({path}, json.dumps(info, indent={indent}).encode())": "how a file of JSON is laid out"
        for room, path in (("KeyRing.create", "path"), ("KeyRing._relabel", "labelled"))
        for indent in (0, 2)
    }
    | {
        "KeyRing.rotate: if coming[0].vkey not in chain.keys: → if coming[-1].vkey not in chain.keys:":
            "both keys of an origin come into force by one entry",
    },
    "ledger": {
        "Ledger._advance: for entry in self.store.entries(head.size, size - head.size): → "
        "for entry in self.store.entries(head.size, size + head.size):": "the store holds no more",
        "Ledger.append: self._settled = (size, old) if old is not None else None → "
        "self._settled = (size, old) if old is None else None": "what was settled is settled again: slower, and the same",
    },
}

SWAPS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.GtE, ast.LtE), ast.LtE: (ast.Gt, ast.Lt), ast.Gt: (ast.LtE, ast.GtE), ast.GtE: (ast.Lt, ast.Gt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,), ast.And: (ast.Or,), ast.Or: (ast.And,), ast.Add: (ast.Sub,), ast.Sub: (ast.Add,),
    ast.Mult: (ast.FloorDiv,), ast.FloorDiv: (ast.Mult,), ast.Mod: (ast.FloorDiv,), ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,), ast.BitAnd: (ast.BitOr,), ast.BitOr: (ast.BitAnd,), ast.BitXor: (ast.BitOr,),
}  # fmt: skip


def spoiled(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in a node's place."""
    if isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield ast.Pass()
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield from (ast.Constant(node.value + step) for step in (1, -1))
    elif type(node) in SWAPS:
        yield from (each() for each in SWAPS[type(node)])


def places(node: ast.AST, room: str = "") -> Iterator[tuple[Any, Any, ast.AST, int, str]]:
    """Where a child hangs in a tree (a list and its index, or a node and its field), the child, its line, its function."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "msg", "decorator_list") or isinstance(node, ast.JoinedStr):
            continue
        for n, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST):
                holder, key = (value, n) if isinstance(value, list) else (node, name)
                within = f"{room}.{child.name}".lstrip(".") if isinstance(child, ast.FunctionDef | ast.ClassDef) else room
                yield holder, key, child, getattr(child, "lineno", getattr(node, "lineno", 0)), within
                yield from places(child, within)


def put(holder: Any, key: Any, child: ast.AST) -> None:
    if isinstance(holder, list):
        holder[key] = child
    else:
        setattr(holder, key, child)


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """Line, `function: before → after` of the first changed line, and the whole text of every mutant of a source."""
    tree = ast.parse(source)
    whole = ast.unparse(tree).split("\n")
    for holder, key, child, line, room in list(places(tree)):
        others = list(spoiled(child))
        # A condition that is a comparison or a `not` is spoiled there.
        if key == "test" and not isinstance(child, ast.Compare) and not isinstance(child, ast.UnaryOp):
            others.append(ast.UnaryOp(ast.Not(), copy.copy(child)))
        for other in others:
            put(holder, key, other)
            text = ast.unparse(ast.fix_missing_locations(tree))
            old, new = next((a, b) for a, b in zip(whole, text.split("\n"), strict=False) if a != b)
            yield line, f"{room}: {old.strip()} → {new.strip()}", text
        put(holder, key, child)


def run(folder: Path, arguments: list[str], seconds: int) -> tuple[str, float]:
    """How one run of tests ends in a process of its own (passed, failed, timed out), and its time on a processor."""
    before, child = resource.getrusage(resource.RUSAGE_CHILDREN), os.fork()
    if not child:
        os.setsid()
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        with open(os.devnull, "r+b") as nothing:
            for number in range(3):
                os.dup2(nothing.fileno(), number)
        # Time on a processor, so that a busy machine kills nothing; memory, because a loop without end may gather.
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        import pytest

        os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--basetemp", str(folder / "temp"), *arguments]) != 0)
    # A process that waits for what never comes uses no processor.
    bell = threading.Timer(20 * seconds, os.killpg, (child, signal.SIGKILL))
    bell.start()
    _, status = os.waitpid(child, 0)
    bell.cancel()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = "timed out" if os.WIFSIGNALED(status) else "failed" if os.WEXITSTATUS(status) else "passed"
    return ended, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def module_report(folder: Path, name: str, sample: int | None, seed: int, say: Any) -> dict[str, Any]:
    """Every mutant of hub/NAME.py, or a sample, against its tests."""
    path = folder / "hub" / f"{name}.py"
    source = path.read_text("utf-8")
    limits = []
    for arguments in TESTS[name]:
        ended, took = run(folder, arguments, 600)
        assert ended == "passed", f"the tests of {name} fail before anything is spoiled: {arguments}"
        limits.append(round(3 * took) + 4)
    for stale in path.parent.glob(f"__pycache__/{name}.*"):
        stale.unlink()
    path.write_text("raise ImportError", "utf-8")
    assert run(folder, TESTS[name][0], limits[0])[0] == "failed", f"the tests of {name} do not read the copy"
    known = EQUIVALENT.get(name, {})
    told = list(mutants(source))
    unknown = known.keys() - {what for _, what, _ in told}
    assert not unknown, f"declared equivalent, but no mutant: {sorted(unknown)}"
    tried = [each for each in told if each[1] not in known]
    if sample is not None and sample < len(tried):
        tried = sorted(random.Random(f"{seed} {name}").sample(tried, sample), key=lambda each: each[0])
    found: dict[str, Any] = {"mutants": len(tried), "killed": 0, "timed out": 0, "survived": [],
                             "equivalent": sum(what in known for _, what, _ in told)}  # fmt: skip
    began = time.perf_counter()
    for line, what, text in tried:
        path.write_text(text, "utf-8")
        for arguments, seconds in zip(TESTS[name], limits, strict=True):
            ended, _ = run(folder, arguments, seconds)
            if ended != "passed":
                break
        if ended == "passed":
            found["survived"].append(f"hub/{name}.py:{line}: {what}")
            say(found["survived"][-1])
        else:
            found["killed" if ended == "failed" else ended] += 1
    path.write_text(source, "utf-8")
    return found | {"seconds": round(time.perf_counter() - began)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", action="append", choices=[*TESTS], metavar="NAME", help=", ".join(TESTS))
    parser.add_argument("--sample", type=int, metavar="N", help="so many mutants of each module; all unless given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    # Before the forks, so that no run pays for them; nothing of hub may be among them.
    for name in ("cryptography.x509", "flask", "flask_smorest", "msgspec", "pytest", "requests", "ruamel.yaml", "sqlite_utils"):
        importlib.import_module(name)
    from hypothesis import Phase, settings

    settings.register_profile("fixed", derandomize=True, database=None, phases=[Phase.explicit, Phase.generate])
    settings.load_profile("fixed")
    found = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "checkout"
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__"))
        for room in ("hub", "adapters"):
            compileall.compile_dir(str(folder / room), quiet=1)
        sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
        say = (lambda line: None) if asked.json else (lambda line: print(line, flush=True))
        for name in asked.module or TESTS:
            told = found[name] = module_report(folder, name, asked.sample, asked.seed, say)
            dead = told["killed"] + told["timed out"]
            say(f"{name}: {dead} of {told['mutants']} killed ({told['timed out']} of them by time), "
                f"{len(told['survived'])} survived, {told['equivalent']} equivalent, {told['seconds']} s")  # fmt: skip
    if asked.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
