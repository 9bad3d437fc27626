"""Receipts from a till's own database, at each step of a session."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from edge.domain.identity import receipt_token_hash
from edge.receipts.pages import provisional
from edge.receipts.receipt import NothingToPay, Provisional, Ready, Running
from edge.receipts.till import TillReceipts


def charger(**options):
    """The charger of tests/domain, which is no package."""
    path = Path(__file__).parent.parent / "domain" / "conftest.py"
    name = "tests_domain_charger"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name].Charger(**options)


@pytest.fixture
def asked(tmp_path):
    """What the till says of a token's receipt now."""

    def look(till, token):
        file = tmp_path / "till.db"
        file.unlink(missing_ok=True)
        file.write_bytes(till.journal.db.serialize())
        return TillReceipts(file, time_zone="Europe/Berlin").find(receipt_token_hash(token))

    return look


def test_from_the_tap_to_the_invoice_and_while_no_clock_can_date_it(asked):
    till = charger(trusted=False, offset_s=-86_400)
    till.devices_answer()
    assert asked(till, "nobody's") is None
    till.tap("A")
    token = till.state.session.receipt_token
    till.deliver()
    till.plug()
    till.deliver()
    till.wait(400)
    assert asked(till, token) == Running()
    till.pilot_to("A")
    till.deliver()
    till.deliver()
    waiting = asked(till, token)
    assert isinstance(waiting, Provisional)
    assert waiting.payable_minor > 0
    shown = provisional(waiting, "de", again_s=60)
    assert "Vorläufiger Beleg" in shown
    assert f"{waiting.payable_minor // 100},{waiting.payable_minor % 100:02d}" in shown
    till.trust()
    till.wait(5)
    ready = asked(till, token)
    assert isinstance(ready, Ready)
    assert ready.documents[0].invoice.draft.figures.payable_minor == waiting.payable_minor


def test_a_session_without_a_cable_has_no_receipt(asked):
    till = charger()
    till.devices_answer()
    till.tap("A")
    token = till.state.session.receipt_token
    till.deliver()
    till.wait(400)
    till.deliver()
    assert asked(till, token) == NothingToPay()
