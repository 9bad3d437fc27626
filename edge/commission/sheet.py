"""The report's words and figures, the same on the screen and on paper."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edge.commission.facts import Charged, Report, Sample

#: Points of a curve: more cannot be told apart at this size.
_POINTS_MAX = 120

RESULTS = {"ok": "passed", "warn": "look at", "fail": "FAILED"}


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """Power over time, in parts of 1 of the drawing's width and height; the y axis ends at `top_w`."""

    points: tuple[tuple[float, float], ...]
    top_w: int
    seconds: int


def facts(report: Report) -> list[tuple[str, str]]:
    """Who, where, when."""
    return [
        ("Site", f"{report.site}, {report.address}"),
        ("Till", report.device),
        ("Operator", report.seller),
        ("Installer", report.installer or "-"),
        ("Date", f"{report.at:%Y-%m-%d %H:%M} UTC"),
        ("Software", f"Chargetill {report.version}"),
        ("Ledger key", report.ledger_key_id),
        ("Public key", report.ledger_public_key),
    ]


def evse_facts(charged: Charged) -> list[tuple[str, str]]:
    """The devices of one EVSE."""
    identity = charged.identity
    return [
        ("Meter", charged.meter if identity is None else identity.model),
        ("Serial number", "-" if identity is None or identity.serial is None else identity.serial),
        ("Firmware", "-" if identity is None or identity.firmware is None else identity.firmware),
        ("Register", _register(charged.samples)),
        ("Charge point", f"{charged.charge_point}, up to {charged.permitted_a} A"),
        (
            "Permission ends by",
            {"device": "its own watchdog", "guard": "the guard", "restart": "restart"}[charged.lease],
        ),
    ]


def _register(samples: Sequence[Sample]) -> str:
    if not samples:
        return "-"
    return f"{samples[0].energy_wh / 1000:.3f} to {samples[-1].energy_wh / 1000:.3f} kWh"


def figures(charged: Charged) -> list[tuple[str, str]]:
    """The numbers that are looked at first."""
    energy_wh, samples = charged.energy_wh, charged.samples
    peak_w = max((s.power_w for s in samples if s.power_w is not None), default=None)
    return [
        ("energy", "-" if energy_wh is None else f"{energy_wh} Wh"),
        ("time", "-" if not samples else f"{samples[-1].at_s:.0f} s"),
        ("power at most", "-" if peak_w is None else f"{peak_w / 1000:.2f} kW"),
    ]


def phases(charged: Charged) -> list[tuple[str, str, str]]:
    """Phase, volts, amperes, while most power flowed."""
    loaded = [s for s in charged.samples if s.current_ma]
    if not loaded:
        return []
    best = max(loaded, key=lambda s: s.power_w or 0)
    assert best.current_ma is not None
    volts = best.voltage_mv or ()
    return [
        (f"L{n + 1}", f"{volts[n] / 1000:.1f} V" if n < len(volts) else "-", f"{ma / 1000:.2f} A")
        for n, ma in enumerate(best.current_ma)
    ]


def curve(charged: Charged) -> Curve | None:
    """The power that was measured; None where it was not."""
    known = [(s.at_s, s.power_w) for s in charged.samples if s.power_w is not None]
    if len(known) < 2 or known[-1][0] <= 0:
        return None
    step = max(1, len(known) // _POINTS_MAX)
    kept = [*known[::step], known[-1]]
    most_w = max(w for _, w in kept)
    top_w = max(1000, -(-most_w // 1000) * 1000)
    end_s = known[-1][0]
    points = tuple((at / end_s, max(0, w) / top_w) for at, w in kept)
    return Curve(points=points, top_w=top_w, seconds=round(end_s))
