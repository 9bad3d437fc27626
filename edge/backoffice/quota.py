"""How much one device may send: a broken or stolen one must not keep the others waiting or fill the disk."""

from __future__ import annotations

from collections import OrderedDict

from edge import log
from edge.sync.contract.topics import Peer
from edge.sync.rate import Bucket

#: Devices that are kept in mind; of more than that the longest silent one starts anew.
_DEVICES_MAX = 100_000

#: Beside the journal a device says little: its health, answers to orders, requests for permission.
_SMALL_PER_S = 5.0
_SMALL_BURST = 300.0

#: A burst is what a device may send at once after a silence, in seconds of its sustained rate.
_BURST_S = 10.0

#: A flood is one line in the log in so long.
_TELL_S = 60.0


class _Device:
    def __init__(self, messages_per_s: float, bytes_per_s: float) -> None:
        self.messages = Bucket(messages_per_s, messages_per_s * _BURST_S)
        self.bytes = Bucket(bytes_per_s, bytes_per_s * _BURST_S)
        self.small = Bucket(_SMALL_PER_S, _SMALL_BURST)
        self.told_at: float | None = None

    def takes(self, channel: str, size: int, now: float) -> bool:
        if channel != "tx":
            return self.small.take(now)
        return self.messages.take(now) and self.bytes.take(now, size)


class Quota:
    """Which messages are taken. What is dropped is PUBACKed and not acknowledged: the device sends it again later."""

    def __init__(self, *, messages_per_s: float, bytes_per_s: float) -> None:
        self._messages_per_s = messages_per_s
        self._bytes_per_s = bytes_per_s
        self._devices: OrderedDict[Peer, _Device] = OrderedDict()

    def admits(self, peer: Peer, channel: str, size: int, now: float) -> bool:
        """Whether this message is taken. `now` is monotonic."""
        device = self._devices.get(peer)
        if device is None:
            device = self._devices[peer] = _Device(self._messages_per_s, self._bytes_per_s)
            if len(self._devices) > _DEVICES_MAX:
                self._devices.popitem(last=False)
        self._devices.move_to_end(peer)
        fits = device.takes(channel, size, now)
        if not fits and (device.told_at is None or now >= device.told_at + _TELL_S):
            device.told_at = now
            log.warning("backoffice.flood", site=peer.site, device=peer.device, channel=channel)
        return fits
