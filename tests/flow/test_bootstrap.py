"""run.py on a small checkout of its own: real venv, real pip, and a build backend that needs no network."""

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parents[2] / "run.py"

CLI = """
import importlib.util, json, os, sys

def main():
    print(json.dumps({"arguments": sys.argv[1:], "prefix": sys.prefix, "directory": os.getcwd(),
                      "hypothesis": importlib.util.find_spec("hypothesis") is not None}))
    return 3 if "partial" in sys.argv else 0
"""

# Writes down each build, and lays tools into .venv that print how they were called in place of doing anything.
BACKEND = '''
import pathlib, zipfile

TOOL = """
import json, os, sys
print({name!r}, json.dumps([sys.argv[1:], os.environ.get("FAILED_CHECKS")]), flush=True)
sys.exit({code})
"""
NAME = "crossregion_sync_hub-0"
META = "Metadata-Version: 2.1\\nName: crossregion-sync-hub\\nVersion: 0\\n"
META += "Provides-Extra: test\\nProvides-Extra: bench\\n"

def build_editable(folder, settings=None, metadata=None):
    root = pathlib.Path.cwd()
    with (root / "builds").open("a") as log:
        log.write("build\\n")
    needs = "".join(f"Requires-Dist: {line}\\n" for line in (root / "needs").read_text().split())
    files = {f"{NAME}.dist-info/METADATA": META + needs,
             f"{NAME}.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
             f"{NAME}.data/scripts/lint-imports": "#!python\\n" + TOOL.format(name="lint-imports", code=0)}
    for name, code in (("ruff", 1), ("mypy", 0), ("pytest", 5)):
        files[f"{name}/__init__.py"] = ""
        files[f"{name}/__main__.py"] = TOOL.format(name=name, code=code)
    record = "".join(f"{name},,\\n" for name in files) + f"{NAME}.dist-info/RECORD,,\\n"
    wheel = f"{NAME}-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder) / wheel, "w") as archive:
        for name, text in (files | {f"{NAME}.dist-info/RECORD": record}).items():
            archive.writestr(name, text)
    return wheel
'''


class Checkout:
    """A folder with the real run.py and a stand-in for everything that it installs and starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = {
            "run.py": RUN.read_text("utf-8"),
            "setup.cfg": "[tool:ruff]\nline-length = 110\nlint.select = [\n    'E']\n",
            "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
            "backend.py": BACKEND,
            "needs": "",
            "hub/__init__.py": "",
            "hub/cli.py": CLI,
            "tests/bench/bench.py": "import sys; print('bench', sys.argv[1:], __name__)",
        }
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8")

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(self.folder / "run.py"), *arguments]

    def run(self, *arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
        """Start it; `before` is Python that spoils the interpreter first."""
        command = self.command(*arguments)
        if before:
            program = "import runpy, sys; sys.argv = sys.argv[1:]\n" + before
            program += "\nrunpy.run_path(sys.argv[0], run_name='__main__')"
            command = [sys.executable, "-c", program, *command[1:]]
        return subprocess.run(command, cwd=self.folder, env=ENVIRONMENT, capture_output=True, text=True)

    def builds(self) -> int:
        path = self.folder / "builds"
        return path.read_text().count("build") if path.exists() else 0


ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
ENVIRONMENT |= {"PIP_NO_INDEX": "1", "FAILED_CHECKS": ""}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Two first starts at the same moment, both gone well."""
    made = Checkout(tmp_path_factory.mktemp("with space") / "checkout")
    starts = [
        subprocess.Popen(
            made.command("doctor", "--json"),
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for start in starts:
        out, err = start.communicate()
        assert start.returncode == 0, err
        assert json.loads(out)["arguments"] == ["doctor", "--json"]
    return made


def test_two_first_starts_install_once(checkout: Checkout) -> None:
    assert checkout.builds() == 1


def test_a_later_start_installs_nothing_and_says_nothing(checkout: Checkout) -> None:
    done = checkout.run()
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said["arguments"] == ["demo"]
    assert said["prefix"] == str(checkout.folder / ".venv")
    assert checkout.builds() == 1


def test_the_exit_code_is_the_commands_own(checkout: Checkout) -> None:
    assert checkout.run("partial").returncode == 3


def test_the_callers_packages_stay_outside(checkout: Checkout) -> None:
    """This test runs where hypothesis is installed; .venv must not know of it."""
    assert importlib.util.find_spec("hypothesis") is not None
    assert json.loads(checkout.run().stdout)["hypothesis"] is False


def test_a_changed_setup_cfg_installs_again(checkout: Checkout) -> None:
    before = checkout.builds()
    with (checkout.folder / "setup.cfg").open("a") as file:
        file.write("# changed\n")
    assert checkout.run().returncode == 0
    assert checkout.run().returncode == 0
    assert checkout.builds() == before + 1


def test_bench_installs_its_extra_and_keeps_it(checkout: Checkout) -> None:
    before = checkout.builds()
    done = checkout.run("bench", "--quick")
    assert done.stdout == "bench ['--quick'] __main__\n", done.stderr
    assert checkout.run("test", "-k", "x").returncode == 5
    assert checkout.run("bench").returncode == 0
    assert checkout.builds() == before + 2


def test_test_runs_every_check_then_pytest_last_and_tells_it_what_failed(checkout: Checkout) -> None:
    done = checkout.run("test")
    calls = [line for line in done.stderr.splitlines() if line.startswith(("ruff", "mypy", "lint-imports"))]
    ruff, mypy, imports = calls
    assert "line-length = 110\nlint.select = [\n'E']" in json.loads(ruff.split(" ", 1)[1])[0]
    assert json.loads(mypy.split(" ", 1)[1])[0] == []
    assert json.loads(imports.split(" ", 1)[1])[0] == ["--no-logo"]
    arguments, failed = json.loads(done.stdout.removeprefix("pytest "))
    assert failed == "ruff" and arguments[:2] == ["-n", "logical"], "beside each other, on every core"
    assert done.returncode == 5


def test_test_with_arguments_runs_pytest_alone(checkout: Checkout) -> None:
    done = checkout.run("test", "-k", "name")
    assert done.stdout == 'pytest [["-k", "name"], ""]\n'
    assert "ruff" not in done.stderr


def test_a_failed_installation_says_why_and_how_to_mend_it_and_heals(checkout: Checkout) -> None:
    (checkout.folder / "needs").write_text("no-such-distribution-anywhere")
    with (checkout.folder / "setup.cfg").open("a") as file:
        file.write("# needs more\n")
    done = checkout.run("doctor")
    assert done.returncode == 1
    assert "no-such-distribution-anywhere" in done.stderr
    assert "PIP_FIND_LINKS" in done.stderr.splitlines()[-1]
    assert done.stdout == "" and "Traceback" not in done.stderr
    (checkout.folder / "needs").write_text("")
    assert checkout.run("doctor").returncode == 0


def test_a_moved_checkout_makes_its_environment_anew(checkout: Checkout) -> None:
    before = checkout.builds()
    old = checkout.folder
    checkout.folder = old.rename(old.with_name("moved"))
    try:
        done = checkout.run()
        assert json.loads(done.stdout)["prefix"] == str(checkout.folder / ".venv")
        assert checkout.builds() == before + 1
    finally:
        checkout.folder.rename(old)
        checkout.folder = old


def test_an_environment_that_is_only_linked_to_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "kept").write_text("somebody else's")
    checkout = Checkout(tmp_path / "checkout")
    (checkout.folder / ".venv").symlink_to(tmp_path / "other", target_is_directory=True)
    assert json.loads(checkout.run().stdout)["prefix"] == str(checkout.folder / ".venv")
    assert [each.name for each in (tmp_path / "other").iterdir()] == ["kept"]
    assert not (checkout.folder / ".venv").is_symlink()


def test_without_venv_one_line_names_the_package(tmp_path: Path) -> None:
    done = Checkout(tmp_path).run(before="sys.modules['ensurepip'] = None")
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert "apt install python3" in last and last.endswith("-venv")
    assert not (tmp_path / ".venv").exists()


def test_an_old_python_gets_one_clear_line(tmp_path: Path) -> None:
    done = Checkout(tmp_path).run(before="sys.version_info = (3, 9, 2)")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "run.py needs Python 3.11 or newer, this is 3.9: start it with a newer one, as in `python3.11 run.py`\n"
    )


def test_an_old_python_can_read_the_file() -> None:
    ast.parse(RUN.read_text("utf-8"), feature_version=(3, 7))
