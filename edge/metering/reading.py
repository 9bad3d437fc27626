"""The validated reading: which meter values may be billed.

Pure: a frozen state, one rule per sample, and a verdict. A register that goes back, jumps, freezes or
disagrees with the meter's own power is never billed; a single bad sample costs nothing, a lasting
contradiction halts.

>>> state = begin(Limits(rated_power_w=22_000), Sample(at_ns=0, energy_wh=1000))
>>> state, verdict = judge(state, Sample(at_ns=10**9, energy_wh=1003))
>>> verdict
Accepted(energy_wh=1003)
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

NS = 1_000_000_000
WH_NS = 3600 * NS  # watt-nanoseconds in a watt-hour
SUSPECTS_AGREE = 3  # mutually consistent samples after which a jump is taken for real
SUSPECT_MAX_S = 30
STALE_S = 10  # a time-out, a quarantine and two retries
LATE_MAX_S = 31  # every reply that a line kept back has come by then (hw/bus/bus.py, `ghost_s`)
STANDSTILL_WH = 50  # power was measured for so long, and no energy counted
RATIO_WINDOW_WH = 500
RATIO_WINDOW_STEPS = 40  # one more or less, as the register happens to step, no longer tells there
#: A wrong unit or transformer is off by a factor of two at the least, sums of polls by less.
RATIO_MAX_TENTHS = 19

#: Below this part of its rated power a meter need not count at all: its starting current is at most 0.04 of the
#: transitional one, and that at most a fiftieth of the highest (2014/32/EU, annex V, table 1, class B and C).
STARTING_PART = 1250
ROLLOVER_PART = 1000  # a rollover begins and ends within 0.1 % of the register's capacity

HaltReason = Literal["jump", "backwards", "suspect_too_long", "standstill", "power_mismatch", "identity"]


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What is plausible. The energy register wraps to 0 at `rollover_wh`; None when it never does."""

    rated_power_w: int
    rollover_wh: int | None = None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One reading. `at_ns` is monotonic time of arrival; see edge.domain.energy.MeterValue for the rest."""

    at_ns: int
    energy_wh: int
    resolution_wh: int = 1
    power_w: int | None = None
    sure: bool = True


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """A poll that brought no value. It is an event of its own, never a zero."""

    at_ns: int


class Accepted(msgspec.Struct, frozen=True):
    """Billable. `energy_wh` counts on through a rollover of the register."""

    energy_wh: int


class Held(msgspec.Struct, frozen=True):
    """A step back by at most the register's resolution: the last good value stands."""

    energy_wh: int


class Suspect(msgspec.Struct, frozen=True):
    """Not believed yet; nothing is billed for it. `energy_wh` is the last good value."""

    energy_wh: int
    reason: str


class Stale(msgspec.Struct, frozen=True):
    """No believable value for longer than STALE_S: the contactor must open until one is accepted again."""

    energy_wh: int
    age_s: float


class Halted(msgspec.Struct, frozen=True):
    """The session ends at `energy_wh`, the last good value, flagged as estimated. There is no way back."""

    energy_wh: int
    reason: HaltReason


Verdict: TypeAlias = Accepted | Held | Suspect | Stale | Halted


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules remember between samples."""

    limits: Limits
    good: Sample
    wrapped_wh: int = 0
    suspects: tuple[Sample, ...] = ()
    suspect_since_ns: int | None = None
    previous: Sample | None = None
    """The last usable sample, accepted or held: from it the power is integrated."""
    still_wns: int = 0
    """Watt-nanoseconds of measured power since the energy last moved; `faint_wns`: of power so low that it may be
    counted or not.
    """
    faint_wns: int = 0
    window_wh: int = 0
    window_wns: int = 0
    """Of the energy that moved, and of the power that was measured meanwhile."""
    halted: HaltReason | None = None

    @property
    def energy_wh(self) -> int:
        """The last billable value, counted on through rollovers."""
        return self.good.energy_wh + self.wrapped_wh


def begin(limits: Limits, sample: Sample, *, wrapped_wh: int = 0) -> State:
    """The state that starts from a confirmed reading (see `confirm`), or from the last committed one at
    boot.
    """
    return State(limits=limits, good=sample, previous=sample, wrapped_wh=wrapped_wh)


def confirm(limits: Limits, first: Sample, second: Sample) -> Sample | None:
    """The double read at begin and end: the second one when it can follow the first, else None. One step back is
    held, as everywhere.
    """
    if not first.sure or not second.sure or second.at_ns < first.at_ns:
        return None
    if -_resolution_wh(first, second) <= second.energy_wh - first.energy_wh < 0:
        return msgspec.structs.replace(second, energy_wh=first.energy_wh)
    return second if _follows(limits, first, second) else None


def again(state: State, first: Sample, second: Sample) -> Sample | None:
    """The double read at the begin of a session, where the meter was watched before: the register went on from there.
    One that trembles begins at the last good value.
    """
    for sample in (first, second):
        state, verdict = judge(state, sample)
    if confirm(state.limits, first, second) is None or not isinstance(verdict, Accepted | Held):
        return None
    return msgspec.structs.replace(second, energy_wh=max(second.energy_wh, state.good.energy_wh))


def end(state: State, first: Sample, second: Sample) -> tuple[int, bool]:
    """The energy that a session ends with, and whether it is only an estimate: the last good value."""
    for sample in (first, second):
        state, verdict = judge(state, sample)
    confirmed = confirm(state.limits, first, second) is not None
    return state.energy_wh, not (confirmed and isinstance(verdict, Accepted | Held))


def halt(state: State, reason: HaltReason) -> tuple[State, Verdict]:
    """End it from outside: another meter answers than the session began with."""
    state = msgspec.structs.replace(state, halted=state.halted or reason)
    return state, Halted(state.energy_wh, state.halted or reason)


def judge(state: State, event: Sample | Failed) -> tuple[State, Verdict]:
    """The verdict on one poll."""
    if state.halted is not None:
        return state, Halted(state.energy_wh, state.halted)
    since_ns = state.suspect_since_ns
    if since_ns is not None and event.at_ns - since_ns > SUSPECT_MAX_S * NS and not _usable(state, event):
        return halt(state, "suspect_too_long")
    if isinstance(event, Failed):
        return _unknown(state, event.at_ns, "no reading")
    if not event.sure:
        return _late(state, event)
    if _fits(state, event):
        return _measured(state, event, moved=event.energy_wh - state.good.energy_wh)
    if -event.resolution_wh <= event.energy_wh - state.good.energy_wh < 0:
        return _measured(state, event, moved=None)
    return _doubt(state, event)


def _late(state: State, sample: Sample) -> tuple[State, Verdict]:
    """A value that may be half a minute old. The register has reached it, so it may be billed; what comes next is not
    measured against it. One that lies before the last good value says nothing, unless that is older than any reply.
    """
    good = state.good
    if (
        sample.energy_wh < good.energy_wh - sample.resolution_wh
        and sample.at_ns - good.at_ns > LATE_MAX_S * NS
    ):
        return _unknown(state, sample.at_ns, "backwards")
    if sample.energy_wh < good.energy_wh:
        return state, Held(state.energy_wh)
    if not _follows(state.limits, good, sample):
        return _unknown(state, sample.at_ns, "jump")
    state = msgspec.structs.replace(state, suspects=(), suspect_since_ns=None)
    return state, Accepted(sample.energy_wh + state.wrapped_wh)


def _usable(state: State, event: Sample | Failed) -> bool:
    return isinstance(event, Sample) and _fits(state, event)


def _fits(state: State, sample: Sample) -> bool:
    """Whether it can come next. A register that moves only every some seconds stood still while its own power was
    measured, and may make up for that.
    """
    if _follows(state.limits, state.good, sample):
        return True
    moved_wh = sample.energy_wh - state.good.energy_wh - 2 * _resolution_wh(state.good, sample)
    elapsed_ns = sample.at_ns - state.good.at_ns
    if not sample.sure or not state.still_wns or moved_wh < 0 or elapsed_ns < 0:
        return False
    return 10 * moved_wh * WH_NS <= 11 * (state.still_wns + state.limits.rated_power_w * elapsed_ns)


def _unknown(state: State, at_ns: int, reason: str) -> tuple[State, Verdict]:
    age_ns = at_ns - (state.previous or state.good).at_ns
    if age_ns > STALE_S * NS:
        return state, Stale(state.energy_wh, age_ns / NS)
    return state, Suspect(state.energy_wh, reason)


def _follows(limits: Limits, earlier: Sample, later: Sample) -> bool:
    """0 <= dE <= 1.1 x Pmax x dt + 2 resolutions, in integers."""
    moved_wh = later.energy_wh - earlier.energy_wh
    elapsed_ns = later.at_ns - earlier.at_ns
    if moved_wh < 0 or elapsed_ns < 0:
        return False
    return (
        10 * (moved_wh - 2 * _resolution_wh(earlier, later)) * WH_NS <= 11 * limits.rated_power_w * elapsed_ns
    )


def _resolution_wh(earlier: Sample, later: Sample) -> int:
    return max(earlier.resolution_wh, later.resolution_wh)


def _measured(state: State, sample: Sample, *, moved: int | None) -> tuple[State, Verdict]:
    """A sample that fits (or that only trembles, `moved` None): integrate its power and compare."""
    verdict: Verdict = Held(state.energy_wh) if moved is None else Accepted(state.energy_wh + moved)
    measured = _integrated(state, sample, moved_wh=moved or 0)
    if measured.still_wns > max(STANDSTILL_WH, 2 * sample.resolution_wh) * WH_NS:
        return halt(state, "standstill")
    if _contradicted(measured, sample.resolution_wh):
        return halt(state, "power_mismatch")
    if max(measured.window_wh * WH_NS, measured.window_wns) >= _window_wh(sample.resolution_wh) * WH_NS:
        measured = msgspec.structs.replace(measured, window_wh=0, window_wns=0)
    return msgspec.structs.replace(
        measured,
        good=state.good if moved is None else sample,
        previous=sample,
        suspects=(),
        suspect_since_ns=None,
    ), verdict


def _integrated(state: State, sample: Sample, *, moved_wh: int) -> State:
    """Power is compared with energy whenever that has moved; what is measured until then waits beside it."""
    wns = _integral(state.previous, sample)
    if wns is None:
        return state if not moved_wh else msgspec.structs.replace(state, still_wns=0, faint_wns=0)
    if moved_wh:
        counted_wns = state.still_wns + wns + min(state.faint_wns, moved_wh * WH_NS)
        return msgspec.structs.replace(
            state,
            still_wns=0,
            faint_wns=0,
            window_wh=state.window_wh + moved_wh,
            window_wns=state.window_wns + counted_wns,
        )
    elapsed_ns = sample.at_ns - (state.previous or sample).at_ns
    if wns * STARTING_PART < state.limits.rated_power_w * elapsed_ns:
        return msgspec.structs.replace(state, faint_wns=state.faint_wns + wns)
    return msgspec.structs.replace(state, still_wns=state.still_wns + wns)


def _window_wh(resolution_wh: int) -> int:
    return max(RATIO_WINDOW_WH, RATIO_WINDOW_STEPS * resolution_wh)


def _contradicted(state: State, resolution_wh: int) -> bool:
    """After RATIO_WINDOW_WH: energy and power belong to different units or transformers, also if most of the first
    step had flowed before.
    """
    energy_wns, power_wns = state.window_wh * WH_NS, state.window_wns
    if max(energy_wns, power_wns) < RATIO_WINDOW_WH * WH_NS:
        return False
    surely_wns = energy_wns - resolution_wh * WH_NS
    return 10 * surely_wns > RATIO_MAX_TENTHS * power_wns or 10 * power_wns > RATIO_MAX_TENTHS * energy_wns


def _integral(earlier: Sample | None, later: Sample) -> int | None:
    """Watt-nanoseconds between two samples by the trapezoid rule; None when the power was not known all along."""
    if earlier is None or earlier.power_w is None or later.power_w is None:
        return None
    elapsed_ns = later.at_ns - earlier.at_ns
    if elapsed_ns > STALE_S * NS:
        return None  # the contactor may have been open in between
    return (max(0, earlier.power_w) + max(0, later.power_w)) * max(0, elapsed_ns) // 2


def _doubt(state: State, sample: Sample) -> tuple[State, Verdict]:
    """A sample that cannot follow the last good one: wait for others that agree with it."""
    agreeing = state.suspects
    if not agreeing or not _follows(state.limits, agreeing[-1], sample):
        agreeing = ()
    agreeing = (*agreeing, sample)
    since_ns = sample.at_ns if state.suspect_since_ns is None else state.suspect_since_ns
    state = msgspec.structs.replace(state, suspects=agreeing, suspect_since_ns=since_ns)
    backwards = sample.energy_wh < state.good.energy_wh
    if len(agreeing) < SUSPECTS_AGREE:
        return _unknown(state, sample.at_ns, "backwards" if backwards else "jump")
    capacity_wh = state.limits.rollover_wh
    if capacity_wh is not None and _wrapped(state.limits, capacity_wh, state.good, sample):
        moved_wh = sample.energy_wh + capacity_wh - state.good.energy_wh
        energy_wh = state.energy_wh + moved_wh
        return msgspec.structs.replace(
            state,
            good=sample,
            previous=sample,
            wrapped_wh=state.wrapped_wh + capacity_wh,
            suspects=(),
            suspect_since_ns=None,
            still_wns=0,
            faint_wns=0,
        ), Accepted(energy_wh)
    return halt(state, "backwards" if backwards else "jump")


def _wrapped(limits: Limits, capacity_wh: int, good: Sample, sample: Sample) -> bool:
    edge_wh = capacity_wh // ROLLOVER_PART
    near = good.energy_wh >= capacity_wh - edge_wh and sample.energy_wh <= edge_wh
    unwrapped = msgspec.structs.replace(sample, energy_wh=sample.energy_wh + capacity_wh)
    return near and _follows(limits, good, unwrapped)
