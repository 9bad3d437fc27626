"""The database with sessions that the tests of the command line use."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_PATH = Path(__file__).parent.parent / "cli" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("tests_cli_conftest", _PATH)
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)

sold = _MODULE.sold
