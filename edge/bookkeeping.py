"""The books of a running till: kept within their bounds, and open to the commands of this machine.

    books = Bookkeeping(config, store, clock)
    books.open(controllers, more={"invoice.credit": ...}); work += books.work()
    books.refusal()      # why nothing is sold, as far as the ledger is concerned

Part of the composition root.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from edge.config import Config
from edge.domain.ledger.facts import LedgerRolledBack
from edge.domain.session.events import StopRequested
from edge.domain.session.state import open_sessions
from edge.errors import CallError
from edge.ports import Clock
from edge.runtime.control import ControlServer, Handler, socket_of
from edge.runtime.controller import EvseController
from edge.runtime.keeper import Keeper, Rules
from edge.store.epochs import ROLLED_BACK, Owner
from edge.store.privacy import Erased, Erasure, is_last
from edge.store.pruning import Retention
from edge.store.store import Store
from edge.sync.contract.orders import Erase
from edge.sync.uplink import RolledBack

#: Forgets the members with one of these tokens, or of this account; how many there were. Raises StoreError.
ForgetMembers = Callable[[Collection[str], str | None], int]


class SessionUnknown(CallError):
    code = "call.not_found"
    exit_code = 1
    hint = "`chargetill session list`"


class Bookkeeping:
    """See the module. It is the shop that the keeper knows."""

    def __init__(self, config: Config, store: Store, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._controllers: Sequence[EvseController] = ()
        self._handlers: dict[str, Handler] = {}
        self._paused: str | None = None
        self._rolled_back: str | None = None
        self._forget_members: ForgetMembers = lambda _tokens, _account: 0
        rules = Rules(
            retention=Retention(keep_days=config.ledger.keep_days, entries_max=config.ledger.entries_max),
            documents_days=config.ledger.documents_days,
            token_days=config.privacy.token_days,
        )
        owner = Owner(site=config.device.site, device=config.device.name)
        self.keeper = Keeper(store, clock, rules, owner, self)

    def open(
        self,
        controllers: Sequence[EvseController],
        *,
        more: Mapping[str, Handler] | None = None,
        forget_members: ForgetMembers | None = None,
    ) -> None:
        """Before `work`; `more` are commands of other parts of the till, `forget_members` its lists' (Office)."""
        self._controllers = controllers
        self._forget_members = forget_members or self._forget_members
        self._handlers = {
            **self.keeper.handlers(),
            "session.stop": self._stop_session,
            **(more or {}),
        }

    def work(self) -> list[tuple[str, Coroutine[None, None, None]]]:
        """What runs as long as the till does."""
        return [("keeper", self.keeper.run()), ("control", self._listen())]

    def refusal(self) -> str | None:
        """Why nothing is sold, as a code: the ledger is closed, or no session may begin now."""
        if self._rolled_back is not None and self._rolled_back == self._store.head.epoch:
            return ROLLED_BACK
        return self._store.closed or self._paused

    def rolled_back(self, found: RolledBack) -> None:
        """The back office knows another end of our journal: an old disk came back. From the uplink's thread."""
        self._rolled_back = found.epoch
        self.keeper.rolled_back(LedgerRolledBack(**msgspec.structs.asdict(found)))

    def open_sessions(self) -> tuple[str, ...]:
        """Those that have not come to their final state."""
        return tuple(s.session_id for c in self._controllers for s in open_sessions(c.state))

    def pause(self, reason: str | None) -> None:
        """Open no new session; None: sell again."""
        self._paused = reason

    async def end_sessions(self) -> None:
        """Ask each session that uses an EVSE to end."""
        for controller in self._controllers:
            if controller.state.session is not None:
                await controller.request_stop("remote")

    def sends(self) -> bool:
        """Whether there is a back office that acknowledges."""
        return self._config.mqtt is not None

    def forget(self, erased: Erased) -> None:
        """The card of an EVSE's last session."""
        tokens, sessions = set(erased.tokens), set(erased.sessions)
        for controller in self._controllers:
            if is_last(controller.state, tokens, sessions):
                controller.state = replace(controller.state, last=None)

    def forget_members(self, tokens: Collection[str], account: str | None) -> int:
        """In the lists that the back office sent; on any thread."""
        return self._forget_members(tokens, account)

    async def erased(self, order: Erase) -> dict[str, int]:
        """What the back office wants to be forgotten, in counts: nothing that says whose sessions these were."""
        erased = await self.keeper.erase(
            Erasure(
                token=order.token, session_id=order.session_id, account=order.account, buyers=order.buyers
            )
        )
        return {
            "sessions": len(erased.sessions),
            "open_sessions": len(erased.open_sessions),
            "counters": erased.counters,
            "buyers": erased.buyers,
            "members": erased.members,
        }

    async def _listen(self) -> None:
        async with ControlServer(socket_of(self._store.path), self._handlers):
            await asyncio.Event().wait()

    async def _stop_session(self, arguments: Mapping[str, Any]) -> Any:
        session_id = arguments.get("session_id")
        for controller in self._controllers:
            session = controller.state.session
            if session is not None and session.session_id == session_id:
                await controller.post(StopRequested(at=self._clock.now()))
                return {"session_id": session_id}
        raise SessionUnknown(f"no running session {session_id!r}")
