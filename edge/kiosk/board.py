"""What the screens show now: the newest view of each EVSE, and who waits for the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import msgspec

from edge.domain.view import View
from edge.errors import TillError

#: EVSEs of one daemon; the benchmark's 64 fit. A page draws up to four of them (`/?evse=A,B` says which).
EVSES_MAX = 64
#: Points of a power curve: one for each 4 px of the widest curve on a 7 inch panel.
CURVE_POINTS_MAX = 120
#: A receipt's address longer than this makes a QR code too dense for a phone to read from the panel.
RECEIPT_URL_MAX = 300

#: States in which the car may take power: the curve grows in them and lasts until the session is over.
_METERED = frozenset({"charging", "suspended", "stopping"})


class TooManyEvses(TillError):
    """More EVSEs than a board can hold."""

    code = "kiosk.too_many_evses"
    hint = "run one daemon for each group of EVSEs"


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One EVSE as the page gets it: the view, its power curve, the receipt's QR code as an SVG data URI.

    `curve` holds (seconds since the begin, W) from oldest to newest; W is None while the meter did not say.
    """

    view: View
    curve: tuple[tuple[int, int | None], ...] = ()
    qr: str | None = None


class _Snapshot(msgspec.Struct, frozen=True):
    panels: list[Panel]


class Board:
    """Keeps the newest view of each EVSE. It belongs to one event loop, never blocks and never waits.

    `board.show(view)` replaces what that EVSE showed before; screens get the newest state at their own pace.
    """

    def __init__(self) -> None:
        self._panels: dict[str, Panel] = {}
        self._curves: dict[str, _Curve] = {}
        self._snapshot: bytes | None = None
        self._watchers: set[asyncio.Event] = set()

    @property
    def watchers(self) -> int:
        """How many screens are connected."""
        return len(self._watchers)

    def __contains__(self, evse_id: object) -> bool:
        return evse_id in self._panels

    def show(self, view: View) -> None:
        """Show `view` for its EVSE. Raises TooManyEvses."""
        if view.evse_id not in self._panels and len(self._panels) >= EVSES_MAX:
            raise TooManyEvses(f"{view.evse_id} would be EVSE number {EVSES_MAX + 1}")
        panel = Panel(view=view, curve=self._grown(view), qr=_qr_code(view.receipt_url))
        if self._panels.get(view.evse_id) == panel:
            return
        self._panels[view.evse_id] = panel
        self._snapshot = None
        for changed in self._watchers:
            changed.set()

    def snapshot(self) -> bytes:
        """`{"panels": [..]}` as one line of JSON, ordered by label; encoded once for all screens."""
        if self._snapshot is None:
            panels = sorted(self._panels.values(), key=lambda p: (p.view.label, p.view.evse_id))
            self._snapshot = msgspec.json.encode(_Snapshot(panels))
        return self._snapshot

    @contextmanager
    def watch(self) -> Iterator[asyncio.Event]:
        """An event that is set at each change, for as long as the context lasts. The watcher clears it."""
        changed = asyncio.Event()
        self._watchers.add(changed)
        try:
            yield changed
        finally:
            self._watchers.discard(changed)

    def _grown(self, view: View) -> tuple[tuple[int, int | None], ...]:
        """The EVSE's curve with this view; nothing of it outlives the session."""
        if view.kind not in _METERED:
            self._curves.pop(view.evse_id, None)
            return ()
        curve = self._curves.get(view.evse_id)
        if curve is None or not curve.continues(view):
            curve = self._curves[view.evse_id] = _Curve(view.began)
        if view.seconds is not None:
            curve.add(view.seconds, view.power_w)
        return curve.points()


class _Curve:
    """Power over one session in bounded space: when full, every other point goes and the step doubles."""

    def __init__(self, began: str | None) -> None:
        self._began = began
        self._step_s = 1
        self._kept: list[tuple[int, int | None]] = []
        self._newest: tuple[int, int | None] | None = None

    def continues(self, view: View) -> bool:
        """False when `view` is of another session than the points before."""
        newest_s = self._newest[0] if self._newest else 0
        return view.began == self._began and (view.seconds is None or view.seconds >= newest_s)

    def add(self, seconds: int, power_w: int | None) -> None:
        self._newest = (seconds, power_w)
        if self._kept and seconds < self._kept[-1][0] + self._step_s:
            return
        self._kept.append(self._newest)
        if len(self._kept) == CURVE_POINTS_MAX:
            self._kept = self._kept[::2]
            self._step_s *= 2

    def points(self) -> tuple[tuple[int, int | None], ...]:
        if self._newest is None or (self._kept and self._kept[-1][0] == self._newest[0]):
            return tuple(self._kept)
        return (*self._kept, self._newest)


@lru_cache(maxsize=EVSES_MAX)
def _qr_code(url: str | None) -> str | None:
    """A QR code (ISO/IEC 18004, level M: a scratched or wet panel) with its quiet zone, black on white."""
    if url is None or len(url) > RECEIPT_URL_MAX:
        return None
    import segno  # noqa: PLC0415  (it brings HTTP and XML along: not before the first code is shown)

    code = segno.make(url, error="m", micro=False, boost_error=False)
    uri: str = code.svg_data_uri(border=4, dark="#000", light="#fff", scale=8)
    return uri
