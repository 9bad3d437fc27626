"""A charger without devices around the real machine: a real journal, an acquirer, a meter, a car, two clocks.

What the machine asks for waits in `pending` until it is delivered, or is lost with a crash. Whatever happens, the
promises are checked after every step (`Charger.send`) and when everything has come to rest (`Charger.rest`).
"""

from __future__ import annotations

import itertools
import sqlite3
from collections import deque
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from edge.domain import pricing
from edge.domain.buyer import Invoicing
from edge.domain.energy import MeterIdentity, MeterValue
from edge.domain.identity import IdToken, Member, uid_token
from edge.domain.instant import Instant
from edge.domain.invoice import Invoice, Place, Seller
from edge.domain.ledger import facts
from edge.domain.ledger.checks import Checker
from edge.domain.ledger.envelope import Entry, Head
from edge.domain.payment import Authorized, Captured, Declined, Expired, InDoubt, Reversed
from edge.domain.session import effects as fx
from edge.domain.session import events as ev
from edge.domain.session.machine import step
from edge.domain.session.settling import is_due
from edge.domain.session.state import Charging, EvseState, find
from edge.domain.session.terms import Rules, Terms
from edge.domain.tariffs import depends_on_time, freeze
from edge.runtime.controller import _commit
from edge.store.keys import LedgerKey
from edge.store.schema import migrate
from edge.store.transaction import Tx

EVSE = "DE*T*1"
ORIGIN = datetime(2026, 3, 28, 20, 0, tzinfo=UTC)  # Berlin's clocks change in the night that follows
RATED_W = 22_000
KEY = bytes(32)
PLACE = Place(evse_id=EVSE, label="1", address="Platz 1, Berlin", time_zone="Europe/Berlin")
SELLER = Seller(name="S", address="A", country="DE", tax_id="T")
METER = MeterIdentity(model="M", serial="1")
OTHER_METER = MeterIdentity(model="M", serial="2")

TARIFFS = {
    "flat and energy": {"elements": [{"price_components": [
        {"type": "ENERGY", "price": 0.49, "vat": 19, "step_size": 1},
        {"type": "FLAT", "price": 0.35, "vat": 19, "step_size": 1}]}]},
    "by the hour": {"elements": [
        {"price_components": [{"type": "ENERGY", "price": 0.29, "vat": 19, "step_size": 1},
                              {"type": "PARKING_TIME", "price": 6, "vat": 19, "step_size": 60}],
         "restrictions": {"start_time": "22:00", "end_time": "06:00"}},
        {"price_components": [{"type": "ENERGY", "price": 0.59, "vat": 19, "step_size": 1},
                              {"type": "TIME", "price": 3, "vat": 19, "step_size": 1}]}]},
    "free": {"elements": [{"price_components": [{"type": "ENERGY", "price": 0, "step_size": 1}]}]},
}  # fmt: skip


def frozen(name):
    document = {
        "country_code": "DE", "party_id": "CHT", "id": name, "currency": "EUR",
        "last_updated": "2026-01-01T00:00:00Z", **TARIFFS[name],
    }  # fmt: skip
    return freeze(msgspec.json.encode(document))


FROZEN = {name: frozen(name) for name in TARIFFS}
COMPILED = {name: pricing.compile_tariff(f.tariff, time_zone=PLACE.time_zone) for name, f in FROZEN.items()}


def _template():
    db = sqlite3.connect(":memory:", isolation_level=None)
    migrate(db)
    image = db.serialize()
    db.close()
    return image


class Journal:
    """The real tables and the real chain, in memory."""

    key = None
    image = None

    def __init__(self, at):
        if Journal.image is None:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

            Journal.image, Journal.key = _template(), LedgerKey(Ed25519PrivateKey.generate())
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.deserialize(Journal.image)
        self.head = Head(epoch="EPOCH001")
        opened = facts.LedgerOpened(
            site="s", device="d", reason="provisioned", key_id=self.key.key_id, public_key=self.key.public_hex
        )
        self.commit(lambda tx: tx.append(opened, at))

    def commit(self, run):
        tx = Tx(self.db, head=self.head, source="/till/s/d", key=self.key, prefix="CT")
        self.db.execute("BEGIN")
        result = run(tx)
        self.db.execute("COMMIT")
        self.head = tx.head
        return result

    def entries(self):
        rows = self.db.execute("SELECT epoch, seq, type, subject, raw, hash FROM entry ORDER BY id")
        return [Entry(epoch=e, seq=s, type=t, subject=j, raw=bytes(r), hash=h) for e, s, t, j, r, h in rows]

    def state(self):
        row = self.db.execute("SELECT state FROM evse WHERE evse_id = ?", (EVSE,)).fetchone()
        return EvseState(evse_id=EVSE) if row is None else msgspec.json.decode(row[0], type=EvseState)

    def facts(self, kind):
        return [
            msgspec.json.decode(msgspec.json.decode(raw, type=_Data).data, type=kind)
            for (raw,) in self.db.execute("SELECT raw FROM entry WHERE type = ? ORDER BY id", (kind.TYPE,))
        ]

    def invoices(self):
        rows = self.db.execute("SELECT document FROM invoice ORDER BY rowid").fetchall()
        return [msgspec.json.decode(d, type=Invoice) for (d,) in rows]


class _Data(msgspec.Struct):
    data: msgspec.Raw


class Acquirer:
    """Whoever holds the money: every request may come again under its reference, and counts once.

    `mode` is what it is like at the moment: "fine"; "lost before" and "lost after" lose the request or the answer;
    "refuses" says no to everything.
    """

    def __init__(self):
        self.holds = {}
        self.ended = {}
        self.gone = set()
        self.limit_minor = 1_000_000
        self.declines = False
        self.mode = "fine"

    def ask(self, effect):
        if self.mode == "lost before":
            return InDoubt(ref=effect.ref, why="lost")
        if self.mode == "refuses":
            return Declined(ref=effect.ref, reason="terminal_fault")
        match effect:
            case fx.Preauthorize():
                answer = self._preauthorize(effect)
            case fx.Extend():
                answer = self._extend(effect)
            case fx.Capture():
                answer = self._capture(effect)
            case fx.Reverse():
                answer = self._reverse(effect)
        return InDoubt(ref=effect.ref, why="lost") if self.mode == "lost after" else answer

    def expire(self):
        """Every open hold runs out."""
        for ref in self.holds.keys() - self.ended.keys():
            self.gone.add(ref)
            self.ended[ref] = 0

    def _preauthorize(self, effect):
        if effect.ref in self.ended:
            return Declined(ref=effect.ref, reason="over")
        if self.declines and effect.ref not in self.holds:
            return Declined(ref=effect.ref, reason="declined")
        hold = self.holds.setdefault(effect.ref, min(self.limit_minor, effect.amount_minor))
        return Authorized(ref=effect.ref, hold_minor=hold)

    def _extend(self, effect):
        if self.declines or effect.ref in self.ended:
            return Declined(ref=effect.ref, reason="insufficient_funds")
        self.holds[effect.ref] = effect.amount_minor
        return Authorized(ref=effect.ref, hold_minor=effect.amount_minor)

    def _capture(self, effect):
        if effect.ref in self.gone:
            return Expired(ref=effect.ref, reason="hold_expired")
        assert effect.amount_minor <= self.holds[effect.ref]
        assert self.ended.setdefault(effect.ref, effect.amount_minor) == effect.amount_minor, "ended twice"
        return Captured(ref=effect.ref, amount_minor=effect.amount_minor)

    def _reverse(self, effect):
        assert self.ended.setdefault(effect.ref, 0) == 0, "reversed after a capture"
        return Reversed(ref=effect.ref)


class Charger:
    """See the module. `boots` counts boots; `offset_s` is what the wall clock is off by until it is trusted."""

    ids = itertools.count()

    def __init__(
        self,
        tariff="flat and energy",
        *,
        hold_minor=100_000,
        rules=None,
        trusted=True,
        offset_s=0,
        hold_max_minor=0,
    ):
        self.tariff = tariff
        self.hold_max_minor = hold_max_minor
        self.rules = rules or Rules()
        self.hold_minor = hold_minor
        self.true_ns = 1_000_000_000
        self.booted_ns = 0
        self.boots = 1
        self.trusted = trusted
        self.offset_s = offset_s
        self.known_at = None
        self.closed = False
        self.welded = False
        self.power_w = 0
        self.register_mwh = 4_711_280_000
        self.delivered_mwh = 0
        self.pilot = "A"
        self.identity = METER
        self.silent = False
        self.acquirer = Acquirer()
        self.pending = deque()
        self.told = []
        self.energized = 0
        self.journal = Journal(self.now())
        self.state = EvseState(evse_id=EVSE)
        self.send(ev.Booted(at=self.now()))

    # --- clocks

    def now(self):
        true = ORIGIN + timedelta(microseconds=self.true_ns // 1000)
        utc = true if self.trusted else true + timedelta(seconds=self.offset_s)
        return Instant(utc=utc, boot_id=f"boot-{self.boots}", monotonic_ns=self.true_ns - self.booted_ns)

    def true_utc(self):
        return ORIGIN + timedelta(microseconds=self.true_ns // 1000)

    def pass_time(self, seconds):
        """Time and energy pass; nobody hears of it."""
        self.true_ns += int(seconds * 1e9)
        if self.flows():
            flowed = int(self.power_w * seconds / 3.6)
            self.register_mwh += flowed
            self.delivered_mwh += flowed

    # --- the machine

    def terms(self, event=None):
        name, session = self.tariff, self.state.session
        match event:
            case ev.PaymentAnswered(answer=answer):
                session = find(self.state, ref=answer.ref)
            case ev.SettlementDue(session_id=session_id):
                session = next(s for s in self.state.unsettled if s.session_id == session_id)
        if session is not None:
            name = next(n for n, f in FROZEN.items() if f.hash == session.tariff_hash)
        found = FROZEN[name]
        refused = depends_on_time(found.tariff) and not self.trusted
        return Terms(
            tariff_hash=found.hash, tariff_document=found.document, price={}, compiled=COMPILED[name],
            currency="EUR", hold_minor=self.hold_minor, seller=SELLER, place=PLACE, clock_trusted=self.trusted,
            rated_power_w=RATED_W, refusal="clock_untrusted" if refused else None, rules=self.rules,
            evse_kind="AC", methods=frozenset({"account", "terminal"}),
            extending=frozenset({"terminal"}) if self.hold_max_minor else frozenset(),
            hold_max_minor=self.hold_max_minor, known_at=self.known_at,
        )  # fmt: skip

    def send(self, event):
        before = self.state
        outcome = step(self.state, event, self.terms(event))
        text = msgspec.json.encode(outcome.state)
        assert msgspec.json.decode(text, type=EvseState) == outcome.state
        invoice = None
        if outcome.records:
            invoice = self.journal.commit(lambda tx: _commit(tx, outcome, event.at))
            assert invoice is None or self.trusted, "an invoice needs a trusted clock"
        self.state = outcome.state
        for effect in outcome.effects:
            self._effect(effect)
        self._check(before)
        if invoice is not None:
            self.send(
                ev.InvoiceNumbered(at=event.at, session_id=invoice.draft.session_id, number=invoice.number)
            )
        return outcome

    def _effect(self, effect):
        match effect:
            case fx.Energize():
                self._may_energize()
                self.energized += 1
                self.closed = True
            case fx.OpenContactor():
                self.closed = False
            case fx.Tell(code=code):
                self.told.append(code)
            case _:
                self.pending.append(effect)

    def _may_energize(self):
        """I1: an authorized payment and a begin reading are durable before the contactor closes."""
        session = self.journal.state().session
        assert session is not None
        assert isinstance(session.state, Charging)
        assert session.payment.status == "authorized"
        if session.payment.method != "upstream":
            assert session.payment.hold_minor <= self.acquirer.holds[session.payment.ref]
            assert session.payment.ref not in self.acquirer.ended or session.payment.ref in self.acquirer.gone
        assert session.session_id in [f.session_id for f in self.journal.facts(facts.EnergyBegan)]

    def _check(self, before):
        session = self.state.session
        if self.closed:
            assert session is not None
            assert isinstance(session.state, Charging)
            assert session.state.open_since is None
        if session is None or session.measured is None:
            return
        measured = session.measured
        assert measured.last_wh >= measured.begin_wh
        assert measured.last_wh - measured.begin_wh == measured.accrual.energy_wh
        if before.session is not None and before.session.measured is not None:
            assert measured.last_wh >= before.session.measured.last_wh
            assert measured.accrual.ended_us >= before.session.measured.accrual.ended_us

    # --- what happens

    def tap(
        self, card="A", *, member=True, blocked=False, method="account", valid_until=None, invoicing=None
    ):
        token = uid_token(card.encode().ljust(7), key=KEY, key_id="k")
        known = Member(
            account=f"acc-{card}",
            token=token.value,
            limit_minor=1_000_000,
            currency="EUR",
            blocked=blocked,
            valid_until=valid_until,
            invoicing=invoicing or Invoicing(),
        )
        number = next(self.ids)
        return self.send(
            ev.CardTapped(
                at=self.now(),
                token=token,
                member=known if member and method == "account" else None,
                method=method,
                session_id=f"{number:032x}",
                receipt_token=f"r{number:021x}",
                payment_ref=f"{number:016x}",
                salt=b"s" * 16,
                stop_code="1234",
            )
        )

    def start_remotely(self, limit_minor=5_000):
        number = next(self.ids)
        return self.send(
            ev.RemoteStarted(
                at=self.now(),
                token=IdToken(kind="remote", value=f"{number:064x}", key_id="k"),
                authorization_id=f"grant-{number}",
                limit_minor=limit_minor,
                session_id=f"{number:032x}",
                payment_ref=f"{number:016x}",
                salt=b"s" * 16,
                stop_code="1234",
            )
        )

    def plug(self, *, power_w=11_000):
        self.power_w = power_w
        self.pilot_to("C")

    def pilot_to(self, pilot, *, limited=False):
        self.pilot = pilot
        if pilot in "AEF":
            self.closed = False  # the charge point does this by itself
        self.send(ev.PilotChanged(at=self.now(), pilot=pilot, limited=limited))

    def flows(self):
        return (self.closed or self.welded) and self.pilot in "CD"

    def value(self):
        power = self.power_w if self.flows() else 0
        return MeterValue(at=self.now(), energy_wh=self.register_mwh // 1000, power_w=power)

    def sample(self):
        if not self.silent:
            if self.state.identity != self.identity:
                self.send(ev.MeterIdentified(at=self.now(), identity=self.identity))
            self.send(ev.MeterAccepted(at=self.now(), value=self.value()))

    def wait(self, seconds, *, deliver=True):
        """Time passes as it does in the house: polls, ticks, answers."""
        left = float(seconds)
        while left > 0:
            part = min(left, max(1.0, seconds / 12))
            self.pass_time(part)
            left -= part
            self.sample()
            self.send(ev.Ticked(at=self.now()))
            for session in self.state.unsettled:
                if is_due(session, self.now(), clock_trusted=self.trusted):
                    self.send(ev.SettlementDue(at=self.now(), session_id=session.session_id))
            if deliver:
                self.deliver()

    def deliver(self, count=None):
        """Carry out what the machine asked for, in order."""
        for _ in range(len(self.pending) if count is None else min(count, len(self.pending))):
            effect = self.pending.popleft()
            answer = self._do(effect)
            if answer is not None:
                self.send(answer)

    def _do(self, effect):
        match effect:
            case fx.Capture() if effect.method == "upstream":
                captured = Captured(ref=effect.ref, amount_minor=effect.amount_minor)
                return ev.PaymentAnswered(at=self.now(), answer=captured)
            case fx.Reverse() if effect.method == "upstream":
                return ev.PaymentAnswered(at=self.now(), answer=Reversed(ref=effect.ref))
            case fx.Preauthorize() | fx.Extend() | fx.Capture() | fx.Reverse():
                if find(self.state, ref=effect.ref) is None:
                    return None
                return ev.PaymentAnswered(at=self.now(), answer=self.acquirer.ask(effect))
            case fx.ReadBegin() if self.silent:
                return ev.ReadFailed(at=self.now(), reason="meter_silent")
            case fx.ReadBegin():
                return ev.BeginRead(at=self.now(), value=self.value(), identity=self.identity)
            case fx.ReadEnd() if self.silent:
                return ev.EndRead(at=self.now(), value=None, identity=None)
            case fx.ReadEnd():
                return ev.EndRead(at=self.now(), value=self.value(), identity=self.identity)

    def trust(self):
        if not self.trusted:
            self.trusted = True
            self.send(ev.ClockBecameTrusted(at=self.now()))

    def crash(self, *, off_s=0, leaks_s=0, new_boot=False, trusted=None, loses_answers=False):
        """The process dies; energy flows until the lease runs out (`leaks_s`); the last commit is what is left.

        `loses_answers`: what was under way reached whoever was asked, but not us.
        """
        if loses_answers:
            for effect in self.pending:
                self._do(effect)
        self.pending.clear()
        self.pass_time(leaks_s)
        self.closed = False
        self.pass_time(off_s)
        if new_boot:
            self.boots += 1
            self.booted_ns = self.true_ns - 1
            self.trusted = self.trusted if trusted is None else trusted
        self.state = self.journal.state()
        self.send(ev.Booted(at=self.now()))

    def devices_answer(self):
        """After a start: who the meter is, its register, and the car."""
        self.sample()
        self.send(ev.PilotChanged(at=self.now(), pilot=self.pilot, limited=False))

    def rest(self):
        """Let everything come to its end; then every promise has to hold."""
        self.acquirer.declines = False
        self.acquirer.mode = "fine"
        self.devices_answer()
        self.trust()
        self.deliver()
        self.pilot_to("A")
        for _ in range(12):
            self.wait(120)
        while self.state.unsettled:  # whoever was asked last an hour ago is asked again
            self.wait(1_200)
        self.finished()

    def finished(self):
        assert self.state.session is None, self.state.session.state
        assert not self.closed
        report = self.verified()
        assert report.problems == ()
        assert report.open_holds == ()
        assert self.acquirer.ended.keys() >= self.acquirer.holds.keys()
        captured = [a for a in self.acquirer.ended.values() if a]
        invoices = self.journal.invoices()
        paid = [i.draft.paid for i in invoices if i.draft.paid.method != "upstream"]
        assert sorted(p.captured_minor for p in paid if p.status == "captured") == sorted(captured)
        assert all(p.captured_minor == 0 for p in paid if p.status != "captured")
        assert [i.sequence for i in invoices] == list(range(1, len(invoices) + 1))
        ended = self.journal.facts(facts.EnergyEnded)
        billed_wh = sum(f.energy_wh for f in ended)
        if not any(f.estimated for f in ended):
            assert abs(billed_wh - self.delivered_mwh / 1000) <= 2 * len(ended)
        else:
            assert billed_wh <= self.delivered_mwh / 1000 + 2 * len(ended)

    def verified(self):
        checker = Checker(public_key=self.journal.key.public_hex)
        for entry in self.journal.entries():
            checker.add(entry)
        return checker.report()


@pytest.fixture(scope="session")
def charger():
    """`charger()` makes one, ready to sell."""

    def make(*args, **kwargs):
        made = Charger(*args, **kwargs)
        made.devices_answer()
        return made

    return make
