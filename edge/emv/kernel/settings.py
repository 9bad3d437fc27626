"""What the kernels are for at a charger, as configured, and what has to hold before they may be used for it.

Real bank cards are paid with at a certified terminal. Here they can be nothing (`off`), a name that a session is
stopped with (`identity`: who the card is, unproven, nobody is asked for money), or, in a laboratory and nowhere else,
a way to pay (`payment`).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from edge.emv.errors import CaKeysInvalid
from edge.emv.kernel.terminal import MAESTRO, MASTERCARD, V_PAY, VISA, VISA_ELECTRON, Terminal
from edge.emv.oda.keys import CaKeys, Revoked, load
from edge.errors import InputError

_Minor = Annotated[int, Meta(ge=0, le=100_000_000)]

_APPLICATIONS: Final = (MASTERCARD, MAESTRO, VISA, VISA_ELECTRON, V_PAY)


class PaymentNeedsLab(InputError):
    """Bank cards were to be taken outside of a laboratory."""

    code: ClassVar[str] = "emv.needs_lab"
    hint = 'use "identity" or "off", or add a section [lab]; bank cards are paid with at a certified terminal'


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[emv]`. Limits in minor units of the tariff's currency; `country` is ISO 3166-1 numeric.

    `ca_keys` is a file as `emv replay --capk` takes it; `revoked` are issuer certificates as RID, index and serial
    number in hex, such as "A000000003 94 000001".
    """

    use: Literal["off", "identity", "payment"] = "off"
    country: Annotated[int, Meta(ge=1, le=999)] = 276
    ca_keys: str | None = None
    revoked: Annotated[
        tuple[Annotated[str, Meta(pattern="^[0-9A-F]{10} [0-9A-F]{2} [0-9A-F]{6}$")], ...],
        Meta(max_length=1_000),
    ] = ()
    cvm_limit_minor: _Minor = 5_000
    transaction_limit_minor: _Minor | None = None
    device_limit_minor: _Minor | None = None
    other_interface: bool = False

    def terminal(self, *, serial: str) -> Terminal:
        """The terminal that this charger is. `serial`: up to eight ASCII characters of its own."""
        return Terminal(
            country=self.country,
            serial=serial.encode("ascii", "replace").decode()[-8:].rjust(8, "0"),
            other_interface=self.other_interface,
            applications=tuple(
                msgspec.structs.replace(
                    each,
                    cvm_limit_minor=self.cvm_limit_minor,
                    transaction_limit_minor=self.transaction_limit_minor,
                    device_limit_minor=self.device_limit_minor,
                )
                for each in _APPLICATIONS
            ),
        )

    def payment_keys(self, document: bytes | None, *, lab: bool) -> CaKeys:
        """What cards prove themselves against, from the content of `ca_keys`.

        Raises PaymentNeedsLab, LiveKeysRefused, CaKeysInvalid.
        """
        if self.use == "payment" and not lab:
            raise PaymentNeedsLab('emv.use = "payment" without a section [lab]')
        if document is None:
            if self.use == "payment":
                raise CaKeysInvalid("emv.ca_keys: cards cannot be checked without keys")
            return CaKeys(())
        listed = [each.split() for each in self.revoked]
        gone = (
            Revoked(bytes.fromhex(rid), int(index, 16), bytes.fromhex(serial))
            for rid, index, serial in listed
        )
        return CaKeys(load(document), gone).for_payment(lab=lab)
