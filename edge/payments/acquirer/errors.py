"""What can be wrong between the till and its acquirer. None of these ever quotes a message."""

from __future__ import annotations

from edge.errors import HardwareError


class AcquirerFailed(HardwareError):
    code = "acquirer.failed"


class AcquirerUnreachable(AcquirerFailed):
    """There is no connection: nothing was sent."""

    code = "acquirer.unreachable"
    hint = "check the acquirer's address and the network; the till keeps trying"


class AcquirerRefused(AcquirerFailed):
    """TLS or the sign-on was refused."""

    code = "acquirer.refused"
    hint = "check [acquirer.tls], the terminal id and the merchant id"


class AcquirerGarbled(AcquirerFailed):
    """Bytes that are no message of ISO 8583 as this link is told to speak it."""

    code = "acquirer.garbled"
    hint = "the host may use another bitmap, length or DE55 encoding: see [acquirer.wire]"
