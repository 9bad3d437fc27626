"""The steps of a signed session: whatever the meter holds and whatever is committed, the next one is safe, and
steps end."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.metering.signing import (
    UNNAMED,
    Acknowledge,
    Begin,
    Charge,
    Corrupted,
    End,
    Fetch,
    Idle,
    Journal,
    Lost,
    Ready,
    Running,
    Settled,
    SignedSession,
    marked_session,
    marked_text,
    next_step,
)

OPEN = Charge(session_id="s1")
BEGUN = Charge(session_id="s1", begun=True)
PAIRED = Charge(session_id="s1", begun=True, begin_committed=True)


def closing(charge):
    return msgspec.structs.replace(charge, closing=True)


@pytest.mark.parametrize(
    ("held", "charge", "committed", "step"),
    [
        # the ordinary way
        (Idle(), None, set(), Settled()),
        (Idle(), OPEN, set(), Begin()),
        (Running("s1"), BEGUN, set(), Settled()),
        (Running("s1"), closing(BEGUN), set(), End()),
        (Ready("s1"), closing(BEGUN), set(), Fetch()),
        (Ready("s1"), closing(BEGUN), {"s1"}, Acknowledge()),
        (Idle(), closing(BEGUN), {"s1"}, Settled()),
        (Ready("s1", blocking=False), closing(BEGUN), {"s1"}, Settled()),
        # begun, and the power went before it was committed
        (Running("s1"), OPEN, set(), Begin()),
        (Running("s1", has_begin=True), PAIRED, set(), Settled()),
        (Running("s1", has_begin=True), BEGUN, set(), Begin()),
        # the meter lost power: it closed the session, forgot its name, or forgot it all
        (Ready("s1"), BEGUN, set(), Fetch()),
        (Running(None), BEGUN, set(), Settled()),
        (Running(None), closing(BEGUN), set(), End()),
        (Idle(), BEGUN, set(), Lost("the meter lost the session")),
        (Idle(can_end=True), PAIRED, set(), Settled()),
        (Idle(can_end=True), closing(PAIRED), set(), End()),
        (Idle(can_end=True), closing(BEGUN), set(), Lost("the meter lost the session")),
        (Corrupted(), closing(BEGUN), set(), Lost("the meter's record is corrupted")),
        (Corrupted(), closing(BEGUN), {"s1"}, Acknowledge()),
        (Idle(), closing(OPEN), set(), Lost("the session never began")),
        # somebody else's session is ended, kept, and only then given up
        (Running("s0"), None, set(), End(foreign=True)),
        (Running("s0"), OPEN, set(), End(foreign=True)),
        (Running(None), OPEN, set(), End(foreign=True)),
        (Ready("s0"), OPEN, set(), Fetch()),
        (Ready("s0"), OPEN, {"s0"}, Acknowledge()),
        (Ready(None), None, set(), Fetch()),
        (Ready(None), None, {UNNAMED}, Acknowledge()),
        (Ready("s0", blocking=False), OPEN, set(), Fetch()),
        (Ready("s0", blocking=False), OPEN, {"s0"}, Begin()),
        (Ready("s0", blocking=False), None, set(), Fetch()),
        (Ready("s0", blocking=False), None, {"s0"}, Settled()),
        (Corrupted(), OPEN, set(), Acknowledge()),
        (Corrupted(), None, set(), Acknowledge()),
    ],
)
def test_the_step_that_follows(held, charge, committed, step):
    assert next_step(held, Journal(charge=charge, committed=frozenset(committed))) == step


ids = st.sampled_from(["s1", "s0", None])
holds = st.one_of(
    st.builds(Idle, can_end=st.booleans()),
    st.builds(Running, ids, has_begin=st.booleans()),
    st.builds(Ready, ids, blocking=st.booleans()),
    st.just(Corrupted()),
)
charges = st.one_of(
    st.none(),
    st.builds(
        Charge,
        session_id=st.just("s1"),
        begun=st.booleans(),
        begin_committed=st.booleans(),
        closing=st.booleans(),
    ),
)
journals = st.builds(Journal, charge=charges, committed=st.frozensets(st.sampled_from(["s1", "s0", UNNAMED])))


@settings(max_examples=500)
@given(holds, journals)
def test_no_record_is_acknowledged_before_it_is_committed_and_no_charge_begins_twice(held, journal):
    step = next_step(held, journal)
    match step:
        case Acknowledge():
            lost = isinstance(held, Corrupted)
            assert lost or (held.session_id or UNNAMED) in journal.committed
        case Begin():
            charge = journal.charge
            again = isinstance(held, Running) and held.session_id == charge.session_id
            assert again or not charge.begun
            assert not charge.closing
            assert charge.session_id not in journal.committed
        case Lost():
            assert journal.charge.session_id not in journal.committed


def done(step, held, journal):
    """What a meter holds, and what is committed, after a step. Its records wait until they are acknowledged."""
    charge, committed = journal.charge, journal.committed
    match step:
        case Begin():
            held = Running("s1")
            charge = msgspec.structs.replace(charge, begun=True, begin_committed=True)
        case End():
            held = Ready(held.session_id if isinstance(held, Running) else "s1")
        case Fetch():
            committed |= {held.session_id or UNNAMED}
        case Acknowledge():
            held, committed = Idle(), committed - {UNNAMED}
        case Lost():
            committed |= {"s1"}
    return held, Journal(charge=charge, committed=committed)


@settings(max_examples=500)
@given(holds, journals, st.data())
def test_the_steps_end_and_leave_the_charge_committed_even_if_half_of_them_are_torn(held, journal, data):
    torn = data.draw(st.lists(st.booleans(), min_size=8, max_size=8))
    for step_number in range(30):
        step = next_step(held, journal)
        if isinstance(step, Settled):
            break
        held_after, journal_after = done(step, held, journal)
        was_torn = step_number < len(torn) and torn[step_number]
        held, journal = held_after, journal if was_torn else journal_after
    else:
        pytest.fail("the steps do not end")
    charge = journal.charge
    if charge is not None and charge.closing:
        assert charge.session_id in journal.committed


@given(
    st.from_regex(r"\A[A-Za-z0-9-]{1,36}\Z"),
    st.text(max_size=300),
    st.integers(60, 250),
)
def test_a_session_is_found_again_in_the_text_that_it_marks(session_id, tariff, max_bytes):
    session = SignedSession(session_id=session_id, tariff_text=tariff)
    text = marked_text(session, tariff, max_bytes=max_bytes)
    assert len(text) <= max_bytes
    assert marked_session(text) == session_id


@pytest.mark.parametrize("text", [None, "", "0.49 EUR/kWh", "#", "a#b", "#with_underscore"])
def test_a_text_without_our_mark_names_no_session(text):
    assert marked_session(text) is None
