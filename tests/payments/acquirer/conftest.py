"""A till's side of card payments without a network: a journal, a clock, and a line that carries real messages."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from edge.domain.identity import IdToken
from edge.domain.instant import Instant
from edge.domain.payment import OpenPayment
from edge.emv.kernel.outcome import CardNumber
from edge.payments.acquirer import messages
from edge.payments.acquirer.card_data import CardData
from edge.payments.acquirer.errors import AcquirerGarbled, AcquirerUnreachable
from edge.payments.acquirer.fields import Codec
from edge.payments.acquirer.messages import Messages, Reply
from edge.payments.acquirer.options import AcquirerOptions
from edge.payments.acquirer.payment import AcquirerPayment
from hw.virtual.acquirer_host import HangUp, Host, Later, Say, Session

PAN = "4761739001010119"
TOKEN = IdToken(kind="terminal", value="f" * 64, key_id="k1")
START = datetime(2026, 11, 22, 23, 59, 50, tzinfo=UTC)


def run(scenario):
    return asyncio.run(scenario)


def card(pan=PAN):
    number = CardNumber(pan, expiry="2912", track_2=f"{pan}D29122010000012300000F")
    return CardData(number=number, icc=bytes.fromhex("9F2608") + bytes(8), sequence_no=1)


def options(**changes):
    known = {"host": "127.0.0.1", "port": 1, "terminal_id": "T1", "merchant_id": "M1", "acquirer_id": "12345"}
    return AcquirerOptions(**(known | changes))


class Crash(BaseException):
    """The process dies here."""


class Bomb:
    """Kills the process at its n-th step; None: never. `steps` counts those that there were."""

    def __init__(self, at=None):
        self.at = at
        self.steps = 0

    def step(self):
        self.steps += 1
        if self.steps == self.at:
            raise Crash


class Time:
    """Implements edge.ports.Clock; passes only when somebody sleeps. `due` runs what was put off."""

    def __init__(self):
        self.s = 0.0
        self._due = []

    def now(self):
        return Instant(utc=START + timedelta(seconds=self.s), boot_id="b", monotonic_ns=int(self.s * 1e9))

    def trusted(self):
        return True

    async def sleep(self, seconds):
        self.s += seconds
        due = sorted((d for d in self._due if d[0] <= self.s), key=lambda d: d[0])
        self._due = [d for d in self._due if d not in due]
        for _, do in due:
            do()

    def later(self, seconds, do):
        self._due.append((self.s + seconds, do))


class Journal:
    """Implements edge.ports.PaymentJournal: durable when `note` returns, and written before or after a crash."""

    def __init__(self, bomb=None):
        self.payments: dict[str, OpenPayment] = {}
        self.ended: dict[str, str | None] = {}
        self.notes: list[str] = []
        self.bomb = bomb or Bomb()

    def begin(self, ref, amount_minor):
        self.payments[ref] = OpenPayment(
            ref=ref,
            session_id="s",
            status="requested",
            requested_minor=amount_minor,
            hold_minor=None,
            handle=None,
        )

    def end(self, ref):
        payment = self.payments.pop(ref, None)
        if payment is not None:
            self.ended[ref] = payment.handle

    async def note(self, ref, handle):
        self.bomb.step()
        self.notes.append(handle)
        if ref in self.payments:
            self.payments[ref] = msgspec.structs.replace(self.payments[ref], handle=handle)
        else:
            self.ended[ref] = handle
        self.bomb.step()

    async def find(self, ref):
        return self.payments.get(ref)

    async def noted(self, ref):
        payment = self.payments.get(ref)
        return self.ended.get(ref) if payment is None else payment.handle

    async def open(self, method):
        assert method == "card"
        return tuple(self.payments.values())


class MemoryLine:
    """Carries real bytes between the till and the virtual acquirer's host, on virtual time."""

    def __init__(self, host, time, bomb=None, conf=None):
        self.host = host
        self.time = time
        self.bomb = bomb or Bomb()
        self.conf = conf or options()
        self.codec = Codec(self.conf.wire)
        self.messages = Messages(self.conf)
        self.session = None
        self.reachable = True
        self.sent: list[tuple[str, dict[int, str]]] = []

    async def ready(self, within_s):
        if self.session is None and self.reachable:
            self.session = Session()
            sign_on = self.messages.network(messages.SIGN_ON, stan=1, at_s=int(START.timestamp()))
            self.host.receive(self.codec.encode(sign_on.mti, sign_on.fields), self.session)
        if self.session is None:
            await self.time.sleep(within_s)
        return self.session is not None

    async def ask(self, request, *, within_s):
        if self.session is None:
            raise AcquirerUnreachable("no connection")
        self.bomb.step()
        self.sent.append((request.mti, dict(request.fields)))
        session = self.session
        answer = None
        for act in self.host.receive(self.codec.encode(request.mti, request.fields), session):
            match act:
                case HangUp():
                    self.session = None
                case Later(message=message, after_s=after_s):
                    self.time.later(after_s, lambda m=message: self.host.process(m, session))
                case Say(data=data, after_s=after_s) if after_s < within_s:
                    answer = answer or self.understood(data, request)
                case Say():
                    pass
        self.bomb.step()
        if answer is None and self.session is not None:
            await self.time.sleep(within_s)
        return answer

    def understood(self, data, request):
        try:
            mti, fields = self.codec.decode(data)
        except AcquirerGarbled:
            self.session = None
            return None
        assert messages.key(mti, fields) == messages.key(request.mti, request.fields)
        return Reply(fields, self.conf.reference_field)


class World:
    """One till, one acquirer. `restart` is what a crash leaves: the journal and the acquirer."""

    def __init__(self, *, host=None, bomb=None, seed=0, conf=None):
        self.bomb = bomb or Bomb()
        self.time = Time()
        self.host = host or Host(now_s=lambda: self.time.s)
        self.journal = Journal(self.bomb)
        self.draw = random.Random(seed)
        self.conf = conf or options()
        self.restart()

    def restart(self):
        self.line = MemoryLine(self.host, self.time, self.bomb, self.conf)
        self.pay = AcquirerPayment(
            self.line, self.journal, options=self.conf, clock=self.time, draw=self.draw
        )

    @property
    def books(self):
        return self.host.books

    async def preauthorize(self, ref="r", amount_minor=5000, *, with_card=True):
        if ref not in self.journal.payments:
            self.journal.begin(ref, amount_minor)
        if with_card:
            self.pay.offer(ref, card())
        return await self.pay.preauthorize(ref, amount_minor=amount_minor, currency="EUR", token=TOKEN)

    async def capture(self, amount_minor, ref="r"):
        return await self.pay.capture(ref, amount_minor=amount_minor, currency="EUR")

    async def extend(self, amount_minor, ref="r"):
        return await self.pay.extend(ref, amount_minor=amount_minor, currency="EUR")

    async def refund(self, amount_minor, refund_ref="r1", ref="r"):
        return await self.pay.refund(ref, refund_ref=refund_ref, amount_minor=amount_minor, currency="EUR")


@pytest.fixture
def world():
    return World()
