"""Where the real data sets lie: the folder CROSSREGION_SHARED names, or ../shared/data by the repository."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def shared(name: str) -> Path:
    """The folder of a data set; skips the calling module, saying so, where it is not there."""
    named = os.environ.get("CROSSREGION_SHARED")
    folder = (Path(named) if named else ROOT.parent / "shared" / "data") / name
    if not folder.is_dir():
        mend = "set CROSSREGION_SHARED to the folder that holds it"
        pytest.skip(f"real data set {name} is not here; {mend}", allow_module_level=True)
    return folder
