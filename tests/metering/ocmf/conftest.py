"""Meters made of keys: they sign any payload on any curve of the specification."""

import hashlib
import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

CURVES = {
    "secp192k1": None,
    "secp192r1": ec.SECP192R1,
    "secp256k1": ec.SECP256K1,
    "secp256r1": ec.SECP256R1,
    "secp384r1": ec.SECP384R1,
    "secp521r1": ec.SECP521R1,
    "brainpool256r1": ec.BrainpoolP256R1,
    "brainpool384r1": ec.BrainpoolP384R1,
    "brainpoolP512r1": ec.BrainpoolP512R1,
}
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
READINGS = [
    {"TM": "2026-03-01T12:00:00,000+0100 S", "TX": "B", "RV": 2935.6, "RI": "1-b:1.8.0", "RU": "kWh", "EF": "", "ST": "G"},
    {"TM": "2026-03-01T13:00:00,000+0100 S", "TX": "E", "RV": 2965.1, "RI": "1-b:1.8.0", "RU": "kWh", "EF": "", "ST": "G"},
]  # fmt: skip
PAYLOAD = {
    "FV": "1.2",
    "GS": "G1",
    "PG": "T12",
    "MS": "M1",
    "IS": True,
    "IT": "NONE",
    "ID": "u",
    "RD": READINGS,
}


class Signer:
    """One meter. `point` is its public key in SEC 1 form."""

    def __init__(self, curve="secp256r1", secret=4711):
        self.curve = curve
        self.size = {"192": 24, "256": 32, "384": 48, "521": 66, "512": 64}[
            "".join(c for c in curve if c.isdigit())[:3]
        ]
        if CURVES[curve] is None:
            self._slow = _secp192k1(secret)
            self.point = self._slow.get_verifying_key().to_string("uncompressed")
            self.der = self._slow.get_verifying_key().to_der()
        else:
            self.key = ec.derive_private_key(secret, CURVES[curve]())
            public = self.key.public_key()
            self.point = public.public_bytes(
                serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
            )
            self.der = public.public_bytes(serialization.Encoding.DER, SPKI)
            self.pem = public.public_bytes(serialization.Encoding.PEM, SPKI)

    def numbers(self, payload, hash_name="SHA256"):
        if CURVES[self.curve] is None:
            digest = hashlib.new(hash_name, payload).digest()
            return self._slow.sign_digest(
                digest, sigencode=lambda r, s, order: (r, s), allow_truncate=True, k=12345
            )
        return decode_dss_signature(self.key.sign(payload, ec.ECDSA(getattr(hashes, hash_name)())))

    @staticmethod
    def der_signature(r, s, pad=0):
        """An Ecdsa-Sig-Value, with `pad` needless zeros in front of each number."""
        body = b""
        for number in (r, s):
            raw = b"\0" * pad + number.to_bytes((number.bit_length() + 8) // 8, "big")
            body += b"\x02" + bytes([len(raw)]) + raw
        return b"\x30" + (bytes([len(body)]) if len(body) < 128 else bytes([0x81, len(body)])) + body

    def record(self, payload=PAYLOAD, *, hash_name="SHA256", **section):
        """An OCMF record; `section` changes the signature section (None leaves a field out)."""
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        signature = self.der_signature(*self.numbers(raw, hash_name))
        fields = {"SA": f"ECDSA-{self.curve}-{hash_name}", "SD": signature.hex()} | section
        fields = {name: value for name, value in fields.items() if value is not None}
        return b"OCMF|" + raw + b"|" + json.dumps(fields).encode()


def _secp192k1(secret):
    from ecdsa import SigningKey, ellipticcurve
    from ecdsa.curves import Curve

    p = 2**192 - 2**32 - 4553  # SEC 2, 2.2.1
    field = ellipticcurve.CurveFp(p, 0, 3, 1)
    x = 0xDB4FF10EC057E9AE26B07D0280B7F4341DA5D1B1EAE06C7D
    y = pow(x**3 + 3, (p + 1) // 4, p)
    y = y if y % 2 else p - y
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFE26F2FC170F69466A74DEFD8D
    generator = ellipticcurve.PointJacobi(field, x, y, 1, order, generator=True)
    return SigningKey.from_secret_exponent(
        secret, curve=Curve("secp192k1", field, generator, (1, 3, 132, 0, 31))
    )


@pytest.fixture(scope="session")
def signer():
    return Signer()


@pytest.fixture(scope="session", params=list(CURVES))
def any_signer(request):
    return Signer(request.param)


@pytest.fixture(scope="session")
def make_signer():
    return Signer


@pytest.fixture(scope="session")
def signed(signer):
    """One record, the same for every example of a property: each signing draws another random number."""
    return signer.record()
