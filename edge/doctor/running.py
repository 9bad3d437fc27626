"""What a till that runs says of its devices: nobody else may talk to them meanwhile, so it is asked instead."""

from __future__ import annotations

import contextlib
import urllib.request
from typing import Final, cast

import msgspec

from edge.config import Config
from edge.domain.session.state import EvseState
from edge.errors import StoreError, TillError
from edge.kiosk import KioskOptions
from edge.runtime.control import ask, socket_of
from edge.store.connection import open_reader, translated

#: On this machine, from memory: a till that takes longer hangs.
_ANSWER_S: Final = 3


class _View(msgspec.Struct, frozen=True):
    evse_id: str
    kind: str
    reason: str | None = None


class _Panel(msgspec.Struct, frozen=True):
    view: _View


class _Screen(msgspec.Struct, frozen=True):
    panels: list[_Panel]


class Said(msgspec.Struct, frozen=True):
    """The state of one EVSE: what its screen shows, with the reason where it is out of order."""

    kind: str
    reason: str | None


def screens(config: Config) -> dict[str, Said] | None:
    """Each EVSE's view, from the screen's server; None where there is none or it does not answer."""
    if config.kiosk is None:
        return None
    kiosk = cast("KioskOptions", config.kiosk)
    host = kiosk.host if kiosk.host not in {"0.0.0.0", "::"} else "127.0.0.1"  # noqa: S104  (compared, not bound)
    where = f"http://{f'[{host}]' if ':' in host else host}:{kiosk.port}/state"
    try:
        with urllib.request.urlopen(where, timeout=_ANSWER_S) as answer:
            found = msgspec.json.decode(answer.read(), type=_Screen)
    except (OSError, msgspec.DecodeError):
        return None
    return {p.view.evse_id: Said(p.view.kind, p.view.reason) for p in found.panels}


class Terminal(msgspec.Struct, frozen=True):
    """A payment terminal: its place in the configuration, why it takes no cards, and what it holds for nobody."""

    terminal: int
    state: str
    orphans: list[int]


def terminals(config: Config) -> list[Terminal]:
    """Each payment terminal, as its desk sees it; empty where the till does not say."""
    if not config.terminals:
        return []
    with contextlib.suppress(TillError, msgspec.ValidationError):
        said = ask(socket_of(config.database), "terminal.list", {}, timeout_s=_ANSWER_S)
        return msgspec.convert(said, list[Terminal])
    return []


def open_sessions(config: Config) -> dict[str, str]:
    """EVSE and session, of each session that is open in the database."""
    with contextlib.suppress(StoreError, msgspec.DecodeError), translated("read", config.database):
        db = open_reader(config.database)
        try:
            rows = db.execute("SELECT evse_id, state FROM evse").fetchall()
        finally:
            db.close()
        states = [msgspec.json.decode(bytes(state), type=EvseState) for _, state in rows]
        return {s.evse_id: s.session.session_id for s in states if s.session is not None}
    return {}
