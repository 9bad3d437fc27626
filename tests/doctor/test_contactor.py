"""What the doctor says to do about a contactor that the running till found welded."""

from __future__ import annotations

from edge.doctor import examine as examining
from edge.doctor import running
from edge.doctor.machine import Holder
from edge.domain.view import View
from edge.inventory import load


def test_a_welded_contactor_is_replaced_and_then_released(place, monkeypatch):
    config = load(place.config)
    evse_id = config.evses[0].section.id
    shown = View(evse_id=evse_id, label="1", kind="out_of_order", reason="contactor_welded")
    monkeypatch.setattr(running, "screens", lambda _config: {evse_id: shown})
    monkeypatch.setattr(running, "open_sessions", lambda _config: {})
    findings = examining._from_daemon(config, Holder(pid=1, name="chargetill"))
    (evse,) = [f for f in findings if f.what.startswith("EVSE")]
    assert (evse.result, evse.found) == ("fail", "out of order: contactor_welded")
    assert "chargetill evse release" in evse.todo
