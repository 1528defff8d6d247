"""Other people's programs are not everywhere: `.ci/run` installs them below var/ where they can run."""

import os
import shutil
from pathlib import Path

VAR = Path(__file__).resolve().parents[2] / "var"
collect_ignore = []
if not (Path(os.environ.get("CROSSREGION_AICS", VAR / "aics")) / "bin" / "aics-tlog").exists():
    collect_ignore.append("test_third_party_log.py")
if not (Path(os.environ.get("CROSSREGION_NPM", VAR / "npm")) / "node_modules").exists() or shutil.which("node") is None:
    collect_ignore.append("test_foreign_client.py")
