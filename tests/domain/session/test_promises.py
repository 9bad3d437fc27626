"""The promises I1 to I4 against random histories: taps, cables, silence, crashes, lost answers, wrong clocks."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.domain.session import events as ev
from edge.domain.session.terms import Rules

MOVES = st.one_of(
    st.tuples(st.just("tap"), st.sampled_from("AB")),
    st.tuples(st.just("stranger")),
    st.tuples(st.just("blocked")),
    st.tuples(st.just("pilot"), st.sampled_from("ABCCDEF"), st.booleans()),
    st.tuples(st.just("plug"), st.sampled_from([1_400, 11_000, 22_000])),
    st.tuples(st.just("wait"), st.sampled_from([1, 7, 30, 65, 400, 1000, 5000]), st.booleans()),
    st.tuples(st.just("deliver"), st.integers(1, 3)),
    st.tuples(st.just("sample")),
    st.tuples(st.just("silent"), st.booleans()),
    st.tuples(st.just("swap")),
    st.tuples(st.just("halt")),
    st.tuples(st.just("stop")),
    st.tuples(st.just("checkpoint")),
    st.tuples(st.just("trust")),
    st.tuples(st.just("declines"), st.booleans()),
    st.tuples(st.just("acquirer"), st.sampled_from(["fine", "lost before", "lost after", "refuses"])),
    st.tuples(st.just("expire")),
    st.tuples(st.just("remote start")),
    st.tuples(st.just("bank card")),
    st.tuples(
        st.just("crash"), st.sampled_from([0, 20, 300, 90_000]), st.sampled_from([0, 10]), st.booleans(),
        st.booleans(), st.booleans(), st.booleans(),
    ),
)  # fmt: skip

#: Starts that lead somewhere, so that random moves meet sessions in every state.
CHARGING = (("tap", "A"), ("deliver", 1), ("plug", 11_000), ("deliver", 1), ("wait", 400, True))
STARTS = st.sampled_from(
    [
        (("tap", "A"),),
        (("tap", "A"), ("deliver", 1), ("plug", 11_000)),
        (("bank card",), ("deliver", 1), ("plug", 22_000), ("deliver", 1), ("wait", 400, True)),
        CHARGING,
        (*CHARGING, ("checkpoint",), ("wait", 65, True)),
        (*CHARGING, ("pilot", "B", False), ("wait", 400, True)),
        (*CHARGING, ("silent", True), ("wait", 30, True)),
        (("plug", 22_000), ("tap", "A"), ("deliver", 2), ("wait", 1000, True), ("pilot", "A", False)),
    ]
)


def play_acquirer(charger, move):
    match move:
        case ("acquirer", mode):
            charger.acquirer.mode = mode
        case ("expire",):
            charger.acquirer.expire()
        case ("declines", declines):
            charger.acquirer.declines = declines


def play_start(charger, move):
    match move:
        case ("tap", card):
            charger.tap(card)
        case ("bank card",):
            charger.tap("C", method="terminal")
        case ("remote start",):
            charger.start_remotely()


def play(charger, move):
    match move:
        case ("acquirer" | "expire" | "declines", *_):
            play_acquirer(charger, move)
        case ("tap" | "bank card" | "remote start", *_):
            play_start(charger, move)
        case ("stranger",):
            before = charger.state.session
            charger.tap("X", member=False)
            assert charger.state.session == before
        case ("blocked",):
            before = charger.state.session
            charger.tap("Y", blocked=True)
            assert charger.state.session == before
        case ("pilot", pilot, limited):
            charger.pilot_to(pilot, limited=limited)
        case ("plug", power_w):
            charger.plug(power_w=power_w)
        case ("wait", seconds, deliver):
            charger.wait(seconds, deliver=deliver)
        case ("deliver", count):
            charger.deliver(count)
        case ("sample",):
            charger.sample()
        case ("silent", silent):
            charger.silent = silent
        case ("swap",):
            charger.identity = type(charger.identity)(
                model="M", serial="2" if charger.identity.serial == "1" else "1"
            )
        case ("halt",):
            charger.send(ev.MeterHaltedNow(at=charger.now(), reason="jump"))
        case ("stop",):
            charger.send(ev.StopRequested(at=charger.now()))
        case ("checkpoint",):
            charger.send(ev.CheckpointDue(at=charger.now()))
        case ("trust",):
            charger.trust()
        case ("crash", off_s, leaks_s, new_boot, trusted, lost, answer):
            charger.crash(
                off_s=off_s, leaks_s=leaks_s, new_boot=new_boot, trusted=trusted, loses_answers=lost
            )
            if answer:
                charger.devices_answer()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    tariff=st.sampled_from(["flat and energy", "by the hour", "free"]),
    trusted=st.booleans(),
    offset_s=st.sampled_from([-1_700_000_000, -3600, 5, 40_000_000]),
    hold_minor=st.sampled_from([1, 42, 60, 300, 1_000_000]),
    hold_max_minor=st.sampled_from([0, 500, 2_000_000]),
    start=STARTS,
    moves=st.lists(MOVES, max_size=14),
)
def test_whatever_happens_the_promises_hold(
    charger, tariff, trusted, offset_s, hold_minor, hold_max_minor, start, moves
):
    till = charger(
        tariff,
        trusted=trusted,
        offset_s=offset_s,
        hold_minor=hold_minor,
        hold_max_minor=hold_max_minor,
        rules=Rules(checkpoint_s=120),
    )
    for move in (*start, *moves):
        play(till, move)
    till.silent = False
    till.rest()
