"""What can be wrong with signed meter values before any signature is checked."""

from __future__ import annotations

from edge.errors import InputError


class RecordMalformed(InputError):
    """Bytes that are no OCMF record: cut off, not JSON, or too long."""

    code = "ocmf.malformed"
    hint = "a record is `OCMF|{payload}|{signature}`, exactly as the meter gave it"


class KeyUnreadable(InputError):
    """A public key that is neither DER, PEM nor a point of a curve."""

    code = "ocmf.key_unreadable"
    hint = "give DER or a raw point (04, X, Y), in hex or base64, or a file with it"


class ContainerUnreadable(InputError):
    """A file that holds no signed values, or holds them in a way that is not read."""

    code = "ocmf.unreadable"
    hint = "give a raw OCMF record or the XML of the S.A.F.E. transparency software"
