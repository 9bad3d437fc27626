"""A scheme of our own: a certification authority, an issuer, and cards that answer commands as Books 2, 3, C-2 and
C-3 say. Written against the books' tables, apart from the code that is tested.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import date

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from edge.emv import tlv
from edge.emv.kernel.terminal import Purchase, Terminal
from edge.emv.oda.keys import CaKey, CaKeys, PublicKey

TODAY = date(2026, 11, 22)
PAN = {2: "5413330089020011", 3: "4761739001010119"}
AID = {2: bytes.fromhex("A0000000041010"), 3: bytes.fromhex("A0000000031010")}
TEST_INDEX = {2: 0xF1, 3: 0x94}


class Rsa:
    def __init__(self, bits: int) -> None:
        key = rsa.generate_private_key(public_exponent=3, key_size=bits).private_numbers()
        self.n, self.d = key.public_numbers.n, key.d
        self.modulus = self.n.to_bytes(bits // 8, "big")
        self.made: dict[bytes, bytes] = {}

    def sign(self, data: bytes) -> bytes:
        assert len(data) == len(self.modulus), (len(data), len(self.modulus))
        if data not in self.made:
            self.made[data] = pow(int.from_bytes(data, "big"), self.d, self.n).to_bytes(len(data), "big")
        return self.made[data]


def sha1(data: bytes) -> bytes:
    return hashlib.sha1(data).digest()


def sealed(signer: Rsa, body: bytes, vouched: bytes) -> bytes:
    """6A, the body, its hash with what is vouched for, BC."""
    return signer.sign(b"\x6a" + body + sha1(body + vouched) + b"\xbc")


def certificate(signer: Rsa, head: bytes, subject: Rsa, vouched: bytes, overhead: int) -> tuple[bytes, bytes]:
    """The certificate and the remainder. `head`: format, identifier, expiry, serial number."""
    room = len(signer.modulus) - overhead
    part = subject.modulus[:room].ljust(room, b"\xbb")
    remainder = subject.modulus[room:]
    body = head + b"\x01\x01" + bytes((len(subject.modulus), 1)) + part
    return sealed(signer, body, remainder + b"\x03" + vouched), remainder


@dataclass
class Scheme:
    """Keys, drawn once for all tests."""

    ca: Rsa
    issuer: Rsa
    icc: Rsa

    def keys(self, *revoked, expires: date | None = None) -> CaKeys:
        key = PublicKey(modulus=self.ca.modulus, exponent=3)
        return CaKeys(
            (
                CaKey(rid=AID[kernel][:5], index=TEST_INDEX[kernel], key=key, expires=expires)
                for kernel in (2, 3)
            ),
            revoked,
        )


@dataclass
class Card:
    """A card of either kernel. Every part can be changed before it is put into the field."""

    scheme: Scheme
    kernel: int
    pan: str = ""
    aip: bytes = b""
    issuer_expiry: str = "1230"
    icc_expiry: str = "1229"
    issuer_head: bytes | None = None
    expiry: str = "291231"
    decides: str = "ARQC"
    ctq: bytes = b"\x00\x00"
    fdda_version: int = 1
    fdda_format: int = 0
    pdol: bytes = b""
    cdol1: bytes = b""
    cvm_list: bytes = bytes(8) + bytes.fromhex("1F03")
    more: dict[str, bytes] = field(default_factory=dict)
    without: set[str] = field(default_factory=set)
    status: dict[int, int] = field(default_factory=dict)
    number: bytes = bytes.fromhex("1122334455667788")
    tag_list: bytes | None = b"\x82"
    priority: int = 1
    asked: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pan = self.pan or PAN[self.kernel]
        self.aip = self.aip or bytes.fromhex("1980" if self.kernel == 2 else "2000")
        if not self.pdol:
            names = ("9F66049F02069F03069F1A0295055F2A029A039C019F3704", "9F1D089F1A02")
            self.pdol = bytes.fromhex(names[0] if self.kernel == 3 else names[1])
        self.cdol1 = self.cdol1 or bytes.fromhex(
            "9F02069F03069F1A0295055F2A029A039C019F37049F35019F45029F4C089F34039F21039F7C14"
        )
        self.counter = 0x0041
        self.cryptogram = bytes.fromhex("A1B2C3D4E5F60718")
        self.track_2 = bytes.fromhex(f"{self.pan}D{self.expiry[:4]}2010000000000")

    # what it holds

    def signed_record(self) -> bytes:
        objects = {
            "5F24": bytes.fromhex(self.expiry),
            "5F25": bytes.fromhex("240101"),
            "5A": bytes.fromhex(self.pan),
            "5F34": b"\x01",
            "9F07": b"\xff\xc0",
            "5F28": b"\x02\x76",
        }
        if self.kernel == 2:
            objects |= {
                "57": self.track_2,
                "8C": self.cdol1,
                "8E": self.cvm_list,
                "9F0D": bytes(5),
                "9F0E": bytes(5),
                "9F0F": bytes(5),
                "9F08": b"\x00\x02",
                "9F42": b"\x09\x78",
            }
        if self.tag_list is not None:
            objects["9F4A"] = self.tag_list
        return self._record(objects | self.more)

    def _record(self, objects: dict[str, bytes]) -> bytes:
        return tlv.encode(
            "70", b"".join(tlv.encode(t, v) for t, v in objects.items() if t not in self.without)
        )

    def static(self) -> bytes:
        (record,) = tlv.parse(self.signed_record())
        return record.value + (self.aip if self.tag_list == b"\x82" else b"")

    def records(self) -> dict[tuple[int, int], bytes]:
        scheme = self.scheme
        head = self.issuer_head or b"\x02" + bytes.fromhex(
            self.pan[:6] + "FF" + self.issuer_expiry + "000001"
        )
        issuer_certificate, issuer_rest = certificate(scheme.ca, head, scheme.issuer, b"", 36)
        icc_head = b"\x04" + bytes.fromhex(self.pan.ljust(20, "F") + self.icc_expiry + "000002")
        icc_certificate, icc_rest = certificate(scheme.issuer, icc_head, scheme.icc, self.static(), 42)
        keys = {"8F": bytes((TEST_INDEX[self.kernel],)), "90": issuer_certificate, "92": issuer_rest}
        own = {"9F32": b"\x03", "9F47": b"\x03", "9F48": icc_rest}
        last = {"9F46": icc_certificate}
        if self.aip[0] & 0x40:
            room = len(scheme.issuer.modulus) - 26
            body = b"\x03\x01\xda\xc0" + b"\xbb" * room
            own["93"] = sealed(scheme.issuer, body, self.static())
        if self.kernel == 3:
            own["9F69"] = bytes((self.fdda_version,)) + bytes.fromhex("AABBCCDD") + self.ctq
        held = {
            (1, 1): self.signed_record(),
            (2, 1): self._record(keys),
            (2, 2): self._record(own),
            (2, 3): self._record(last),
        }
        if self.kernel == 3:
            held[2, 4] = self._record({"9F4B": self.fast_signature(own["9F69"])})
        return held

    @property
    def locator(self) -> bytes:
        return bytes.fromhex("0801010110010300" if self.kernel == 2 else "0801010110010400")

    # what it signs

    def dynamic(self, dynamic_data: bytes, terminal_data: bytes, form: int = 0x05) -> bytes:
        room = len(self.scheme.icc.modulus) - 25 - len(dynamic_data)
        body = bytes((form, 0x01)) + bytes((len(dynamic_data),)) + dynamic_data + b"\xbb" * room
        return sealed(self.scheme.icc, body, terminal_data)

    def fast_signature(self, related: bytes) -> bytes:
        told = self.told(self.pdol, getattr(self, "pdol_data", b"\0" * 256))
        terminal_data = told["9F37"]
        if self.fdda_version:
            terminal_data += told["9F02"] + told["5F2A"] + related
        form = self.fdda_format or (0x95 if self.decides == "ARQC" else 0x05)
        return self.dynamic(b"\x02" + self.counter.to_bytes(2, "big"), terminal_data, form)

    @staticmethod
    def told(entries: bytes, data: bytes) -> dict[str, bytes]:
        values, at = {}, 0
        while entries:
            size = 2 if entries[0] & 0x1F == 0x1F else 1
            values[entries[:size].hex().upper()] = data[at : at + entries[size]]
            at += entries[size]
            entries = entries[size + 1 :]
        return values

    # what it answers

    def apdu(self, command: bytes) -> bytes:
        self.asked.append(command)
        status = self.status.get(len(self.asked) - 1)
        if status is not None:
            return status.to_bytes(2, "big")
        ins, data = command[1], command[5 : 5 + command[4]] if len(command) > 5 else b""
        answer = {0xA4: self.select, 0xA8: self.options, 0xAE: self.generate}.get(ins)
        if answer is not None:
            said = answer(data, command)
        elif ins == 0xB2:
            said = self.records().get((command[3] >> 3, command[2]))
        else:
            said = None
        return b"\x6a\x82" if said is None else said + b"\x90\x00"

    def select(self, name: bytes, _command: bytes) -> bytes | None:
        if name == b"2PAY.SYS.DDF01":
            entry = tlv.encode("4F", AID[self.kernel]) + tlv.encode("87", bytes((self.priority,)))
            listed = tlv.encode("A5", tlv.encode("BF0C", tlv.encode("61", entry)))
            return tlv.encode("6F", tlv.encode("84", name) + listed)
        if not AID[self.kernel].startswith(name):
            return None
        inner = tlv.encode("50", b"TEST CARD") + tlv.encode("9F38", self.pdol)
        return tlv.encode("6F", tlv.encode("84", AID[self.kernel]) + tlv.encode("A5", inner))

    def options(self, data: bytes, _command: bytes) -> bytes:
        self.pdol_data = data[2:]
        objects = {"82": self.aip, "94": self.locator}
        if self.kernel == 3:
            kinds = {"AAC": 0x80, "TC": 0x90, "ARQC": 0xA0}
            objects |= {
                "57": self.track_2,
                "9F36": self.counter.to_bytes(2, "big"),
                "9F26": self.cryptogram,
                "9F10": bytes.fromhex("06011203") + bytes((kinds[self.decides], 0, 0)),
                "9F6C": self.ctq,
            }
        said = b"".join(tlv.encode(t, v) for t, v in objects.items() if t not in self.without)
        return tlv.encode("77", said)

    def generate(self, data: bytes, command: bytes) -> bytes:
        kind = {"AAC": 0x00, "TC": 0x40, "ARQC": 0x80}[self.decides if command[2] & 0xC0 else "AAC"]
        plain = {"9F27": bytes((kind,)), "9F36": self.counter.to_bytes(2, "big")}
        after = {"9F10": bytes.fromhex("0110A00003220000000000000000000000FF")}
        if not command[2] & 0x10 or not kind:
            objects = plain | {"9F26": self.cryptogram} | after
        else:
            said = b"".join(tlv.encode(t, v) for t, v in (plain | after).items())
            dynamic = b"\x08" + self.number + bytes((kind,)) + self.cryptogram
            dynamic += sha1(self.pdol_data + data + said)
            objects = plain | {"9F4B": self.dynamic(dynamic, self.told(self.cdol1, data)["9F37"])} | after
        return tlv.encode(
            "77", b"".join(tlv.encode(t, v) for t, v in objects.items() if t not in self.without)
        )


@pytest.fixture(scope="session")
def scheme() -> Scheme:
    return Scheme(Rsa(1152), Rsa(1024), Rsa(1024))


@pytest.fixture
def make(scheme):
    """A card of kernel 2 or 3."""
    return lambda kernel, **changes: Card(scheme, kernel, **changes)


@pytest.fixture
def terminal() -> Terminal:
    return Terminal(country=276)


@pytest.fixture
def purchase() -> Purchase:
    return Purchase(
        amount_minor=4_000, currency=978, unpredictable_number=bytes.fromhex("0A1B2C3D"), day=TODAY
    )


def carry(talk, card):
    """Carries a conversation to its end: the outcome, and every exchange."""
    exchanges = []
    try:
        command = next(talk)
        while True:
            answer = card.apdu(command)
            exchanges.append((command, answer))
            command = talk.send(answer)
    except StopIteration as end:
        return end.value, exchanges


@pytest.fixture(name="carry")
def _carry():
    return carry


@pytest.fixture
def tap(terminal, purchase, scheme):
    """A tap of a card: outcome and exchanges."""
    from edge.emv.kernel.entry import pay

    def run(card, *, at=terminal, buying=purchase, keys=None):
        return carry(pay(at, buying, keys or scheme.keys()), card)

    return run
