"""The process as a whole: what nobody expected ends it, with open contactors and through the scrubber."""

from __future__ import annotations

import asyncio

import pytest

from edge import app, inventory, office
from edge.errors import StoreError, TillError
from edge.store.store import StoreClosed


class Unforeseen(Exception):
    pass


@pytest.fixture
def till(place, monkeypatch):
    """A till that keeps a list of what happens at its end, in order."""
    happened = []

    class Evse:
        lease = "device"

        async def prepare(self):
            pass

        async def status(self):
            await asyncio.sleep(3600)

        async def permit(self, *, current_a):
            happened.append("permit")

        async def revoke(self):
            happened.append("revoke")

        async def close(self):
            pass

    monkeypatch.setattr(app.registry, "create_evse", lambda *_args, **_kwargs: Evse())
    close = app.Store.close

    def closed(store):
        happened.append("store closed")
        close(store)

    monkeypatch.setattr(app.Store, "close", closed)
    made = app.Till(inventory.load(place.config))
    made.happened = happened
    return made


def failing(error):
    async def work(_store):
        await asyncio.sleep(0.2)
        raise error

    return work


@pytest.mark.parametrize(
    "error", [Unforeseen("x"), StoreError("disk"), ExceptionGroup("g", [StoreError("disk")])]
)
def test_contactors_open_before_anything_else_at_the_end(till, monkeypatch, error):
    monkeypatch.setattr(till._time, "watch", failing(error))
    with pytest.raises((ExceptionGroup, TillError)) as found:
        asyncio.run(till.run())
    assert isinstance(found.value, StoreError) != isinstance(error, Unforeseen)
    last = till.happened
    assert last.index("store closed") > last.index("revoke")
    assert last[last.index("store closed") - 1] == "revoke"


def test_what_happens_on_the_uplinks_thread_ends_the_process_too(place, till, monkeypatch):
    uplinks = []

    class Uplink:
        def __init__(self, *_args, on_crash, **_kwargs):
            self.on_crash = on_crash
            uplinks.append(self)

        def wake(self):
            pass

        def start(self):
            asyncio.get_running_loop().call_later(0.2, self.on_crash, Unforeseen("in the uplink"))

        def stop(self, *, timeout_s):
            pass

        def status(self):
            raise Unforeseen

    place.add('[mqtt]\nbrokers = ["127.0.0.1:9"]\n')
    monkeypatch.setattr(office, "Uplink", Uplink)
    monkeypatch.setattr(till, "_config", inventory.load(place.config))
    monkeypatch.setattr(till, "_online", lambda: None)
    with pytest.raises(ExceptionGroup) as found:
        asyncio.run(till.run())
    assert found.group_contains(Unforeseen, match="in the uplink")


def test_the_first_error_that_is_no_consequence_is_told():
    nested = ExceptionGroup("a", [StoreClosed("later"), ExceptionGroup("b", [StoreError("the cause")])])
    assert str(app._known(nested)).startswith("store.failed: the cause")
    assert app._known(ExceptionGroup("a", [StoreClosed("only")])).code == "store.closed"
    assert app._known(ExceptionGroup("a", [StoreError("x"), Unforeseen()])) is None
