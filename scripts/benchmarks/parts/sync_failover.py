"""How long it takes until the next broker brings the first acknowledgement, when the one in use is gone or silent.

Two brokers of their own for each trial, the back office listens to both, the till has its default settings. An entry
is written at the moment at which the broker ends; the figure is the time from there to its acknowledgement.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from parts.sync_world import make_journal, now, receiver, write

from edge.store.store import Store
from edge.sync.contract.messages import StateFields
from edge.sync.contract.topics import peer
from edge.sync.options import UplinkOptions
from edge.sync.uplink import Uplink
from hw.virtual.broker import EmbeddedBroker, Mosquitto

#: `killed`: SIGKILL, its connections break. `silent`: SIGSTOP, they stand and nothing answers. `last`: killed, and it
#: was the last of the list, so that the till waits a jittered second at most before it begins again at the top.
Way = Literal["killed", "last", "silent"]

_TRIAL_MAX_S = 120.0
_SETTLE_S = 1.0


def failover(kind: type[Mosquitto | EmbeddedBroker], rounds: int) -> dict[str, float]:
    """The longest of so many trials each, in seconds."""
    ways: tuple[Way, ...] = ("killed", "last", "silent")
    return {f"{way}_s": round(max(_trial(kind, way) for _ in range(rounds)), 2) for way in ways}


def _trial(kind: type[Mosquitto | EmbeddedBroker], way: Way) -> float:
    first, second = kind.start(), kind.start()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = make_journal(folder, 1000)
        if way == "last":
            first.kill()
        uplink = _uplink(store, first.address, second.address)
        in_use = second if way == "last" else first
        _until(lambda: uplink.status().broker == in_use.address)
        if way == "last":
            first.restart()
        with receiver(folder, first.address, second.address):
            _until(lambda: uplink.status().acknowledged == store.head.seq)
            time.sleep(_SETTLE_S)  # the back office subscribes at the other one too
            began = time.monotonic()
            if way == "silent":
                in_use.freeze()
            else:
                in_use.kill()
            write(store, 1)
            _until(lambda: uplink.status().acknowledged == store.head.seq)
            took_s = time.monotonic() - began
            if way == "silent":
                in_use.thaw()
            uplink.stop(5)
        store.close()
    first.stop()
    second.stop()
    return took_s


def _uplink(store: Store, *brokers: str) -> Uplink:
    uplink = Uplink(
        UplinkOptions(brokers=brokers),
        database=store.path,
        store=store,
        peer=peer("s1", "d1"),
        now=now,
        state=lambda: StateFields(version="bench", boot_id="bench", clock_trusted=True),
        on_rolled_back=lambda _: None,
    )
    store.on_commit(uplink.wake)
    uplink.start()
    return uplink


def _until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + _TRIAL_MAX_S
    while not condition():
        if time.monotonic() >= ends:
            raise RuntimeError("the till never came to the other broker")
        time.sleep(0.005)
