"""Asking the back office who may charge, and waiting for its signed answer no longer than the driver does.

    asks = Authorizations(peer, keys, post=uplink.post, connected=lambda: uplink.status().connected)
    match await asks.authorize(request): ...

`authorize` belongs to the till's loop, `answered` to the uplink's thread.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from edge import log
from edge.errors import SyncError
from edge.sync.contract.authorization import (
    AuthorizationReply,
    AuthorizationRequest,
    Granted,
    NoAnswer,
    Refused,
    read_answer,
)
from edge.sync.contract.messages import CONTROL_BYTES_MAX
from edge.sync.contract.signed import open_signed
from edge.sync.contract.topics import Channel, Peer
from edge.sync.rate import Bucket

#: A request or its answer may be lost with a broker; the same request has the same answer, so it is sent again.
_AGAIN_S = 2.0

#: Lines in the log about answers that nobody signed.
_TOLD_PER_S = 1 / 60
_TOLD_BURST = 5.0

#: Requests that may wait at once: one for each EVSE of the largest till.
_WAITING_MAX = 64


class Post(Protocol):
    """The uplink's `post`."""

    def __call__(self, channel: Channel, payload: bytes, *, good_for_s: float | None = None) -> None: ...


class Authorizations:
    """Implements edge.ports.Upstream. `keys` are the back office's public keys in hex, by key id."""

    def __init__(
        self, peer: Peer, keys: Mapping[str, str], *, post: Post, connected: Callable[[], bool]
    ) -> None:
        self._peer = peer
        self._keys = keys
        self._post = post
        self._connected = connected
        self._lock = threading.Lock()
        self._telling = Bucket(_TOLD_PER_S, _TOLD_BURST)
        self._waiting: dict[str, tuple[asyncio.AbstractEventLoop, asyncio.Future[Granted | Refused]]] = {}

    async def authorize(self, request: AuthorizationRequest) -> Granted | Refused | NoAnswer:
        """Ask until there is an answer or `request.within_s` has passed; one caller a request."""
        if not self._keys:
            return NoAnswer(why="no key of a back office is configured")
        if not self._connected():
            return NoAnswer(why="no connection")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Granted | Refused] = loop.create_future()
        with self._lock:
            if len(self._waiting) >= _WAITING_MAX or request.id in self._waiting:
                return NoAnswer(why="too many requests")
            self._waiting[request.id] = loop, answer
        try:
            return await self._ask(request, answer)
        finally:
            with self._lock:
                del self._waiting[request.id]

    async def _ask(
        self, request: AuthorizationRequest, answer: asyncio.Future[Granted | Refused]
    ) -> Granted | Refused | NoAnswer:
        loop = asyncio.get_running_loop()
        until = loop.time() + request.within_s
        payload = msgspec.json.encode(request)
        while (left := until - loop.time()) > 0:
            self._post("authorize", payload, good_for_s=left)
            await asyncio.wait({answer}, timeout=min(_AGAIN_S, left))
            if answer.done():
                return answer.result()
        return NoAnswer(why=f"no answer within {request.within_s} s")

    def answered(self, payload: bytes) -> None:
        """What came down. What nobody waits for, or nobody we obey signed, is no answer."""
        with self._lock:
            if not self._waiting or len(payload) > CONTROL_BYTES_MAX:
                return
        try:
            reply = read_answer(open_signed(payload, self._keys))
        except SyncError as e:
            if self._telling.take(time.monotonic()):
                log.warning("authorization.unreadable", error=e)
            return
        if (reply.site, reply.device) != (self._peer.site, self._peer.device):
            log.warning("authorization.foreign", site=reply.site, device=reply.device)
            return
        self._hand_over(reply)

    def _hand_over(self, reply: AuthorizationReply) -> None:
        with self._lock:
            loop, answer = self._waiting.get(reply.id, (None, None))
            if loop is None or answer is None:
                return

            def settle() -> None:
                if not answer.done():
                    answer.set_result(reply.decision)

            loop.call_soon_threadsafe(settle)
