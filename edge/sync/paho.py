"""paho's client, without what it loads for proxies.

It imports `urllib.request`, and with that HTTP and mail (1.7 MB of a till's memory), to look for a proxy in the
environment; it looks only where PySocks is installed. Where it is not, nothing is loaded in vain.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Final

__all__ = [
    "CallbackAPIVersion",
    "Client",
    "MQTTErrorCode",
    "MQTTMessage",
    "MQTTProtocolVersion",
    "PacketTypes",
    "Properties",
    "ReasonCode",
]

_UNUSED: Final = "urllib.request"


@contextmanager
def _no_proxies() -> Iterator[None]:
    """An import of the module meanwhile finds an empty one; whoever imports it later gets the real one."""
    if _UNUSED in sys.modules or find_spec("socks") is not None:
        yield
        return
    sys.modules[_UNUSED] = ModuleType(_UNUSED)
    try:
        yield
    finally:
        del sys.modules[_UNUSED]


with _no_proxies():
    from paho.mqtt.client import Client, MQTTMessage
    from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode
