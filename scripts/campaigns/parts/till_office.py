"""The till's way to the back office within one process: the real sender, outbox, watermark and books, and a broker
that loses, delays, doubles, and is gone for days. Only MQTT itself is not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
from parts.till_site import ORIGIN, PEER, Site

from edge.backoffice.arrival import Message
from edge.errors import StoreError, TillError
from edge.ports import MemberList
from edge.runtime.commands import Commands, Premises
from edge.runtime.controller import EvseController
from edge.sync.contract.authorization import AuthorizationRequest, Granted, NoAnswer, Refused
from edge.sync.contract.messages import Ack, State
from edge.sync.contract.orders import Credit, RemoteStart
from edge.sync.options import UplinkOptions
from edge.sync.uplink.outbox import Outbox
from edge.sync.uplink.sender import RolledBack, Sender
from edge.sync.uplink.watermark import Watermark

#: How often the sender looks; PUBACKs and acknowledgements take a while.
_LOOK_S = 2.0
_WAY_S = 0.1


class _Wire:
    """What the sender needs of edge.sync.link.Link. What is published may arrive late, twice, or never."""

    def __init__(self, office: CampaignOffice) -> None:
        self._office = office
        self.in_flight = 0

    @property
    def full(self) -> bool:
        return self.in_flight >= 20

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        del topic, retain
        self._office.published(self, payload)


class CampaignOffice:
    """Takes the place of edge.office.Office in one life of the till."""

    members: tuple[MemberList, ...] = ()

    def __init__(
        self,
        site: Site,
        premises: Premises,
        on_rolled_back: Callable[[RolledBack], None],
        *,
        alive: Callable[[], bool],
        step: Callable[[str], bool],
        credit: Any = None,
    ) -> None:
        self._site, self._alive, self._step = site, alive, step
        self._store = premises.store
        self._clock = premises.clock
        self._on_rolled_back = on_rolled_back
        self.commands = Commands(premises, keep_blocked=lambda _: None, credit=credit)
        self._loop = asyncio.get_running_loop()
        self.sender: Sender | None = None
        self._wire: _Wire | None = None
        self.upstream = self
        self.closed = False

    @property
    def online(self) -> bool:
        return self._site.broker_up

    def forget(self, _tokens: Collection[str], _account: str | None) -> int:
        """No list of members is ever sent here."""
        return 0

    def open(self, controllers: Sequence[EvseController]) -> None:
        self.commands.attach(controllers)

    def close(self) -> None:
        """As the uplink does in an ordered stop: what waits is sent, where there is a connection."""
        self.commands.stop()
        self.closed = True
        if not self._alive() or self.sender is None or not self._site.broker_up:
            return
        outbox = Outbox(self._store.path)
        for line in outbox.lines():
            while rows := outbox.read(line.epoch, line.acked, rows_max=500, bytes_max=1_000_000):
                found = self._site.books.book([Message(peer=PEER, payload=b"\n".join(rows))], ORIGIN)
                line.acked = max(ack.upto for _, ack in found)
        outbox.close()

    async def authorize(self, request: AuthorizationRequest) -> Granted | Refused | NoAnswer:
        """Who is on no list is asked for: the same answer each time, unless it is lost on the way."""
        site = self._site
        self._step("mqtt authorize")
        await asyncio.sleep(_WAY_S)
        if not site.broker_up or not self._alive() or site.rng.random() < site.mqtt_fault:
            await asyncio.sleep(request.within_s)
            return NoAnswer(why="nobody answers")
        self._step("mqtt answered")
        if int(request.id, 16) % 4 == 0:
            return Refused(reason="card_unknown")
        return Granted(
            authorization_id=f"A-{request.id}",
            account="A-8",
            limit_minor=request.amount_minor,
            currency="EUR",
        )

    async def start_remotely(self, evse_id: str, limit_minor: int) -> bool:
        """The back office's app starts a session. False where the till refuses."""
        order = RemoteStart(
            evse_id=evse_id, account="A-9", limit_minor=limit_minor, currency="EUR",
            authorization_id=f"grant-{secrets.token_hex(8)}",
        )  # fmt: skip
        if not self._step("mqtt order"):
            return False
        with contextlib.suppress(TillError):
            await self.commands._start(order)  # noqa: SLF001  (`execute` is for another thread)
            return True
        return False

    async def take_back(self, invoice_number: str) -> None:
        """The back office orders a credit note. Raises TillError where the till refuses."""
        if self._step("mqtt order"):
            assert self.commands._credit is not None  # noqa: SLF001
            await self.commands._credit(  # noqa: SLF001  (`execute` is for another thread)
                Credit(invoice_number=invoice_number, reason="taken back")
            )

    async def publish(self, document: str) -> None:
        """The operator sells by another tariff from now on."""
        if self._step("mqtt order"):
            frozen = self.commands._checked(document)  # noqa: SLF001
            self._site.tariffs[frozen.hash] = frozen
            await self.commands._sell(frozen)  # noqa: SLF001

    async def watch(self) -> None:
        """Send what is committed, for as long as this life lasts."""
        outbox = Outbox(self._store.path)
        try:
            watermark = Watermark(self._store, self._clock.now, 1.0)
            options = UplinkOptions(brokers=("127.0.0.1:1",), batch=20, resend_s=2.0, resend_max_s=8)
            self.sender = sender = Sender(outbox, watermark, options, PEER.topic("tx"), self._rolled_back)
            while True:
                with contextlib.suppress(StoreError):
                    self._round(sender)
                await asyncio.sleep(_LOOK_S)
        finally:
            outbox.close()

    def _round(self, sender: Sender) -> None:
        now = self._loop.time()
        if not self._site.broker_up:
            self._wire = None
            sender.tick(now)
            return
        if self._wire is None:
            self._wire = _Wire(self)
            sender.attached(None, None)
            sender.refresh()
            self._introduce(sender)
        sender.refresh()
        sender.tick(now)
        sender.pump(self._wire, now)  # type: ignore[arg-type]

    def _introduce(self, sender: Sender) -> None:
        if not self._step("mqtt state"):
            return
        state = State(online=True, at=ORIGIN, position=sender.position())
        ack = self._site.books.answer(PEER, state, self._clock.now().utc, retained=False)
        if ack is not None:
            self._reply(ack)

    def published(self, wire: _Wire, payload: bytes) -> None:
        """A message left the till."""
        site, rng = self._site, self._site.rng
        if not self._step("mqtt entries"):
            return
        wire.in_flight += 1
        bad = rng.random() < site.mqtt_fault
        kind = rng.choice(("lost", "late", "doubled")) if bad else ""
        delays = {"lost": (), "late": (rng.uniform(0.5, 15),), "doubled": (_WAY_S, rng.uniform(0.1, 9))}
        for delay in delays.get(kind, (_WAY_S,)):
            self._loop.call_later(delay, self._arrived, payload)
        self._loop.call_later(_WAY_S, self._acked, wire)

    def _acked(self, wire: _Wire) -> None:
        wire.in_flight -= 1

    def _arrived(self, payload: bytes) -> None:
        """At the back office: booked, then acknowledged. The till may be dead by now; the message is not."""
        found = self._site.books.book([Message(peer=PEER, payload=payload)], ORIGIN)
        for _, ack in found:
            if self._site.rng.random() >= self._site.mqtt_fault:
                self._reply(ack)

    def _reply(self, ack: Ack) -> None:
        late = self._site.rng.random() < self._site.mqtt_fault
        self._loop.call_later(self._site.rng.uniform(1, 10) if late else _WAY_S, self._heard, ack)

    def _heard(self, ack: Ack) -> None:
        if self.sender is None or self._wire is None or not self._step("mqtt acknowledged"):
            return
        with contextlib.suppress(StoreError):
            self.sender.heard(ack, self._loop.time())

    def _rolled_back(self, found: RolledBack) -> None:
        self._site.problems.append(f"rolled back: {msgspec.json.encode(found).decode()}")
        self._on_rolled_back(found)
