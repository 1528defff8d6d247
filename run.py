#!/usr/bin/env python3
"""Starts the hub from a checkout on a machine that has python3 and nothing else.

Owns `.venv` beside it: makes it on the first start, installs into it whenever setup.cfg changes, and starts itself again
inside it; later starts cost three file reads. Needs the standard library alone, and speaks on stderr alone, so that
`--json` output stays clean. The commands are hub.cli's, except `test` and `bench`, which live in a checkout only.

Exit codes of its own: 1 the installation failed, 2 this machine lacks something, 130 interrupted.
"""

import sys

if sys.version_info < (3, 11):
    # Before any import or annotation that an older Python would choke on.
    sys.stderr.write(
        "run.py needs Python 3.11 or newer, this is %d.%d: start it with a newer one, as in `python3.11 run.py`\n"
        % sys.version_info[:2]
    )
    sys.exit(2)

import os

# os.path, and every other import inside its function: a start that finds all in place costs 0.02 s more than Python's own.
ROOT = os.path.dirname(os.path.realpath(__file__))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "installed")
EXTRAS = {"test": "test", "bench": "bench"}


def say(line: str) -> None:
    """Tell the person at the terminal."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def give_up(line: str, code: int) -> None:
    """Say what is missing and how to mend it, and stop."""
    say(line)
    raise SystemExit(code)


# -- the environment --------------------------------------------------------------------------------------------------


def place() -> str:
    """Where .venv belongs: a moved checkout or another Python underneath makes it useless."""
    return f"{ROOT} {os.path.realpath(PYTHON)}"


def wanted() -> str:
    """What the installation is made from."""
    text = ""
    for name in ("setup.cfg", "pyproject.toml"):
        with open(os.path.join(ROOT, name), encoding="utf-8") as file:
            text += file.read()
    return text


def stamp() -> list[str]:
    """Place, extras and origin of the last installation that came to its end; three empty ones where there is none."""
    try:
        with open(STAMP, encoding="utf-8") as file:
            return ([*file.read().split("\n", 2), "", "", ""])[:3]
    except OSError:
        return ["", "", ""]


def in_step(extra: str) -> bool:
    """Whether .venv is whole, belongs here and holds what setup.cfg and this command ask for."""
    where, extras, origin = stamp()
    return (
        where == place() and origin == wanted() and (not extra or extra in extras.split(",")) and os.path.exists(PYTHON)
    )


def install(extra: str) -> None:
    """Bring .venv in step, one start at a time; another that waited finds the work done."""
    import fcntl

    lock = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            say("another start is installing into .venv: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not in_step(extra):
            make(extra)
    finally:
        os.close(lock)


def make(extra: str) -> None:
    """Make .venv where it is missing or belongs elsewhere, then install into it; the stamp comes last."""
    import subprocess

    before, origin = stamp(), wanted()
    if before[0] != place() or not os.path.exists(PYTHON):
        before = ["", "", ""]
        need_venv()
        say("first start: making .venv and installing into it, up to a minute or two")
        if os.path.islink(VENV):
            os.remove(VENV)  # --clear would empty what the link leads to: somebody else's environment.
        # -I: neither PYTHONPATH nor a user's own packages may leak in. --clear: what an interrupted start left is void.
        if subprocess.call([sys.executable, "-I", "-m", "venv", "--clear", VENV], stdout=sys.stderr):
            give_up(f".venv could not be made in {ROOT}: see the lines above", 1)
    else:
        say("setup.cfg or the command asks for more than .venv holds: installing")
    extras = sorted({extra, *(before[1].split(",") if before[2] == origin else ())} - {""})
    target = f".[{','.join(extras)}]" if extras else "."
    # Errors alone: a machine's own pip settings may warn once per package.
    pip = [PYTHON, "-I", "-m", "pip", "install", "-qq", "--no-input", "--disable-pip-version-check"]
    if subprocess.call([*pip, "--editable", target], cwd=ROOT, stdout=sys.stderr):
        give_up(
            "the installation failed: see pip's lines above. Behind a proxy set HTTPS_PROXY, for a mirror"
            " PIP_INDEX_URL, without network PIP_NO_INDEX=1 and PIP_FIND_LINKS=<folder of wheels>; then start again",
            1,
        )
    with open(STAMP + ".new", "w", encoding="utf-8") as file:
        file.write("\n".join((place(), ",".join(extras), origin)))
    os.replace(STAMP + ".new", STAMP)


def need_venv() -> None:
    """Debian and Ubuntu ship Python without venv's half: name the one line that installs it."""
    from importlib.util import find_spec

    if find_spec("venv") and find_spec("ensurepip"):
        return
    # The plain package belongs to the system's default Python; one installed beside it has its own.
    default = os.path.realpath("/usr/bin/python3") == os.path.realpath(sys.executable)
    package = "python3-venv" if default else f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    give_up(f"this Python cannot make virtual environments; as root: apt update && apt install {package}", 2)


# -- the commands that live in a checkout only ------------------------------------------------------------------------


def test(arguments: list[str]) -> None:
    """With no arguments ruff, mypy, import-linter and every test; otherwise pytest alone, with these arguments."""
    if not arguments:
        os.chdir(ROOT)
        # Most tests wait for processes and disks: side by side, file by file because a file's tests share what is dear.
        arguments = ["-n", "logical", "--maxprocesses", "4", "--dist", "loadfile"]
        # tests/conftest.py ends the run as failed, and names them, however the tests themselves went.
        os.environ["FAILED_CHECKS"] = " ".join(failed_checks())
    os.execv(PYTHON, [PYTHON, "-m", "pytest", *arguments])


def failed_checks() -> list[str]:
    """Names of the checks that found something; each runs to its end and prints what it found."""
    import subprocess

    commands = {
        "ruff": [PYTHON, "-m", "ruff", "check", "--output-format", "concise", *ruff_settings(), "."],
        "mypy": [PYTHON, "-m", "mypy"],
        "lint-imports": [PYTHON, os.path.join(VENV, "bin", "lint-imports"), "--no-logo"],
    }
    failed = []
    for name, command in commands.items():
        say(f"-- {name}")
        if subprocess.call(command, stdout=sys.stderr):
            failed.append(name)
    return failed


def ruff_settings() -> list[str]:
    """ruff reads no setup.cfg: its section there, in TOML as it stands, as arguments (one; several would not add up)."""
    import configparser

    config = configparser.ConfigParser(interpolation=None)
    config.read(os.path.join(ROOT, "setup.cfg"), encoding="utf-8")
    return [
        "--isolated",
        "--config",
        "\n".join(f"{key} = {value}" for key, value in config["tool:ruff"].items()),
    ]


def bench(arguments: list[str]) -> None:
    """The measurements of tests/bench, side by side in one run; a first word names another file there than bench.py."""
    import runpy

    name = arguments[0] if arguments and not arguments[0].startswith("-") else "bench"
    path = os.path.join(ROOT, "tests", "bench", name + ".py")
    if not name.isidentifier() or not os.path.exists(path):
        give_up(f"no bench {name}; see {os.path.dirname(path)}", 2)
    sys.argv = [path, *(arguments[1:] if arguments[:1] == [name] else arguments)]
    runpy.run_path(path, run_name="__main__")


def main(arguments: list[str]) -> None:
    """Bring .venv in step, get inside it, and run the command; with none, the demo."""
    command = arguments[0] if arguments else "demo"
    extra = EXTRAS.get(command, "")
    fresh = not in_step(extra)
    if fresh:
        install(extra)
    if fresh or os.path.realpath(sys.prefix) != os.path.realpath(VENV):
        os.execv(PYTHON, [PYTHON, os.path.join(ROOT, "run.py"), *arguments])
    if command == "test":
        test(arguments[1:])
    elif command == "bench":
        bench(arguments[1:])
    else:
        from hub.cli import main as cli

        sys.argv = ["run.py", *(arguments or ["demo"])]
        sys.exit(cli())


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        raise SystemExit(130) from None
