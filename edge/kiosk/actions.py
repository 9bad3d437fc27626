"""What a driver can do on the screen itself: stop with the code shown at the start, choose an EVSE."""

from __future__ import annotations

from collections import deque
from typing import Annotated, Literal, Protocol
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

#: `done`: it happens now. `refused`: the EVSE is not in a state for it. `too_many_tries` is the page's own.
Answer = Literal["done", "wrong_code", "refused", "too_many_tries"]

#: Wrong codes on one EVSE before it takes no more for a while: a 4-digit code then stands for days.
TRIES_MAX = 5
TRIES_WINDOW_S = 60.0


class Actions(Protocol):
    """Who carries out what a driver does on the screen. Both answer at once; the views tell what follows."""

    async def stop(self, evse_id: str, code: str) -> Answer:
        """End the session on this EVSE if `code` is the one that its driver was shown."""
        ...

    async def choose(self, evse_id: str) -> Answer:
        """The tap that waits for an EVSE is for this one."""
        ...


class Stop(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="stop"):
    evse_id: Annotated[str, Meta(min_length=1, max_length=64)]
    code: Annotated[str, Meta(pattern=r"^[0-9]{4,8}$")]


class Choose(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action", tag="choose"):
    evse_id: Annotated[str, Meta(min_length=1, max_length=64)]


Action = Stop | Choose


class Tries:
    """Counts wrong codes for each EVSE, so that nobody can try them all."""

    def __init__(self) -> None:
        self._wrong: dict[str, deque[float]] = {}

    def spent(self, evse_id: str, now_s: float) -> bool:
        """True while the EVSE takes no code. `now_s` is of a clock that never jumps."""
        wrong = self._wrong.get(evse_id)
        return wrong is not None and len(wrong) == TRIES_MAX and now_s - wrong[0] < TRIES_WINDOW_S

    def wrong(self, evse_id: str, now_s: float) -> None:
        self._wrong.setdefault(evse_id, deque(maxlen=TRIES_MAX)).append(now_s)


def same_origin(*, origin: str | None, host: str | None) -> bool:
    """True when a page of this very server sent the request: browsers add `Origin` to a POST (Fetch, 3.2)."""
    return bool(origin and host) and origin == f"http://{host}"


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets; empty when it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
