"""The back office's configuration: a small TOML file, or the same as options of the command."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from edge.backoffice.accounts import Billing
from edge.backoffice.retention import Retention
from edge.sync.options import Address, FilePath, Protocol, TlsOptions


class BackofficeOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Receivers attach to every broker: a device is on one of them and may change at any time."""

    db: FilePath
    brokers: Annotated[tuple[Address, ...], Meta(min_length=1, max_length=8)]
    tls: TlsOptions | None = None
    username: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    password_file: FilePath | None = None
    protocol: Protocol = "auto"
    keepalive_s: Annotated[int, Meta(ge=5, le=600)] = 30
    #: a gap older than this is asked for, then half as often each time up to the second figure
    need_s: Annotated[float, Meta(ge=0.1, le=60)] = 2.0
    need_max_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    retry_s: Annotated[float, Meta(ge=0.1, le=60)] = 0.5
    retry_max_s: Annotated[float, Meta(ge=1, le=3600)] = 10.0
    #: what one device may send of its journal a second, on average over ten; a backlog drains at a few hundred
    device_messages_s: Annotated[int, Meta(ge=10, le=1_000_000)] = 2000
    device_bytes_s: Annotated[int, Meta(ge=100_000, le=1_000_000_000)] = 33_554_432
    #: how accounts are billed (edge.backoffice.accounts.Billing)
    billing: Billing | None = None
    #: how long what says who somebody was is kept (edge.backoffice.retention.Retention)
    retention: Retention = Retention()
