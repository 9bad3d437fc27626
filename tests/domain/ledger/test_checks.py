"""What `ledger verify` finds in a ledger that somebody changed, and that it finds nothing in a good one."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge.domain.ledger.checks import Checker
from edge.domain.ledger.envelope import GENESIS, Entry, digest, open_envelope
from edge.domain.ledger.signature import checkpoint_message
from edge.domain.session import events as ev
from edge.store.keys import LedgerKey


def history(charger):
    """Two invoiced sessions (one over a power cut), one that nobody plugged in, one declined."""
    till = charger("flat and energy")
    for card, cut in (("A", False), ("B", True)):
        till.tap(card)
        till.deliver()
        till.plug()
        till.deliver()
        till.wait(400)
        if cut:
            till.crash(off_s=60, new_boot=True)
            till.devices_answer()
            till.wait(100)
        till.pilot_to("A")
        till.deliver()
        till.deliver()
    till.wait(600)
    till.tap()
    till.deliver()
    till.wait(400)
    till.acquirer.declines = True
    till.tap("B")
    till.deliver()
    return till


@pytest.fixture(scope="module")
def good(charger):
    till = history(charger)
    assert till.state.session is None
    return till.journal


def verify(entries, *, public_key=None):
    checker = Checker(public_key=public_key)
    for entry in entries:
        checker.add(entry)
    return checker.report()


def rebuilt(entries, key, change):
    """The ledger as its own device would have written it, had the facts been what `change` makes of them.

    `change(type, data)` gives the data of the entries that stand there instead, each with its type.
    """
    made = []
    head, seq = GENESIS, 0
    for entry in entries:
        envelope = open_envelope(entry.raw)
        for kind, data in change(entry.type, json.loads(bytes(envelope.data))):
            seq += 1
            if kind == "chargetill.ledger.checkpoint.v1" and key is not None:
                message = checkpoint_message(epoch=envelope.epoch, upto=seq - 1, head=head)
                data = {"upto": seq - 1, "head": head, "signature": key.sign(message)}  # noqa: PLW2901
            new = replace(
                envelope, type=kind, seq=str(seq), prevhash=head, data=msgspec.Raw(json.dumps(data).encode())
            )
            raw = msgspec.json.encode(new)
            head = digest(raw)
            made.append(Entry(epoch=new.epoch, seq=seq, type=kind, subject=new.subject, raw=raw, hash=head))
    return made


def keep(kind, data):
    return [(kind, data)]


def test_a_good_ledger_has_no_problems(good):
    report = verify(good.entries(), public_key=good.key.public_hex)
    assert report.problems == ()
    assert (report.sessions, report.invoices, report.open_holds) == (4, 2, ())
    assert report.verified_from == 1
    assert verify(rebuilt(good.entries(), good.key, keep)).problems == ()


@pytest.mark.parametrize("deliveries", range(6))
def test_a_running_session_is_no_problem(charger, deliveries):
    """Its hold is listed as open, whatever it waits for."""
    till = charger()
    till.tap()
    till.plug()
    for _ in range(deliveries):
        till.deliver(1)
        if deliveries > 2:
            till.wait(60, deliver=False)
        if deliveries > 3:
            till.send(ev.StopRequested(at=till.now()))
    report = till.verified()
    assert report.problems == ()
    ended = till.state.session is None
    assert len(report.open_holds) == (0 if ended else 1)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_is_found(good, data):
    """Also where its hash was corrected, up to the last entry: only the signature to come covers that one."""
    entries = good.entries()
    number = data.draw(st.integers(0, len(entries) - 1))
    raw = bytearray(entries[number].raw)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    hashes = [entries[number].hash]
    if number < len(entries) - 1:
        hashes.append(digest(bytes(raw)))
    for stored_hash in hashes:
        entries[number] = replace(entries[number], raw=bytes(raw), hash=stored_hash)
        assert verify(entries).problems


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_entries_that_are_missing_moved_or_doubled_are_found(good, data):
    entries = good.entries()
    number = data.draw(st.integers(0, len(entries) - 2))
    entry = entries.pop(number)
    assert verify(entries).problems
    entries.insert(number + 1, entry)
    assert verify(entries).problems
    entries.insert(number, entry)
    assert verify(entries).problems


def changed(kind, **fields):
    """The first entry of this kind says something else."""
    done = []

    def change(found, data):
        if found == f"chargetill.{kind}.v1" and not done:
            done.append(True)
            for path, value in fields.items():
                *way, last = path.split("__")
                place = data
                for name in way:
                    place = place[name]
                assert last in place, path
                place[last] = value(place[last]) if callable(value) else value
        return [(found, data)]

    return change


def without(*kinds):
    return lambda found, data: [] if found in [f"chargetill.{k}.v1" for k in kinds] else [(found, data)]


def doubled(kind):
    return lambda found, data: [(found, data)] * (2 if found == f"chargetill.{kind}.v1" else 1)


def more(amount):
    return lambda value: value + amount


def swapped(first, second):
    """Every pair of neighbors of these kinds the other way round."""
    held = []

    def change(found, data):
        if found == f"chargetill.{first}.v1":
            held.append((found, data))
            return []
        out = [(found, data)]
        if found == f"chargetill.{second}.v1" and held:
            out.append(held.pop())
        return out

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (changed("payment.captured", amount_minor=more(1)), "not the session's price"),
        (changed("payment.authorized", hold_minor=10), "of a hold of 10"),
        (changed("payment.authorized", payment_ref="0"), "never requested"),
        (doubled("payment.captured"), "ended 2 times"),
        (doubled("payment.reversed"), "ended 2 times"),
        (doubled("payment.requested"), "requested twice"),
        (without("payment.captured"), "the hold has not"),
        (without("payment.authorized"), "without an authorized payment"),
        (swapped("payment.authorized", "session.energy_began"), "without an authorized payment"),
        (doubled("session.opened"), "opens twice"),
        (without("session.opened"), "never opened"),
        (without("session.ended"), "is invoiced and has not ended"),
        (without("payment.capture_requested", "payment.captured", "session.ended"), "in use by session"),
        (doubled("session.energy_began"), "begins twice"),
        (doubled("session.settled"), "settled twice"),
        (changed("session.energy_began", register_wh=more(-500)), "not end minus begin"),
        (changed("session.energy_ended", energy_wh=more(-1)), "not end minus begin"),
        (changed("session.energy_ended", register_wh=more(7), energy_wh=more(7)), "another energy"),
        (changed("session.energy_ended", estimated=True), "whether its energy is estimated"),
        (changed("session.energy_began", began_at="2026-03-28T19:00:00Z"), "another time"),
        (changed("session.energy_began", meter={"model": "M", "serial": "9"}), "names another meter"),
        (changed("session.resumed", register_wh=more(-5000)), "the register goes back"),
        (changed("session.settled", payable_minor=more(-100)), "its bill says"),
        (changed("session.settled", currency="CHF"), "is priced in CHF"),
        (changed("session.settled", bill__invoice__payable_minor=more(-100)), "priced again it comes to"),
        (changed("session.settled", accrual__energy=more(-100)), "another energy"),
        (changed("session.settled", accrual__tallies=[[99, 100]]), "cannot be priced again"),
        (changed("tariff.frozen", document=lambda d: d.replace("0.49", "0.39")), "not the one of its hash"),
        (changed("tariff.frozen", hash="0" * 64), "not the one of its hash"),
        (without("tariff.frozen"), "cannot be priced again"),
        (changed("invoice.sealed", invoice__sequence=2), "should be number 1"),
        (changed("invoice.sealed", invoice__number="CT-X-000001"), "is not numbered by its series"),
        (changed("invoice.sealed", invoice__series="CT-OTHER"), "another epoch's series"),
        (changed("invoice.sealed", invoice__draft__figures__payable_minor=more(-1)), "the session's price"),
        (changed("invoice.sealed", invoice__draft__figures__lines=[]), "is not the session's price"),
        (changed("invoice.sealed", invoice__draft__energy_wh=more(-1)), "another energy"),
        (changed("invoice.sealed", invoice__draft__meter__begin_wh=more(-1)), "other registers"),
        (changed("invoice.sealed", invoice__draft__paid__captured_minor=more(1)), "what was captured differ"),
        (changed("invoice.sealed", invoice__draft__tariff__hash="0" * 64), "names another tariff"),
        (changed("invoice.sealed", invoice__draft__session_id="f" * 32), "names another session"),
        (changed("invoice.sealed", invoice__draft__begin="2026-03-28T19:00:00Z"), "lasts longer"),
        (without("invoice.sealed"), "with 0 invoices"),
        (doubled("invoice.sealed"), "has 2 invoices"),
        (without("ledger.checkpoint"), "is not signed"),
        (without("ledger.opened"), "does not begin with its opening"),
        (changed("ledger.opened", public_key="zz"), "not the one that its id names"),
        (doubled("ledger.opened"), "which is open"),
    ],
)  # fmt: skip
def test_a_device_that_lies_in_its_own_hand_is_found_out(good, change, says):
    """Chain and signatures are right in all of these: only the facts contradict each other."""
    problems = verify(rebuilt(good.entries(), good.key, change)).problems
    assert problems
    assert says in "; ".join(problems)


def test_a_chain_that_was_built_again_does_not_carry_the_signatures(good):
    change = changed("session.opened", account="A-EVIL")
    as_they_were = rebuilt(good.entries(), None, change)
    assert "signs another chain" in "; ".join(verify(as_they_were).problems)
    with_another_key = rebuilt(good.entries(), LedgerKey(Ed25519PrivateKey.generate()), change)
    assert "the signature is not valid" in "; ".join(verify(with_another_key).problems)


def test_another_key_is_found_where_the_right_one_is_known(good):
    other = LedgerKey(Ed25519PrivateKey.generate())
    change = changed("ledger.opened", public_key=other.public_hex, key_id=other.key_id)
    forged = [
        replace(e, raw=re.sub(rb'"keyid":"[0-9a-f]+"', b'"keyid":"%s"' % other.key_id.encode(), e.raw))
        for e in rebuilt(good.entries(), other, change)
    ]
    forged = rebuilt(forged, other, keep)
    assert verify(forged).problems == ()
    found = verify(forged, public_key=good.key.public_hex).problems
    assert any("another key" in p for p in found)
    assert any("signature" in p for p in found)


def test_an_epoch_that_comes_back_is_found(good):
    entries = good.entries()
    again = [replace(e, raw=e.raw.replace(b"EPOCH001", b"EPOCH002"), epoch="EPOCH002") for e in entries[:1]]
    again = [replace(e, hash=digest(e.raw)) for e in again]
    assert verify([*entries, *again]).problems == ()
    assert any("comes back" in p for p in verify([*entries, *again, *entries]).problems)


@pytest.mark.parametrize("seq", ["", "-1", "x", "٣", "9" * 50])
def test_an_entry_without_a_number_is_a_problem_not_a_crash(good, seq):
    entries = good.entries()
    raw = re.sub(rb'"seq":"\d+"', f'"seq":"{seq}"'.encode(), entries[3].raw)
    entries[3] = replace(entries[3], raw=raw, hash=digest(raw))
    assert verify(entries).problems


def test_the_invoices_beside_the_journal_have_to_be_the_sealed_ones(good):
    first, second = good.invoices()
    checker = Checker()
    for entry in good.entries():
        checker.add(entry)
    forged = replace(second, draft=replace(second.draft, account="somebody else"))
    right = msgspec.json.encode(first)
    checker.copies([(first.number, right), (second.number, msgspec.json.encode(forged)), ("CT-9", right)])
    checker.copies([(first.number, right)])
    checker.copies([(first.number, b"{"), (second.number, msgspec.json.encode(second))])
    says = (
        "is not as the journal sealed it",
        "has none of this number",
        "not kept beside it",
        "cannot be read",
    )
    problems = checker.report().problems
    assert len(problems) == len(says)
    assert all(what in problem for what, problem in zip(says, problems, strict=True))


def test_a_broken_ledger_lists_a_bounded_number_of_problems(good):
    entries = [replace(e, hash="0" * 64) for e in good.entries()] * 40
    assert len(verify(entries).problems) == 1000
