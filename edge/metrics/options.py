"""The `[metrics]` section of the configuration."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated

import msgspec
from msgspec import Meta

from edge.sync.options import host_port


class MetricsOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where Prometheus (or an agent beside it) asks: an address of this machine, such as 127.0.0.1:9464."""

    listen: Annotated[str, Meta(pattern=r"^(\[[0-9A-Fa-f:.]{2,45}\]|[0-9.]{7,15}):[0-9]{1,5}$")] = (
        "127.0.0.1:9464"
    )

    def __post_init__(self) -> None:
        host, port = host_port(self.listen)
        try:
            loopback = ip_address(host).is_loopback
        except ValueError:
            loopback = False
        if not loopback or port > 65535:
            raise ValueError(
                "listen must be an address of this machine such as 127.0.0.1:9464; an agent beside the till forwards it"
            )
