"""A register that is renewed only now and then shows energy late: no contactor is taken for welded because of it."""

import msgspec
import pytest

from edge.domain.energy import MeterValue
from edge.domain.instant import Instant
from edge.domain.session import flow
from edge.domain.session.state import Opened

NOW = Instant(utc=None, boot_id="b", monotonic_ns=0)


def found_after_s(power_w, *, every_s, opens_s, resolution_wh=1):
    """Seconds until a flow is found by a register that is renewed every so often; the flow ends at `opens_s`."""
    opened = Opened(at=NOW, done=NOW)
    for second in range(-60, 1_500):
        renewed = min(second - (second - 23) % every_s, opens_s)
        shown_wh = 10_000 + power_w * (renewed + 60) // 3600
        value = MeterValue(
            at=msgspec.structs.replace(NOW, monotonic_ns=max(0, second) * 10**9),
            energy_wh=shown_wh - shown_wh % resolution_wh,
            resolution_wh=resolution_wh,
        )
        if second >= 0:
            opened = flow.read(opened, value, rated_power_w=69_000)
        if flow.evidence(opened, value.at) is not None:
            return second
    return None


@pytest.mark.parametrize("every_s", [1, 10, 30, 60])
@pytest.mark.parametrize("power_w", [1_380, 11_000, 22_000])
@pytest.mark.parametrize("resolution_wh", [1, 10, 100])
def test_what_flowed_before_and_is_shown_late_is_no_flow(every_s, power_w, resolution_wh):
    assert found_after_s(power_w, every_s=every_s, opens_s=0, resolution_wh=resolution_wh) is None


@pytest.mark.parametrize("every_s", [1, 10, 30, 60])
@pytest.mark.parametrize("power_w", [1_380, 11_000, 22_000])
def test_what_flows_on_is_found_by_a_slow_register_too(every_s, power_w):
    found_s = found_after_s(power_w, every_s=every_s, opens_s=1_500)
    assert found_s is not None
    assert found_s <= flow.RAMP_S + max(3 * every_s, 144)
