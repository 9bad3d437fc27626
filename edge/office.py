"""The back office as the till has it: what goes up, what comes down, and what that may change here.

    office = Office(config, premises, state=..., on_rolled_back=...)
    office.members     # the lists that it sent, before the device's own
    office.open(controllers); await office.watch(); office.close()

Without `[mqtt]` there is none: nothing is sent, nobody orders, and the till sells all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, cast

import msgspec

from edge.config import Config
from edge.ports import MemberList, Upstream
from edge.runtime.commands import Commands, Premises
from edge.runtime.controller import EvseController
from edge.store.kept import Kept
from edge.sync.contract.messages import EvseHealth, StateFields
from edge.sync.contract.orders import Credit, Erase
from edge.sync.contract.topics import peer
from edge.sync.downlink import SETTINGS, Downlink, Lists, open_lists
from edge.sync.options import UplinkOptions
from edge.sync.uplink import RolledBack, Uplink

#: After the stop was asked for, the uplink may send what waits for this long, and an order may end.
_DRAIN_S = 2.0
_ORDER_S = 2.0

#: Which EVSEs sell nothing, in the file of the lists.
_BLOCKED = "blocked"


class Office:
    """See the module. `state` and `on_rolled_back` are called on the uplink's thread."""

    def __init__(
        self,
        config: Config,
        premises: Premises,
        *,
        state: Callable[[], StateFields],
        on_rolled_back: Callable[[RolledBack], None],
        credit: Callable[[Credit], Awaitable[Any]] | None = None,
        erase: Callable[[Erase], Awaitable[Any]] | None = None,
    ) -> None:
        self._crash: Exception | None = None
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._clock = premises.clock
        self._store = premises.store
        self._uplink: Uplink | None = None
        self._downlink: Downlink | None = None
        self._commands: Commands | None = None
        self._answers = False
        if config.mqtt is None:
            return
        options = cast("UplinkOptions", config.mqtt)
        self._answers = bool(options.orders_keys)  # without one nothing that comes down is believed
        lists = open_lists(config.database.with_suffix(".lists.db"), Kept(premises.store))
        self._commands = Commands(premises, keep_blocked=_keeper(lists), credit=credit, erase=erase)
        self._commands.recover(lists.document, settings=SETTINGS, blocked=_BLOCKED)
        me = peer(config.device.site, config.device.name)
        self._downlink = Downlink(
            lists,
            peer=me,
            keys=options.orders_keys,
            now=self._trusted_now,
            execute=self._commands.execute,
            post=self._post,
            connected=lambda: self.online is True,
            on_crash=self._crashed,
        )
        self._uplink = Uplink(
            options,
            database=config.database,
            store=premises.store,
            peer=me,
            now=premises.clock.now,
            state=state,
            on_rolled_back=on_rolled_back,
            on_crash=self._crashed,
            orders=self._downlink,
        )

    @property
    def online(self) -> bool | None:
        """Whether a broker takes what we send; None where nothing is to be sent."""
        return None if self._uplink is None else self._uplink.status().connected

    @property
    def members(self) -> tuple[MemberList, ...]:
        """The list that the back office sent; nothing where there is no back office."""
        return () if self._downlink is None else (self._downlink.lists,)

    def forget(self, tokens: Collection[str], account: str | None) -> int:
        """Members of the lists that were sent; how many there were. On any thread. Raises StoreError."""
        return 0 if self._downlink is None else self._downlink.lists.erase(tokens, account)

    @property
    def upstream(self) -> Upstream | None:
        """Whom to ask who may charge; None where nobody can answer."""
        return self._downlink.authorizations if self._downlink is not None and self._answers else None

    def open(self, controllers: Sequence[EvseController]) -> None:
        """Begin to send, and to obey."""
        if self._uplink is None or self._downlink is None or self._commands is None:
            return
        self._commands.attach(controllers)
        self._store.on_commit(self._uplink.wake)
        self._downlink.start()
        self._uplink.start()

    def close(self) -> None:
        """Answer what was begun, send what waits, for a short while."""
        if self._uplink is None or self._downlink is None or self._commands is None:
            return
        self._commands.stop()
        self._downlink.stop(_ORDER_S)
        self._uplink.stop(timeout_s=_DRAIN_S)

    async def watch(self) -> None:
        """What nobody expected on a thread of the sync ends the process, as it does everywhere else."""
        await self._ended.wait()
        assert self._crash is not None
        raise self._crash

    def _crashed(self, error: Exception) -> None:
        self._crash = error
        with suppress(RuntimeError):  # the loop has ended, and we with it
            self._loop.call_soon_threadsafe(self._ended.set)

    def _trusted_now(self) -> datetime | None:
        return self._clock.now().utc if self._clock.trusted() else None

    def _post(self, channel: Any, payload: bytes, *, good_for_s: float | None = None) -> None:
        assert self._uplink is not None
        self._uplink.post(channel, payload, good_for_s=good_for_s)


def health(controllers: Sequence[EvseController]) -> tuple[EvseHealth, ...]:
    """Each EVSE as its screen shows it: frozen facts, readable from any thread."""
    return tuple(
        EvseHealth(evse_id=c.evse_id, kind=shown.kind, reason=shown.reason, meter_read_at=c.meter_read_at)
        for c in controllers
        if (shown := c.shown) is not None
    )


def _keeper(lists: Lists) -> Callable[[dict[str, str]], None]:
    def keep(blocked: dict[str, str]) -> None:
        lists.keep(_BLOCKED, msgspec.json.encode(blocked).decode())

    return keep
