#!/usr/bin/env python3
"""The till of the campaign `sync`: writes as fast as it may, obeys, asks, and is killed.

    sync_till.py FOLDER [--key HEX] [--quiet] BROKER...

On standard output: the number of the newest entry after each commit, and each answer to a question.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from edge.domain.instant import Instant
from edge.domain.ledger import facts
from edge.errors import StoreError
from edge.store.kept import Kept
from edge.store.keys import load_or_make
from edge.store.store import Owner, Store
from edge.store.transaction import Tx
from edge.sync.contract.authorization import AuthorizationRequest, Granted, Refused
from edge.sync.contract.messages import StateFields
from edge.sync.contract.orders import RemoteStop
from edge.sync.contract.topics import peer
from edge.sync.downlink import Downlink, Lists
from edge.sync.downlink.authorizations import Authorizations
from edge.sync.options import UplinkOptions
from edge.sync.uplink import Uplink

_PEER = peer("s1", "d1")


def till(folder: Path, brokers: list[str], *, quiet: bool, keys: tuple[str, ...]) -> None:
    """The process that is killed: writes, obeys, asks, and says on stdout what was committed and permitted."""
    store = Store.open(
        folder / "till.db",
        key=load_or_make(folder / "ledger.key"),
        owner=Owner(site="s1", device="d1"),
        prefix="CT",
        now=_now(),
    )
    uplink = Uplink(
        UplinkOptions(
            brokers=tuple(brokers), resend_s=0.5, resend_max_s=4, retry_s=0.2, retry_max_s=1, watermark_s=0.05
        ),
        database=store.path,
        store=store,
        peer=_PEER,
        now=_now,
        state=lambda: StateFields(version="c", boot_id="c", clock_trusted=True),
        on_rolled_back=lambda found: print(f"rolled back: {found}", file=sys.stderr),
        orders=(
            downlink := Downlink(
                Lists(folder / "lists.db", Kept(store)),
                peer=_PEER,
                keys=keys,
                now=lambda: datetime.now(UTC),
                execute=lambda order: _obey(store, order),
                post=lambda channel, payload, *, good_for_s=None: uplink.post(
                    channel, payload, good_for_s=good_for_s
                ),
                connected=lambda: uplink.status().connected,
                on_crash=lambda _: os._exit(9),
            )
        ),
    )
    store.on_commit(uplink.wake)
    downlink.start()
    uplink.start()
    threading.Thread(target=lambda: asyncio.run(_ask(downlink.authorizations)), daemon=True).start()
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    rng = random.Random(os.getpid())  # noqa: S311  (how fast it writes, no secret)
    while not stopped:
        if quiet:
            time.sleep(0.05)
            continue
        count = rng.choice((1, 1, 1, 20, 200))
        with contextlib.suppress(StoreError):
            store.submit(partial(_append, count=count)).result()
            _say(store.head.seq)
        time.sleep(rng.uniform(0, 0.02))
    uplink.stop(2)
    downlink.stop(2)
    store.close()


def _say(*words: object) -> None:
    """One line, whole: the other end reads while we are killed."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def _obey(store: Store, order: object) -> None:
    """Carrying an order out is an entry that names it, so that doing it twice shows."""
    assert isinstance(order, RemoteStop)
    store.submit(lambda tx: tx.append(facts.DeviceStopped(reason=order.session_id), _now())).result()


async def _ask(permissions: Authorizations) -> None:
    """Ask all the time, sometimes once more for what an earlier life of this process asked."""
    rng = random.Random()  # noqa: S311  (no secret)
    while True:
        reference = f"R{rng.randrange(40)}"
        answer = await permissions.authorize(
            AuthorizationRequest(
                id=reference,
                at=datetime.now(UTC),
                within_s=2,
                evse_id="E1",
                token=f"{int(reference[1:]) % 4:064x}",
                token_kind="uid",  # noqa: S106  (a kind, no secret)
                key_id="k1",
                amount_minor=1000,
                currency="EUR",
            )
        )
        match answer:
            case Granted(authorization_id=authorization_id):
                _say("granted", reference, authorization_id)
            case Refused(reason=reason):
                _say("refused", reference, reason)
            case _:
                pass
        await asyncio.sleep(rng.uniform(0.02, 0.2))


def _now() -> Instant:
    return Instant(utc=datetime.now(UTC), boot_id=str(os.getpid()), monotonic_ns=time.monotonic_ns())


def _append(tx: Tx, *, count: int) -> None:
    for _ in range(count):
        tx.append(facts.DeviceStopped(reason="x"), _now())


def main() -> None:
    """Until SIGTERM, or SIGKILL."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--key", action="append", default=[], help="whose orders are obeyed")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("brokers", nargs="+")
    given = parser.parse_args()
    till(given.folder, given.brokers, quiet=given.quiet, keys=tuple(given.key))


if __name__ == "__main__":
    main()
