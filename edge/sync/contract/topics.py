"""Names of the topics: `till/v1/{site}/{device}/...`. Wildcards and levels cannot hide in a name."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from edge.errors import CallError

ROOT = "till/v1"

Channel = Literal["tx", "state", "reply", "authorize", "ack", "cmd", "authorization"]

NAME_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
_NAME = re.compile(NAME_PATTERN)


class NameInvalid(CallError):
    code = "sync.name"
    hint = "names of sites and devices have 1 to 64 characters of A-Z a-z 0-9 _ -"


class Peer(msgspec.Struct, frozen=True, order=True):
    """A device at its site, as its topics name it."""

    site: str
    device: str

    def topic(self, channel: Channel) -> str:
        """`till/v1/{site}/{device}/{channel}`"""
        return f"{ROOT}/{self.site}/{self.device}/{channel}"


def peer(site: str, device: str) -> Peer:
    """Both names checked. Raises NameInvalid."""
    for name in (site, device):
        if not _NAME.fullmatch(name):
            raise NameInvalid(f"{name!r} cannot stand in a topic")
    return Peer(site, device)


def of_topic(topic: str) -> tuple[Peer, str] | None:
    """Whose topic it is and its channel; None for a topic that is not of this contract."""
    parts = topic.split("/")
    if len(parts) != 5 or "/".join(parts[:2]) != ROOT:
        return None
    _, _, site, device, channel = parts
    if not (_NAME.fullmatch(site) and _NAME.fullmatch(device)):
        return None
    return Peer(site, device), channel


def everyone(channel: Channel) -> str:
    """The subscription that hears every device."""
    return f"{ROOT}/+/+/{channel}"
