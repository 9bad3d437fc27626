"""The two files of an enrollment: what a device asks of its back office, and what it gets.

Neither holds a secret: the private keys stay where they were made.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from edge.sync.contract.topics import NAME_PATTERN

_Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
_Pem = Annotated[str, Meta(min_length=1, max_length=16_384)]


class EnrollmentRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Made by `chargetill provision`: a PKCS #10 request in PEM, and the public half of the ledger's key."""

    site: _Name
    device: _Name
    version: Annotated[str, Meta(max_length=64)]
    certificate_request: _Pem
    ledger_key_id: Annotated[str, Meta(max_length=64)]
    ledger_public_key: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class Enrolled(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Made by `chargetill backoffice device enroll --request`; read by `chargetill provision --enrolled`.

    `orders_keys` are the public keys of the back office whose orders the device shall obey; none: they stay as they
    are, and an older device, which knows no such field, takes the answer in. They come by the operator's hand with
    this file, as the CA does, and never over a broker.
    """

    site: _Name
    device: _Name
    ca: _Pem
    certificate: _Pem
    orders_keys: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")], ...], Meta(max_length=4)
    ] = ()
