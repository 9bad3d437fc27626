"""A meter that signs is billed by what it signed, whatever step its plain register and its record are cut to."""

from __future__ import annotations

import msgspec
import pytest

from edge.domain.session import effects as fx
from edge.domain.session import events as ev


def sold(charger, *, step_wh, begin_mwh, seconds, signed):
    """A session at a register that steps by `step_wh`, whose record says `signed` of true begin and end in mWh."""
    till = charger()
    till.register_mwh += begin_mwh
    began_mwh, fine, carry_out = till.register_mwh, till.value, till._do

    def coarse():
        value = fine()
        return msgspec.structs.replace(
            value, energy_wh=value.energy_wh // step_wh * step_wh, resolution_wh=step_wh
        )

    def proven(effect):
        answer = carry_out(effect)
        if isinstance(effect, fx.ReadEnd) and isinstance(answer, ev.EndRead):
            answer = msgspec.structs.replace(answer, signed_wh=signed(began_mwh, till.register_mwh))
        return answer

    till.value, till._do = coarse, proven
    till.tap()
    till.deliver()
    till.plug()
    till.deliver()
    till.wait(seconds)
    till.tap()
    till.deliver()
    till.deliver()
    draft = till.journal.invoices()[-1].draft
    assert not draft.estimated
    return draft, signed(began_mwh, till.register_mwh)


@pytest.mark.parametrize("seconds", [311, 397, 600])
@pytest.mark.parametrize("begin_mwh", [0, 3_000, 9_000, 9_999])
@pytest.mark.parametrize(
    "signed",
    [
        lambda begin, end: (end - begin) // 10_000 * 10,
        lambda begin, end: end // 10_000 * 10 - begin // 10_000 * 10,
        lambda begin, end: (end - begin) // 1000,
    ],
    ids=["the difference, cut", "registers, cut", "in single Wh"],
)
def test_a_coarse_register_never_runs_ahead_of_what_the_meter_signs(charger, seconds, begin_mwh, signed):
    draft, signed_wh = sold(charger, step_wh=10, begin_mwh=begin_mwh, seconds=seconds, signed=signed)
    assert (draft.energy_wh, draft.meter.signed) == (signed_wh, True)


def test_a_record_that_contradicts_the_register_is_not_what_is_billed(charger):
    draft, signed_wh = sold(charger, step_wh=10, begin_mwh=0, seconds=600, signed=lambda _b, _e: 90_000)
    assert draft.meter.signed is False
    assert draft.energy_wh < signed_wh
