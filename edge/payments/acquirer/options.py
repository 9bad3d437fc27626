"""The section `[acquirer]` of the configuration: which host, who we are to it, and how it writes ISO 8583."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

FilePath = Annotated[str, Meta(min_length=1, max_length=4096)]
_Digits11 = Annotated[str, Meta(pattern=r"^[0-9]{1,11}$")]


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files in PEM form. `ca`: who may have signed the host's certificate; default: the system's list."""

    ca: FilePath | None = None
    cert: FilePath | None = None
    key: FilePath | None = None
    #: the name in the host's certificate, where it is not the address
    server_name: Annotated[str, Meta(min_length=1, max_length=253)] | None = None


class Wire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where hosts differ: text is ASCII throughout, all else is not.

    `length_bytes`: of the prefix before each message; `length`: what they are (digits as text, digits packed two to
    a byte, or binary); `length_counts_itself`. `header`: fixed bytes in hex after the prefix (a TPDU) that we send;
    as many are skipped in what comes back. `numbers`: of message type, numeric elements, track 2 and lengths of
    elements; `odd`: on which side a packed element of variable, odd length is filled up, with 0 or with F. `icc`:
    DE55; always binary where numbers are packed.
    """

    length_bytes: Literal[2, 4] = 2
    length: Literal["binary", "text", "bcd"] = "binary"
    length_counts_itself: bool = False
    header: Annotated[str, Meta(pattern=r"^([0-9A-Fa-f]{2}){0,32}$")] = ""
    bitmap: Literal["binary", "hex"] = "binary"
    icc: Literal["binary", "hex"] = "binary"
    numbers: Literal["text", "bcd"] = "text"
    odd: Literal["left", "right"] = "left"


class AcquirerOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Plain TCP (`tls` left out) is for a host on this computer only, which a laboratory has."""

    host: Annotated[str, Meta(min_length=1, max_length=253)]
    port: Annotated[int, Meta(ge=1, le=65_535)]
    tls: Tls | None = None
    wire: Wire = Wire()
    #: DE41, DE42: who we are to the acquirer
    terminal_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9 ]{1,8}$")]
    merchant_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9 ]{1,15}$")]
    #: DE32: the acquiring institution
    acquirer_id: _Digits11
    #: for DE12 and DE13, which hold the time on the wall
    time_zone: Annotated[str, Meta(min_length=1, max_length=64)] = "UTC"
    #: a private field in which the host names a hold and wants to be told that name again
    reference_field: Literal[48, 60, 61, 62, 63] | None = None
    #: codes of DE39 by which the host says that it has no such hold
    unknown_codes: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[0-9A-Z]{2}$")], ...], Meta(max_length=8)
    ] = ("25",)
    #: without an answer for so long there will be none; card schemes allow issuers some 15 s
    answer_s: Annotated[float, Meta(ge=0.01, le=120)] = 20.0
    #: a connection that is not up is waited for this long while a driver stands there
    ready_s: Annotated[float, Meta(ge=0, le=60)] = 5.0
    #: how often an advice goes out in one call before it is left in doubt; the caller asks again
    tries: Annotated[int, Meta(ge=1, le=10)] = 3
    #: between two of these: a random part of this, doubling up to the second figure; also between connections
    retry_s: Annotated[float, Meta(ge=0.001, le=60)] = 1.0
    retry_max_s: Annotated[float, Meta(ge=0.001, le=600)] = 60.0
    #: an idle line is asked for an echo after this
    echo_s: Annotated[float, Meta(ge=0.05, le=3600)] = 60.0
