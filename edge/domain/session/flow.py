"""What a meter shows while nothing may flow: whether it is more than a charger needs for itself.

Three rules, whose bounds are watts and seconds of what every car and every charger does:

- a car that may draw takes 6 A on one phase at the least (IEC 61851-1: 1,380 W); a meter's own supply, a controller and
  a coil behind the meter take some ten watts. `FLOW_W` lies between, with room on both sides; a station that draws more
  by itself is configured with that (`own_power_w`), and only what comes on top of it is a flow;
- a car has some seconds to stop drawing after the pilot says so, and an opened contactor is seen open: `RAMP_S`; where
  nobody has confirmed that it opened, its lease has to run out before;
- a register counts in steps of up to 100 Wh: it has to move by more than two steps within the time that `FLOW_W` takes
  for that, so that no standby consumption of a night ever adds up to a flow. It has to move twice: what a register
  shows late (some are renewed every minute) comes at once.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from edge.domain.energy import MeterValue
from edge.domain.instant import Instant
from edge.domain.session.state import Evidence, Opened

FLOW_W: Final = 300
FLOW_MA: Final = 2000  # of all phases together, for a meter that does not say its power
_VOLTS: Final = 230
RAMP_S: Final = 10
#: No charge point keeps its contactor closed longer by itself (edge/runtime/permission.py).
LEASE_MAX_S: Final = 60

#: A flow that is seen for so long, in so many readings, is none of a moment.
SHOWN_S: Final = 10
SHOWN_READINGS: Final = 5
MOVES: Final = 2


def flows(value: MeterValue, *, own_power_w: int = 0) -> bool:
    """Whether more flows than a charger needs for itself; False also where the meter does not say, or not surely."""
    if not value.flow_sure:
        return False
    if value.power_w is not None:
        return value.power_w >= FLOW_W + own_power_w
    own_ma = 1000 * own_power_w // _VOLTS
    return value.current_ma is not None and sum(value.current_ma) >= FLOW_MA + own_ma


def settled(opened: Opened, at: Instant) -> bool:
    """Whether nothing may flow any more."""
    if opened.done is not None and at.seconds_since(opened.done) >= RAMP_S:
        return True
    return at.seconds_since(opened.at) >= LEASE_MAX_S + RAMP_S


def read(opened: Opened, value: MeterValue, *, rated_power_w: int, own_power_w: int = 0) -> Opened:
    """What one more accepted reading adds. The meter measures up to `rated_power_w`, the station itself draws up to
    `own_power_w`.
    """
    if not value.sure or not settled(opened, value.at):
        return opened
    if flows(value, own_power_w=own_power_w):
        opened = replace(opened, drawing=opened.drawing or value.at, drawn=opened.drawn + 1, quiet=None)
    else:
        opened = replace(opened, drawing=None, drawn=0, quiet=opened.quiet or value.at)
    if opened.window is None:
        return _looked(opened, value, gained=False)
    gained_wh = value.energy_wh - opened.window_wh
    elapsed_s = value.at.seconds_since(opened.window)
    if value.energy_wh > opened.seen_wh:
        opened = replace(opened, seen_wh=value.energy_wh, moves=opened.moves + 1)
    step_wh = value.resolution_wh
    shown_wh = 2 * step_wh + 10
    if gained_wh < 0 or 36_000 * (gained_wh - 2 * step_wh) > 11 * rated_power_w * elapsed_s:
        return replace(opened, window=None)  # no flow does that: a rollover, a repaired register
    in_time = FLOW_W * elapsed_s <= 3600 * shown_wh
    beyond = 3600 * (gained_wh - shown_wh) >= own_power_w * elapsed_s
    if beyond and in_time and opened.moves >= MOVES:
        return replace(_looked(opened, value, gained=True), quiet=None)
    if not in_time:
        return _looked(opened, value, gained=False)
    return opened


def _looked(opened: Opened, value: MeterValue, *, gained: bool) -> Opened:
    """One window is over, and the next begins."""
    wh = value.energy_wh
    return replace(opened, window=value.at, window_wh=wh, seen_wh=wh, moves=0, gained=gained)


def evidence(opened: Opened, at: Instant) -> Evidence | None:
    """What shows that something flows, or None."""
    if opened.gained:
        return "energy"
    drawing = opened.drawing
    if drawing is not None and opened.drawn >= SHOWN_READINGS and at.seconds_since(drawing) >= SHOWN_S:
        return "power"
    return None
