"""Keeps what the till remembers within its bounds, and does what people order of the ledger while the till runs.

    keeper = Keeper(store, clock, rules, shop)
    handlers = keeper.handlers()          # for edge.runtime.control
    await keeper.run()                    # prunes and erases, every hour

The pruned part is read and checked on a thread of its own; each commit is small, so that no session waits for it.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from contextlib import closing
from datetime import timedelta
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace

from edge import log
from edge.domain.ledger.facts import LedgerRolledBack
from edge.errors import CallError, StoreError, TillError
from edge.ports import Clock
from edge.runtime.control import Handler
from edge.store.aging import forget_documents
from edge.store.connection import open_reader, translated
from edge.store.epochs import DECOMMISSIONED, LedgerDecommissioned, Owner, decommission
from edge.store.outstanding import Outstanding, outstanding, owed
from edge.store.privacy import Erased, Erasure, erase, expire, forget_last, has_expired
from edge.store.pruning import Cut, PruneRefused, Retention, cut, note_acknowledged, plan
from edge.store.store import Store
from edge.store.transaction import Tx

#: How often the till looks whether something may go.
_LOOK_S = 3600.0

#: Between two commits of a long pruning, for whoever waits for the disk.
_PAUSE_S = 0.2

#: How often a decommissioning looks whether everything is acknowledged.
_DRAIN_LOOK_S = 0.5

#: A person waits for it; what takes longer is started again.
DRAIN_MAX_S = 3600


class SessionsOpen(CallError):
    code = "decommission.sessions_open"
    exit_code = 3
    hint = "end them (--stop-sessions), or wait until their cars and their money are done; then decommission again"


class RefundsOpen(CallError):
    code = "decommission.refunds_open"
    exit_code = 3
    hint = "wait until the way to pay answers; without its section in the configuration they become the operator's task"


class NotAcknowledged(TillError):
    code = "decommission.not_acknowledged"
    retryable = True
    hint = "see `chargetill sync status`; --unacknowledged hands over what the back office does not have"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How long what is kept."""

    retention: Retention = Retention()
    documents_days: int = 3650
    token_days: int = 90


class Shop(Protocol):
    """What the keeper needs of the rest of the till."""

    def open_sessions(self) -> tuple[str, ...]:
        """Sessions that have not come to their final state."""
        ...

    def pause(self, reason: str | None) -> None:
        """Open no new session, with this reason on the screen; None: sell again."""
        ...

    async def end_sessions(self) -> None:
        """Ask each session that uses an EVSE to end; it is settled as any other."""
        ...

    def sends(self) -> bool:
        """Whether there is a back office that acknowledges."""
        ...

    def forget(self, erased: Erased) -> None:
        """What is in memory of erased tokens and sessions."""
        ...

    def forget_members(self, tokens: Collection[str], account: str | None) -> int:
        """Who stands in the back office's lists with one of these cards, or this account; how many. On any thread."""
        ...


class DecommissionOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`stop_sessions`: running sessions end now instead of being waited for. `unacknowledged`: go on at the deadline,
    with entries that the back office does not have.
    """

    reason: str
    within_s: float = 60.0
    stop_sessions: bool = False
    unacknowledged: bool = False


class Keeper:
    """See the module."""

    def __init__(self, store: Store, clock: Clock, rules: Rules, owner: Owner, shop: Shop) -> None:
        self._store = store
        self._clock = clock
        self._rules = rules
        self._owner = owner
        self._shop = shop
        self._complained: str | None = None

    def handlers(self) -> Mapping[str, Handler]:
        """Commands by name."""
        return {
            "ledger.new_epoch": self._new_epoch,
            "ledger.rotate_key": self._rotate_key,
            "ledger.prune": self._prune,
            "privacy.erase": self._erase,
            "decommission": self._decommission,
        }

    async def run(self) -> None:
        """For as long as the till runs. By a clock that is trusted only: nothing goes because of a wrong date."""
        while True:
            if self._clock.trusted():
                await self._tidy()
            await self._clock.sleep(_LOOK_S)

    def rolled_back(self, found: LedgerRolledBack) -> None:
        """Write down that the back office knows another end of our journal; from any thread, without waiting."""

        def written(done: Future[bool]) -> None:
            if (error := done.exception()) is not None:  # it is found again at the next connection
                log.error("ledger.rolled_back", error=error, epoch=found.epoch)

        try:
            self._store.roll_back(found, self._clock.now()).add_done_callback(written)
        except StoreError as e:
            log.error("ledger.rolled_back", error=e, epoch=found.epoch)

    async def _tidy(self) -> None:
        try:
            await self.prune()
            await self.expire()
        except PruneRefused as e:
            if self._complained != e.message:
                self._complained = e.message
                log.error("ledger.not_pruned", error=e)
        except StoreError as e:  # a full or broken disk is noticed by those who sell
            log.warning("ledger.not_tidied", error=e)

    async def prune(self) -> int:
        """Everything that may go, step by step; how many entries went. Raises PruneRefused, StoreError."""
        now = self._clock.now()
        await self._store.tx(lambda tx: note_acknowledged(tx, now.utc))
        gone = 0
        while found := await asyncio.to_thread(
            plan, self._store.path, self._rules.retention, self._clock.now().utc
        ):
            step = await self._cut(found)
            if step == 0:
                break
            gone += step
            await asyncio.sleep(_PAUSE_S)
        if gone:
            log.event("ledger.pruned", entries=gone)
        return gone

    async def _cut(self, found: Cut) -> int:
        at = self._clock.now()
        return await self._store.tx(lambda tx: cut(tx, found, self._owner, at))

    async def expire(self) -> int:
        """Tokens and documents whose time is over; how many."""
        now = self._clock.now()
        tokens_before = now.utc - timedelta(days=self._rules.token_days)
        gone = 0
        if await asyncio.to_thread(self._reads, lambda db: has_expired(db, tokens_before)):
            gone += await self._store.tx(lambda tx: expire(tx, tokens_before))
            await asyncio.wrap_future(self._store.fold())
        documents_before = now.utc - timedelta(days=self._rules.documents_days)
        while step := await self._store.tx(lambda tx: forget_documents(tx, documents_before, now)):
            gone += step
            await asyncio.sleep(_PAUSE_S)
        if gone:
            log.event("privacy.expired", rows=gone)
        return gone

    def _reads(self, look: Callable[[sqlite3.Connection], bool]) -> bool:
        with closing(open_reader(self._store.path)) as db, translated("read", self._store.path):
            return look(db)

    async def erase(self, wanted: Erasure) -> Erased:
        """On request, by a person or by the back office. Raises ErasureUnclear, StoreError."""
        erased = await self._store.tx(lambda tx: erase(tx, wanted))
        self._shop.forget(erased)
        members = await asyncio.to_thread(self._shop.forget_members, erased.tokens, wanted.account)
        # a step that was under way may have written down the last session's card once more
        await self._store.tx(lambda tx: forget_last(tx, erased))
        await asyncio.wrap_future(self._store.fold())
        log.event("privacy.erased", sessions=len(erased.sessions), open_sessions=len(erased.open_sessions))
        return replace(erased, members=members)

    async def decommission(self, order: DecommissionOrder) -> Mapping[str, Any]:
        """Sell nothing more, wait until everything is settled and acknowledged, say the last word, and wait for its
        own acknowledgement.

        Raises SessionsOpen, RefundsOpen, NotAcknowledged; the till sells again then. Asked again, also after a crash,
        it goes on where it was: the last word is said once.
        """
        ends = asyncio.get_running_loop().time() + min(order.within_s, DRAIN_MAX_S)
        self._shop.pause(DECOMMISSIONED)
        try:
            if self._store.closed != DECOMMISSIONED:
                if order.stop_sessions:
                    await self._shop.end_sessions()
                left = await self._owed(ends)
                self._require_settled(left)
                if self._shop.sends() and left.waiting and not order.unacknowledged:
                    raise NotAcknowledged(f"{left.waiting} entries wait for the back office")
                await self._say_last_word(order.reason)
        finally:
            self._shop.pause(None)
        left = await self._owed(ends)
        acknowledged = not (self._shop.sends() and left.waiting)
        log.event("till.decommissioned", acknowledged=acknowledged)
        return {
            "epoch": self._store.head.epoch,
            "entries": self._store.head.seq,
            "acknowledged": acknowledged,
            "refunds_due": list(left.due),
            "captures_not_handed_in": left.captures,
        }

    async def _say_last_word(self, reason: str) -> None:
        at = self._clock.now()

        def run(tx: Tx) -> None:
            require_settled(owed(tx.connection))  # a tap that was under way may have opened one more
            decommission(tx, reason, at)

        await self._store.tx(run)

    def _require_settled(self, left: Outstanding) -> None:
        if found := self._shop.open_sessions():
            raise SessionsOpen(f"{len(found)} sessions are open: {', '.join(found)}")
        require_settled(left)

    async def _owed(self, ends: float) -> Outstanding:
        """Wait until nothing is owed, at most until `ends`; what is left."""
        while True:
            left = await asyncio.to_thread(outstanding, self._store.path)
            settled = not (left.sessions or left.refunds or self._shop.open_sessions())
            if settled and not (self._shop.sends() and left.waiting):
                return left
            if asyncio.get_running_loop().time() >= ends:
                return left
            await asyncio.sleep(_DRAIN_LOOK_S)

    async def _new_epoch(self, _arguments: Mapping[str, Any]) -> Any:
        opened = await asyncio.wrap_future(self._store.open_epoch("new_epoch", self._clock.now()))
        log.event("ledger.new_epoch", epoch=opened.epoch, carried=opened.carried)
        return opened

    async def _rotate_key(self, _arguments: Mapping[str, Any]) -> Any:
        if self._store.closed == "decommissioned":
            raise LedgerDecommissioned("this device was decommissioned")
        return {"key_id": await asyncio.wrap_future(self._store.rotate_key(self._clock.now()))}

    async def _prune(self, _arguments: Mapping[str, Any]) -> Any:
        return {"pruned": await self.prune()}

    async def _erase(self, arguments: Mapping[str, Any]) -> Any:
        return await self.erase(_read(arguments, Erasure))

    async def _decommission(self, arguments: Mapping[str, Any]) -> Any:
        return await self.decommission(_read(arguments, DecommissionOrder))


def require_settled(left: Outstanding) -> None:
    """Raises SessionsOpen, RefundsOpen."""
    if left.sessions:
        raise SessionsOpen(f"{len(left.sessions)} sessions are open: {', '.join(left.sessions)}")
    if left.refunds:
        raise RefundsOpen(f"{len(left.refunds)} refunds are on their way: {', '.join(left.refunds)}")


def _read(arguments: Mapping[str, Any], kind: type[msgspec.Struct]) -> Any:
    try:
        return msgspec.convert(arguments, kind)
    except msgspec.ValidationError as e:
        raise CallError(str(e)) from e
