"""The test cards, read by a terminal of this file's own and checked by arithmetic of its own; cryptograms by pyemv."""

from __future__ import annotations

import functools
import hashlib
import random
from datetime import date

import pytest

from edge.emv.tlv import encode, parse
from hw.virtual.acquirer_host import Asked
from hw.virtual.bank_cards.bank import KINDS, Bank
from hw.virtual.bank_cards.card import PPSE
from hw.virtual.bank_cards.hostile import hostiles
from hw.virtual.cards import Left, torn
from hw.virtual.isodep import Picc

AMOUNT = 6000
VISA, MASTERCARD = bytes.fromhex("A0000000031010"), bytes.fromhex("A0000000041010")
DE55 = ("9F26", "9F27", "9F10", "9F37", "9F36", "95", "9A", "9C", "9F02", "5F2A", "82", "9F1A", "9F03")


pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")


@functools.cache
def the_bank():
    return Bank(today=lambda: date(2026, 11, 22))


@pytest.fixture
def bank():
    return the_bank()


class Refused(Exception):
    pass


class Reader:
    """The least terminal: it asks, and keeps every object it was given. `asked` counts commands."""

    def __init__(self, card, *, amount_minor=AMOUNT, ttq="21804000", un="11223344", online=True):
        self.card = card
        self.asked = 0
        self.pdol_data = self.cdol_data = self.answer = b""
        self.static = b""
        self.terminal = {
            "9F66": bytes.fromhex(ttq),
            "9F02": bytes.fromhex(f"{amount_minor:012}"),
            "9F03": bytes(6),
            "9F1A": bytes.fromhex("0276"),
            "95": bytes(5),
            "5F2A": bytes.fromhex("0978"),
            "9A": bytes.fromhex("261122"),
            "9C": b"\x00",
            "9F37": bytes.fromhex(un),
            "9F35": b"\x25",
            "9F1D": bytes(8),
            "9F45": bytes(2),
            "9F4C": bytes(8),
            "9F34": bytes.fromhex("1F0302"),
        }
        self.kind = 0x90 if online else 0x50
        self.objects = {}
        self.uid = card.enter()

    def ask(self, command):
        self.asked += 1
        answer = self.card.apdu(bytes.fromhex(command) if isinstance(command, str) else command)
        if answer[-2:] != b"\x90\x00":
            raise Refused(answer[-2:].hex())
        return answer[:-2]

    def keep(self, data):
        for top in parse(data):
            for each in top.walk():
                if not each.children:
                    assert self.objects.get(each.tag, each.value) == each.value, each.tag
                    self.objects[each.tag] = each.value

    def filled(self, wanted):
        data, at = b"", 0
        while at < len(wanted):
            size = 2 if wanted[at] & 0x1F == 0x1F else 1
            tag = wanted[at : at + size].hex().upper()
            value = self.terminal[tag]
            assert len(value) == wanted[at + size], tag
            data, at = data + value, at + size + 1
        return data

    def select(self):
        directory = self.ask(b"\x00\xa4\x04\x00\x0e" + PPSE + b"\x00")
        names = [e.value for top in parse(directory) for e in top.walk() if e.tag == "4F"]
        self.aid = names[0]
        fci = self.ask(b"\x00\xa4\x04\x00" + bytes((len(names[0]),)) + names[0] + b"\x00")
        self.keep(fci)
        return names

    def tap(self):
        """To the cryptogram and everything that proves it."""
        self.select()
        self.pdol_data = self.filled(self.objects.get("9F38", b""))
        length = len(self.pdol_data)
        answer = self.ask(bytes((0x80, 0xA8, 0, 0, length + 2, 0x83, length)) + self.pdol_data + b"\x00")
        self.keep(answer)
        self.read()
        if self.aid.startswith(MASTERCARD):
            self.cdol_data = self.filled(self.objects["8C"])
            command = bytes((0x80, 0xAE, self.kind, 0, len(self.cdol_data))) + self.cdol_data + b"\x00"
            self.answer = self.ask(command)
            self.keep(self.answer)
        return self

    def read(self):
        locator = self.objects.get("94", b"")
        for at in range(0, len(locator), 4):
            sfi, first, last, signed = locator[at : at + 4]
            for number in range(first, last + 1):
                record = self.ask(bytes((0x00, 0xB2, number, sfi | 4, 0x00)))
                self.keep(record)
                if number < first + signed:
                    (template,) = parse(record)
                    self.static += template.value

    @property
    def pan(self):
        return self.objects["57"].hex().upper().split("D")[0]

    def de55(self, **changes):
        told = self.terminal | self.objects | changes
        if "9F26" not in told:
            told["9F26"] = recover_combined(self, the_bank())
        return b"".join(encode(tag, told[tag]) for tag in DE55)


# what anybody can check with the public keys


def recovered(signature, modulus, exponent=3):
    data = pow(int.from_bytes(signature, "big"), exponent, int.from_bytes(modulus, "big")).to_bytes(
        len(modulus), "big"
    )
    assert data[0] == 0x6A
    assert data[-1] == 0xBC
    return data


def issuer_key(reader, bank):
    o = reader.objects
    (ca,) = [k for k in bank.authority.capk() if reader.aid.hex().upper().startswith(k["rid"])]
    assert int(ca["index"], 16) == o["8F"][0]
    data = recovered(o["90"], bytes.fromhex(ca["modulus"]))
    assert data[1] == 0x02
    assert data[2:6].hex() == reader.pan[:8]
    assert sha1(data[1:-21] + o["92"] + o["9F32"]) == data[-21:-1]
    return data, (data[15:-21] + o["92"])[: data[13]]


def card_key(reader, bank):
    o = reader.objects
    _, issuer = issuer_key(reader, bank)
    data = recovered(o["9F46"], issuer)
    assert data[1] == 0x04
    assert data[2:12].hex().upper().rstrip("F") == reader.pan
    static = reader.static + (o["82"] if o["9F4A"] == b"\x82" else b"")
    assert sha1(data[1:-21] + o["9F48"] + o["9F47"] + static) == data[-21:-1]
    return data, (data[21:-21] + o["9F48"])[: data[19]]


def check_fast_dda(reader, bank):
    o, t = reader.objects, reader.terminal
    _, key = card_key(reader, bank)
    data = recovered(o["9F4B"], key)
    assert data[1:7] == (b"\x95" if o["9F27"] == b"\x80" else b"\x05") + b"\x01\x03\x02" + o["9F36"]
    assert o["9F69"][0] == 1
    assert o["9F69"][5:7] == o["9F6C"]
    signed = data[1:-21] + t["9F37"] + t["9F02"] + t["5F2A"] + o["9F69"]
    assert sha1(signed) == data[-21:-1]


def recover_combined(reader, bank):
    """The cryptogram, which stands inside the signature."""
    _, key = card_key(reader, bank)
    data = recovered(reader.objects["9F4B"], key)
    assert sha1(data[1:-21] + reader.terminal["9F37"]) == data[-21:-1]
    dynamic = data[4 : 4 + data[3]]
    n = dynamic[0]
    cid, mac, digest = dynamic[1 + n], dynamic[2 + n : 10 + n], dynamic[10 + n : 30 + n]
    (template,) = parse(reader.answer)
    shown = b"".join(encode(e.tag, e.value) for e in template.children if e.tag != "9F4B")
    assert sha1(reader.pdol_data + reader.cdol_data + shown) == digest
    assert cid == reader.objects["9F27"][0]
    return mac


def sha1(data):
    return hashlib.sha1(data).digest()


def prove(reader, bank):
    if reader.aid == MASTERCARD:
        recover_combined(reader, bank)
    else:
        check_fast_dda(reader, bank)


def asked(reader, *, amount_minor=AMOUNT, expiry=None, icc=None):
    track = reader.objects["57"].hex()
    return Asked(
        pan=reader.pan,
        expiry=expiry or track.split("d")[1][:4],
        sequence_no=1,
        icc=icc or reader.de55(),
        amount_minor=amount_minor,
        currency="978",
    )


GENUINE = ("visa", "mastercard", "visa phone", "mastercard phone", "co-badged", "no money", "stolen", "of no bank",
           "expired visa", "expired mastercard", "expired certificate", "revoked", "wrong cryptogram",
           "wrong cryptogram, mastercard")  # fmt: skip


@pytest.mark.parametrize("name", GENUINE)
def test_a_card_proves_itself_to_anybody_with_the_public_keys(bank, name):
    for amount_minor in (1, AMOUNT):
        prove(Reader(bank.card(name), amount_minor=amount_minor).tap(), bank)


@pytest.mark.parametrize("name", ["forged visa", "forged mastercard"])
def test_a_forgery_does_not(bank, name):
    reader = Reader(bank.card(name)).tap()
    card_key(reader, bank)
    with pytest.raises(AssertionError):
        prove(reader, bank)


@pytest.mark.parametrize("name", ["visa", "mastercard"])
def test_any_changed_byte_of_what_is_signed_breaks_the_proof(bank, name):
    draw = random.Random(1)
    reader = Reader(bank.card(name)).tap()
    for tag in ("90", "92", "9F46", "9F48", "9F4B", "82"):
        right = reader.objects[tag]
        at = draw.randrange(len(right))
        reader.objects[tag] = right[:at] + bytes((right[at] ^ (1 << draw.randrange(8)),)) + right[at + 1 :]
        with pytest.raises(AssertionError):
            prove(reader, bank)
        reader.objects[tag] = right
    for at in range(0, len(reader.static), 7):
        right, reader.static = reader.static, reader.static[:at] + b"\xfe" + reader.static[at + 1 :]
        with pytest.raises(AssertionError):
            prove(reader, bank)
        reader.static = right
    prove(reader, bank)


@pytest.mark.parametrize("name", ["visa", "mastercard", "visa phone", "mastercard phone", "co-badged"])
def test_the_issuer_takes_each_cryptogram_once(bank, name):
    reader = Reader(bank.card(name)).tap()
    assert bank.issuer.approve(asked(reader)) == "00"
    assert bank.issuer.approve(asked(reader)) == "63"
    assert bank.issuer.approve(asked(Reader(bank.card(name), un="99887766").tap())) == "00"


@pytest.mark.parametrize("name", ["visa", "mastercard"])
def test_the_issuer_notices_whatever_was_changed_on_the_way(bank, name):
    for tag in DE55:
        reader = Reader(bank.card(name)).tap()
        told = {each.tag: each.value for each in parse(reader.de55())}
        changed = bytes((told[tag][0] ^ 1,)) + told[tag][1:]
        code = bank.issuer.approve(asked(reader, icc=reader.de55(**{tag: changed})))
        assert code in {"05", "12", "63"}, tag
    assert bank.issuer.approve(asked(Reader(bank.card(name)).tap(), amount_minor=1)) == "12"
    assert bank.issuer.approve(asked(Reader(bank.card(name)).tap(), icc=b"\x9f")) == "30"
    assert bank.issuer.approve(asked(Reader(bank.card(name)).tap(), icc=encode("9A", b"abc"))) == "30"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("expired visa", "54"),
        ("expired mastercard", "54"),
        ("declined by itself", "05"),
        ("declined by itself, mastercard", "05"),
        ("wrong cryptogram", "63"),
        ("wrong cryptogram, mastercard", "63"),
        ("no money", "51"),
        ("stolen", "62"),
        ("of no bank", "14"),
        ("revoked", "00"),  # revocation is for terminals that check offline
    ],
)
def test_what_the_issuer_says_of_the_others(bank, name, code):
    assert bank.issuer.approve(asked(Reader(bank.card(name)).tap())) == code
    assert all("*" in pan for pan, _ in bank.issuer.answers)


def test_commands_are_as_few_as_the_kernels_allow(bank):
    assert Reader(bank.card("visa")).tap().asked == 6
    assert Reader(bank.card("visa"), ttq="20804000").tap().asked == 3
    assert Reader(bank.card("mastercard")).tap().asked == 7


def test_a_card_says_no_by_itself_without_a_signature(bank):
    for name in ("declined by itself", "declined by itself, mastercard"):
        reader = Reader(bank.card(name)).tap()
        assert reader.objects["9F27"] == b"\x00"
        assert "9F4B" not in reader.objects
        assert len(reader.objects["9F26"]) == 8


def test_a_card_says_yes_offline_only_where_the_terminal_lets_it(bank):
    assert Reader(bank.card("offline visa"), ttq="21004000").tap().objects["9F27"] == b"\x40"
    assert Reader(bank.card("offline visa")).tap().objects["9F27"] == b"\x80"
    assert Reader(bank.card("visa"), ttq="21004000").tap().objects["9F27"] == b"\x80"
    assert Reader(bank.card("offline mastercard"), online=False).tap().objects["9F27"] == b"\x40"
    assert Reader(bank.card("offline mastercard")).tap().objects["9F27"] == b"\x80"
    prove(Reader(bank.card("offline visa"), ttq="21004000").tap(), bank)


def test_a_card_for_contacts_only_and_a_terminal_for_stripes_only(bank):
    with pytest.raises(Refused, match="6984"):
        Reader(bank.card("contact only")).tap()
    with pytest.raises(Refused, match="6985"):
        Reader(bank.card("visa"), ttq="81804000").tap()


def test_a_locked_phone_wants_its_owner_first(bank):
    phone = bank.card("locked phone")
    with pytest.raises(Refused, match="6986"):
        Reader(phone).tap()
    phone.applications[0].unlock()
    prove(Reader(phone).tap(), bank)


def test_a_phone_has_another_number_than_the_plastic_card_and_the_same_account_reference(bank):
    for scheme in ("visa", "mastercard"):
        plastic, phone = Reader(bank.card(scheme)).tap(), Reader(bank.card(f"{scheme} phone")).tap()
        assert plastic.pan != phone.pan
        assert plastic.objects["9F24"] == phone.objects["9F24"]
        assert len(plastic.objects["9F24"]) == 29


def test_a_phone_says_that_it_checked_its_owner_and_shows_another_uid_each_time(bank):
    visa, mastercard = Reader(bank.card("visa phone")).tap(), Reader(bank.card("mastercard phone")).tap()
    assert visa.objects["9F6C"] == bytes.fromhex("0080")
    assert mastercard.objects["82"][0] & 0x02
    uids = {bank.card("visa phone").enter() for _ in range(10)}
    assert len(uids) == 10
    assert all(uid[0] == 8 for uid in uids)
    assert len({bank.card("visa").enter() for _ in range(3)}) == 1


def test_a_plastic_card_asks_for_a_pin_where_the_terminal_wants_a_cvm(bank):
    assert Reader(bank.card("visa"), ttq="21C04000").tap().objects["9F6C"] == bytes.fromhex("8000")
    assert Reader(bank.card("visa")).tap().objects["9F6C"] == bytes(2)


def test_two_applications_stand_in_order_and_answer_to_parts_of_their_names(bank):
    card = bank.card("co-badged")
    assert Reader(card).select() == [MASTERCARD, VISA]
    reader = Reader(card)
    assert VISA in reader.ask("00A4040005A00000000300")
    with pytest.raises(Refused, match="6a82"):
        reader.ask("00A4040205A00000000300")
    with pytest.raises(Refused, match="6a82"):
        reader.ask("00A4040004A000000000")


def test_dates_and_revocations_can_be_read_from_the_certificates(bank):
    data, _ = issuer_key(Reader(bank.card("expired certificate")).tap(), bank)
    assert data[6:8].hex() == "0324"
    revoked, _ = issuer_key(Reader(bank.card("revoked")).tap(), bank)
    assert (VISA[:5], 0xF5, revoked[8:11]) in bank.authority.revoked
    fine, _ = issuer_key(Reader(bank.card("visa")).tap(), bank)
    assert (VISA[:5], 0xF5, fine[8:11]) not in bank.authority.revoked
    assert Reader(bank.card("expired visa")).tap().objects["5F24"].hex() == "240328"


def test_commands_out_of_order_or_of_the_wrong_length_change_nothing(bank):
    for name in ("visa", "mastercard"):
        reader = Reader(bank.card(name))
        counter = bank.card(name).applications[0].atc
        for command in ("80A8000002830000", "00B2010C00", "80AE900000", "00", "00A40400"):
            with pytest.raises(Refused):
                reader.ask(command)
        reader.select()
        for command in (
            "80A800000483029F6600",
            "80A8000001830000",
            "80AE90000100",
            "00B2010C00",
            "00CA9F3600",
        ):
            with pytest.raises(Refused):
                reader.ask(command)
        assert bank.card(name).applications[0].atc == counter
    reader.tap()
    with pytest.raises(Refused, match="6985"):
        reader.ask(bytes((0x80, 0xAE, 0x90, 0, len(reader.cdol_data))) + reader.cdol_data + b"\x00")


@pytest.mark.parametrize("name", ["visa", "mastercard"])
def test_a_card_torn_away_anywhere_works_again_at_the_next_tap(bank, name):
    for at in range(Reader(bank.card(name)).tap().asked):
        with pytest.raises(Left):
            Reader(torn(bank.card(name), at_apdu=at)).tap()
        reader = Reader(bank.card(name)).tap()
        prove(reader, bank)
        assert bank.issuer.approve(asked(reader)) == "00"


def test_the_same_seed_makes_the_same_cards_and_another_one_others(bank):
    one, two = Bank(7), Bank(7)
    assert one.authority.capk() == two.authority.capk() != bank.authority.capk()
    first, second = Reader(one.card("visa")).tap(), Reader(two.card("visa")).tap()
    assert first.objects == second.objects


def test_answers_fit_into_short_frames_and_pass_the_air_interface_in_pieces(bank):
    class OverAir:
        """Chains frames of 64 bytes by ISO/IEC 14443-4, as a small reader does."""

        def __init__(self, card):
            self.card = card
            self.block = 1

        def enter(self):
            self.picc = Picc(self.card)
            uid = self.card.enter()
            assert self.picc.answer(b"\xe0\x50")
            return uid

        def apdu(self, command):
            answer, parts = b"", [command[n : n + 60] for n in range(0, len(command), 60)]
            for n, part in enumerate(parts):
                self.block ^= 1
                frame = self.picc.answer(
                    bytes((0x02 | self.block | (0x10 if n < len(parts) - 1 else 0),)) + part
                )
            while frame[0] & 0x10:
                answer += frame[1:]
                self.block ^= 1
                frame = self.picc.answer(bytes((0xA2 | self.block,)))
            assert len(answer + frame[1:]) <= 258
            return answer + frame[1:]

    for name in ("visa", "mastercard"):
        prove(Reader(OverAir(bank.card(name))).tap(), bank)


def test_hostile_cards_answer_in_bounds_and_for_ever():
    for name, card in hostiles().items():
        card.enter()
        for command in (
            "00A404000E" + PPSE.hex(),
            "00A4040007A0000000031010",
            "80A80000028300",
            "00B2010C00",
        ) * 3:
            answer = card.apdu(bytes.fromhex(command))
            assert answer, name
            assert len(answer) <= 65_536, name


def test_every_card_in_the_drawer_can_be_tapped(bank):
    assert set(KINDS) < set(bank.names)
    for name in bank.names:
        assert Reader(bank.card(name)).select()
