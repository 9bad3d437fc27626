"""A till's database with a few sessions in it, made by the real machine and kept by the real store."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


def _charger():
    """The charger of tests/domain, which is no package."""
    path = Path(__file__).parent.parent / "domain" / "conftest.py"
    name = "tests_domain_charger"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name].Charger


@pytest.fixture(scope="session")
def ledger_key(sold):
    """The key that signs the ledger of `sold`."""
    assert sold.exists()
    module = sys.modules["tests_domain_charger"]
    return module.Journal.key._private


@pytest.fixture(scope="session")
def sold(tmp_path_factory):
    """A database with two invoices, a session without a cable, and one that charges."""
    till = _charger()()
    till.devices_answer()
    for card in "AB":
        till.tap(card)
        till.deliver()
        till.plug()
        till.deliver()
        till.wait(400)
        till.pilot_to("A")
        till.deliver()
        till.deliver()
        till.wait(90_000)
    till.tap("C")
    till.deliver()
    till.wait(400)
    till.tap("D")
    till.deliver()
    till.plug()
    till.deliver()
    till.wait(60)
    assert till.state.session is not None
    folder = tmp_path_factory.mktemp("sold")
    file = folder / "till.db"
    file.write_bytes(till.journal.db.serialize())
    (folder / "key").write_text(till.journal.key.public_hex)
    return file
