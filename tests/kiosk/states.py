"""What a screen can show: every state of an EVSE, and displays of up to four of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.domain.view import Notice, PriceLine, View

PRICE = {
    "en": (
        PriceLine(label="Energy", amount="€0.49/kWh", note="incl. 19% VAT"),
        PriceLine(label="Parking after charging", amount="€0.10/min", note="from 4 h on, at most €12.00"),
        PriceLine(label="Per session", amount="€1.00"),
    ),
    "de": (
        PriceLine(label="Energie", amount="0,49 €/kWh", note="inkl. 19 % MwSt."),
        PriceLine(label="Blockiergebühr", amount="0,10 €/min", note="ab 4 h, höchstens 12,00 €"),
        PriceLine(label="Startgebühr", amount="1,00 €"),
    ),
}
REAL_PRICE = {
    "en": (
        PriceLine(label="Energy", amount="€0.490042/kWh", note="incl. 19% VAT"),
        PriceLine(
            label="Parking after charging",
            amount="€5.99998/h",
            note="from 4 h of the session on, in steps of 1 min, incl. 19% VAT",
        ),
        PriceLine(label="Per session", amount="€0.999957", note="incl. 19% VAT"),
    ),
    "de": (
        PriceLine(label="Energie", amount="0,490042 €/kWh", note="inkl. 19 % MwSt."),
        PriceLine(
            label="Parken nach dem Laden",
            amount="5,99998 €/h",
            note="ab 4 h Gesamtdauer, in Schritten von 1 min, inkl. 19 % MwSt.",
        ),
        PriceLine(label="Je Ladevorgang", amount="0,999957 €", note="inkl. 19 % MwSt."),
    ),
}
RECEIPT = "https://pay.example.org/r/4f1c9a7e2b8d4f0a9c3e"
#: The smallest panel, both ways up.
LANDSCAPE, PORTRAIT = (800, 480), (480, 800)


def view(kind: Any = "idle", evse_id: str = "E1", label: str = "A", **more: Any) -> View:
    return View(
        evse_id=evse_id,
        label=label,
        kind=kind,
        **{"price": PRICE, "hold_minor": 5_000, "offered_hold_minor": 5_000, **more},
    )


def metered(kind: Any = "charging", **more: Any) -> View:
    figures = {"began": "t", "energy_wh": 12_345, "seconds": 3_980, "power_w": 11_040, "cost_minor": 705}
    return view(kind, **{**figures, **more})


def paid(**more: Any) -> View:
    receipt = {
        "paid_method": "terminal",
        "invoice_number": "CT-7Q2M-000042",
        "receipt_url": RECEIPT,
        "reason": "card",
    }
    return metered("paid", **{**receipt, **more})


STATES: dict[str, tuple[View, ...]] = {
    "starting_up": (view("starting_up"),),
    "out_of_order": (view("out_of_order", reason="meter_silent"),),
    "out_of_order, blocked from afar": (view("out_of_order", reason="blocked_by_operator"),),
    "out_of_order, unsettled": (view("out_of_order", reason="unsettled"),),
    "idle": (view(vehicle_connected=True),),
    "idle, members only": (view(offered_hold_minor=None, fallback=True),),
    "idle, terminal and reader": (view(terminal=True, vehicle_connected=True),),
    "no price": (view(price={}),),
    "long price": (view(price={"en": PRICE["en"] * 2, "de": PRICE["de"] * 2}, offered_hold_minor=None),),
    "real price": (view(price=REAL_PRICE, terminal=True, fallback=True),),
    "authorizing": (view("authorizing"),),
    "authorizing, real price": (view("authorizing", price=REAL_PRICE),),
    "plug_in": (view("plug_in", seconds_left=87, stop_code="4711", fallback=True),),
    "plug_in, real price": (view("plug_in", price=REAL_PRICE, seconds_left=87, stop_code="4711"),),
    "preparing": (view("preparing", stop_code="4711"),),
    "charging": (metered(stoppable=True),),
    "charging, little known": (metered(energy_wh=None, cost_minor=None, power_w=None, seconds=None),),
    "suspended": (metered("suspended", by="ev", estimated=True, cost_minor=12_705, seconds=36_000),),
    "suspended by the charger": (metered("suspended", by="evse", stoppable=True),),
    "stopping": (metered("stopping"),),
    "paid": (paid(),),
    "paid, pending": (paid(pending=True, invoice_number=None),),
    "paid, pending, no address": (paid(pending=True, invoice_number=None, receipt_url=None),),
    "paid, offline, stopped by the till": (paid(online=False, reason="restored", paid_method="card"),),
    "paid by limit": (paid(reason="limit", receipt_url=None, paid_method="account", estimated=True),),
    "paid, large": (paid(cost_minor=1_234_567, hold_minor=2_000_000, energy_wh=123_456, online=False),),
    "ended": (view("ended", reason="no_plug"),),
    "ended, releasing": (view("ended", reason="no_plug", pending=True),),
    "ended, in doubt": (view("ended", reason="in_doubt", pending=True, terminal=True),),
    "ended, declined by the bank": (
        view("ended", reason="card_declined", notice=Notice(code="declined", serial=1)),
    ),
    "ended, long words": (view("ended", reason="list_too_old", terminal=True),),
    "ended free": (metered("ended", reason="card", cost_minor=0),),
    "notice": (view(notice=Notice(code="card_blocked", serial=1)),),
    "notice, long words": (view(terminal=True, notice=Notice(code="pin_required", serial=1)),),
    "two, real price": (view(price=REAL_PRICE), view(evse_id="E2", label="B", price=REAL_PRICE)),
    "two": (view(terminal=True, fallback=True), metered(evse_id="E2", label="B")),
    "two, choosing": (view(choosing=True), view(evse_id="E2", label="B", choosing=True)),
    "three": (
        view(),
        view("plug_in", evse_id="E2", label="B", seconds_left=9),
        paid(evse_id="E3", label="C"),
    ),
    "four": (
        view("idle", offered_hold_minor=None),
        metered(evse_id="E2", label="B"),
        view("plug_in", evse_id="E3", label="C", seconds_left=9),
        view("out_of_order", evse_id="E4", label="D", reason="meter_silent"),
    ),
    "four, busy": (
        metered("suspended", by="evse"),
        paid(evse_id="E2", label="B", pending=True, invoice_number=None),
        view(evse_id="E3", label="C", choosing=True, terminal=True),
        view("ended", evse_id="E4", label="D", reason="card_declined"),
    ),
    "four, notice": (
        view(terminal=True, notice=Notice(code="card_blocked", serial=1)),
        view("stopping", evse_id="E2", label="B", energy_wh=12_345, cost_minor=705),
        view("authorizing", evse_id="E3", label="C"),
        view("preparing", evse_id="E4", label="D"),
    ),
}

#: Looks at the page as it is drawn now; see the file.
FAULTS = (Path(__file__).parent / "faults.js").read_text()
