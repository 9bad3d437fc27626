"""A device that brings its own key: its request in, its certificate and our CA out."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from edge.backoffice.access import AccessError, Authority
from edge.errors import InputError
from edge.sync.contract.enrollment import Enrolled, EnrollmentRequest
from edge.sync.contract.topics import peer

#: A request has some 1,000 bytes.
_BYTES_MAX = 65_536


def enrolled(
    authority: Authority,
    request: Path,
    *,
    expected: tuple[str | None, str | None],
    orders_keys: tuple[str, ...] = (),
) -> dict[str, str | list[str]]:
    """Certify the device of a request, and write the answer beside the CA, for `provision --enrolled`.

    `expected`: site and name that the operator means, where they were given; `orders_keys`: whose orders the device
    shall obey. Raises InputError, AccessError.
    """
    try:
        asked = msgspec.json.decode(request.read_bytes()[:_BYTES_MAX], type=EnrollmentRequest)
    except OSError as e:
        raise InputError(f"{request}: {e.strerror}", hint="the file that `chargetill provision` wrote") from e
    except msgspec.DecodeError as e:
        raise InputError(f"{request}: {e}", hint="take the file that `chargetill provision` wrote") from e
    for meant, said in zip(expected, (asked.site, asked.device), strict=True):
        if meant not in {None, said}:
            raise InputError(f"{request} is of {asked.site}/{asked.device}, not of {meant}")
    device = peer(asked.site, asked.device)
    certificate = authority.certify(device, asked.certificate_request.encode())
    answer = authority.folder / f"enrolled-{device.site}.{device.device}.json"
    try:
        found = Enrolled(
            site=device.site,
            device=device.device,
            ca=(authority.folder / "ca.pem").read_text(),
            certificate=certificate.read_text(),
            orders_keys=orders_keys,
        )
        answer.write_text(json.dumps(msgspec.to_builtins(found), indent=2) + "\n")
    except OSError as e:
        raise AccessError(f"{answer}: {e.strerror}") from e
    return {
        "site": device.site,
        "device": device.device,
        "cert": str(certificate),
        "answer": str(answer),
        "ledger_key_id": asked.ledger_key_id,
        "ledger_public_key": asked.ledger_public_key,
        "orders_keys": list(orders_keys),
    }
