"""The section `[mqtt]` of the configuration: which brokers, how to prove who we are, how much at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Address = Annotated[
    str,
    Meta(pattern=r"^(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}$", description="host:port"),
]
FilePath = Annotated[str, Meta(min_length=1, max_length=4096)]

PublicKey = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", description="Ed25519, raw, hex")]

#: MQTT 5 reports a refused publish and the broker's limits; `auto` asks for it and falls back.
Protocol = Literal["auto", "5", "3.1.1"]


class TlsOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files in PEM form. `ca`: who may have signed the broker's certificate; default: the system's list."""

    ca: FilePath | None = None
    cert: FilePath | None = None
    key: FilePath | None = None


class UplinkOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the journal goes up. The brokers are tried in order; each need not know of the others."""

    brokers: Annotated[tuple[Address, ...], Meta(min_length=1, max_length=8)]
    tls: TlsOptions | None = None
    username: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    password_file: FilePath | None = None
    protocol: Protocol = "auto"
    #: public keys (Ed25519, hex) whose orders are obeyed; without one, nobody orders anything
    orders_keys: Annotated[tuple[PublicKey, ...], Meta(max_length=4)] = ()
    #: a dead link is noticed after 1.5 of these (MQTT), or sooner when something is under way
    keepalive_s: Annotated[int, Meta(ge=5, le=600)] = 30
    #: entries under way without acknowledgement: what a crash may send twice
    window: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    #: messages under way without PUBACK; brokers allow 20 by default and count on clients to know
    messages_max: Annotated[int, Meta(ge=1, le=1000)] = 20
    #: entries per message in a backlog
    batch: Annotated[int, Meta(ge=1, le=500)] = 50
    #: bytes per message in a backlog; hosted brokers take 128 KiB
    batch_bytes: Annotated[int, Meta(ge=1024, le=1_048_576)] = 65_536
    #: without an acknowledgement everything is sent again after this, doubling up to the second figure
    resend_s: Annotated[float, Meta(ge=0.2, le=60)] = 2.0
    resend_max_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    #: between two rounds through the brokers: a random part of this, doubling up to the second figure
    retry_s: Annotated[float, Meta(ge=0.1, le=60)] = 1.0
    retry_max_s: Annotated[float, Meta(ge=1, le=3600)] = 120.0
    #: how often the acknowledged position is written down; a commit costs 10-18 KB of an SD card's life
    watermark_s: Annotated[float, Meta(ge=0.05, le=60)] = 1.0
    #: how often the retained state is renewed when nothing changes
    state_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0


def located(options: UplinkOptions, folder: Path) -> UplinkOptions:
    """The same with every file's name absolute; relative ones start at `folder`."""

    def at(name: str | None) -> str | None:
        return None if name is None else str(folder / name)

    tls = options.tls
    return msgspec.structs.replace(
        options,
        tls=tls and TlsOptions(ca=at(tls.ca), cert=at(tls.cert), key=at(tls.key)),
        password_file=at(options.password_file),
    )


def host_port(address: str) -> tuple[str, int]:
    """`host:port` apart; an IPv6 address stands in brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
