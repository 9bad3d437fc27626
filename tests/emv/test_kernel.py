"""Taps of our own cards, command by command: what is asked, what comes of it, what cannot be trusted."""

from __future__ import annotations

import pickle

import msgspec
import pytest

from edge.emv import tlv
from edge.emv.kernel.entry import identify, pay
from edge.emv.kernel.outcome import (
    Approved,
    Declined,
    EndApplication,
    OnlineRequest,
    SeePhone,
    TryAnotherInterface,
)
from edge.emv.kernel.terminal import MASTERCARD, VISA
from edge.emv.oda.keys import Revoked

GENUINE = {2: ("CDA", "valid", None), 3: ("fDDA", "valid", None)}


def proof(outcome):
    return (outcome.oda.method, outcome.oda.result, outcome.oda.reason)


def chip(outcome) -> dict[str, bytes]:
    return {each.tag: each.value for each in tlv.parse(outcome.de55)}


@pytest.mark.parametrize("kernel", [2, 3])
def test_a_genuine_card_asks_its_issuer(tap, make, kernel):
    outcome, _ = tap(make(kernel))
    assert isinstance(outcome, OnlineRequest), outcome
    assert proof(outcome) == GENUINE[kernel]
    assert (outcome.verified, outcome.card.kernel, outcome.card.label) == ("none", kernel, "TEST CARD")


def test_kernel_2_takes_the_fewest_commands(tap, make):
    _, exchanges = tap(make(2))
    heads = [command[:4].hex().upper() for command, _ in exchanges]
    assert heads == [
        "00A40400", "00A40400", "80A80000", "00B2010C", "00B20114", "00B20214", "00B20314", "80AE9000",
    ]  # fmt: skip


def test_kernel_3_takes_the_fewest_commands(tap, make):
    _, exchanges = tap(make(3))
    assert [command[1] for command, _ in exchanges] == [0xA4, 0xA4, 0xA8, 0xB2, 0xB2, 0xB2, 0xB2, 0xB2]


def test_kernel_3_reads_nothing_where_the_card_has_no_files(tap, make):
    outcome, exchanges = tap(make(3, without={"94"}))
    assert [command[1] for command, _ in exchanges] == [0xA4, 0xA4, 0xA8]
    assert proof(outcome) == ("none", "not_performed", "the card gave no signature (9F4B)")


def test_kernel_3_is_told_amount_and_abilities_in_the_order_of_its_list(tap, make):
    _, exchanges = tap(make(3))
    assert exchanges[2][0] == bytes.fromhex(
        "80A8000023 8321 21804080 000000004000 000000000000 0276 0000000000 0978 261122 00 0A1B2C3D 00"
    )


def test_kernel_2_is_told_its_list_and_what_the_terminal_found_out(tap, make):
    _, exchanges = tap(make(2))
    assert exchanges[-1][0] == bytes.fromhex(
        "80AE900042 000000004000 000000000000 0276 0000008000 0978 261122 00 0A1B2C3D 24 0000 0000000000000000"
        "1F0302 000000" + "00" * 20 + "00"
    )


@pytest.mark.parametrize("kernel", [2, 3])
def test_the_acquirer_gets_the_chip_data_in_order_and_no_card_number(tap, make, kernel):
    outcome, _ = tap(make(kernel))
    tags = [each.tag for each in tlv.parse(outcome.de55)]
    expected = (
        "9F26 9F27 9F10 9F37 9F36 95 9A 9C 9F02 5F2A 82 9F1A 9F34 9F33 9F35 9F03 84 5F34 9F09 9F1E 9F41"
    )
    if kernel == 3:
        expected = expected.replace(" 9F34", "")
    assert " ".join(tags) == expected
    assert chip(outcome)["9F27"] == b"\x80"
    assert chip(outcome)["9F26"].hex().upper() == "A1B2C3D4E5F60718"
    assert make(kernel).pan not in outcome.de55.hex()


def test_the_chip_data_are_the_terminals_own_where_the_card_says_otherwise(tap, make):
    card = make(2)
    plain = card.generate

    def lies(data, command):
        said = tlv.parse(plain(data, command))[0].value
        return tlv.encode("77", said + tlv.encode("9F02", bytes.fromhex("000000000001")))

    card.generate = lies
    card.aip = bytes.fromhex("1880")  # no combined signature that would notice
    assert chip(tap(card)[0])["9F02"].hex() == "000000004000"


def test_third_party_data_come_from_the_selection(tap, make):
    card = make(2)
    plain = card.select
    shown = tlv.encode("BF0C", tlv.encode("9F6E", bytes.fromhex("02760000303000")))

    def select(name, command):
        if name.startswith(b"2PAY"):
            return plain(name, command)
        return tlv.encode("6F", tlv.parse(plain(name, command))[0].value + shown)

    card.select = select
    assert chip(tap(card)[0])["9F6E"].hex() == "02760000303000"


@pytest.mark.parametrize("kernel", [2, 3])
def test_the_card_declines(tap, make, kernel):
    outcome, exchanges = tap(make(kernel, decides="AAC"))
    assert isinstance(outcome, Declined)
    assert outcome.why == "declined"
    assert len(exchanges) == (8 if kernel == 2 else 3)


def test_an_approval_that_nobody_asked_for_is_none(tap, make):
    assert tap(make(2, decides="TC"))[0].why == "card_data"
    assert tap(make(3, decides="TC"))[0].why == "not_accepted"


@pytest.mark.parametrize("kernel", [2, 3])
def test_offline_approval_below_the_floor_limit_where_it_is_allowed(tap, make, terminal, kernel):
    application = msgspec.structs.replace(MASTERCARD if kernel == 2 else VISA, floor_limit_minor=5_000)
    at = msgspec.structs.replace(terminal, online_only=False, applications=(application,))
    outcome, exchanges = tap(make(kernel, decides="TC"), at=at)
    assert isinstance(outcome, Approved), outcome
    assert proof(outcome) == GENUINE[kernel]
    if kernel == 2:
        assert exchanges[-1][0][2] == 0x50


# genuine or not


@pytest.mark.parametrize("kernel", [2, 3])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"issuer_expiry": "1025"}, "the issuer certificate expired in 2025-10"),
        ({"icc_expiry": "1025"}, "the card's certificate expired in 2025-10"),
        ({"issuer_head": bytes.fromhex("02999999FF1230000001")}, "the issuer certificate is for other card numbers"),
        ({"issuer_head": bytes.fromhex("03541333FF1230000001")}, "the issuer certificate has format 03, not 02"),
        ({"tag_list": b"\x82\x5a"}, "the list of signed objects (9F4A) names others than the AIP (82)"),
        ({"without": {"90"}}, "the card gave no 90"),
        ({"without": {"9F46"}}, "the card gave no 9F46"),
    ],
)  # fmt: skip
def test_a_card_that_cannot_prove_itself_is_declined(tap, make, kernel, changes, says):
    outcome, exchanges = tap(make(kernel, **changes))
    assert isinstance(outcome, Declined)
    assert (outcome.why, outcome.detail) == ("not_genuine", says)
    if kernel == 2:  # the terminal asks for a decline, and says why in its results
        assert exchanges[-1][0][2] == 0x00
        assert exchanges[-1][0][19:24].hex() == ("2400008000" if "without" in changes else "0400008000")


@pytest.mark.parametrize("kernel", [2, 3])
def test_a_revoked_issuer_is_not_genuine(tap, make, scheme, kernel):
    from_list = Revoked(
        b"\xa0\0\0\0" + (b"\x04" if kernel == 2 else b"\x03"), 0xF1 if kernel == 2 else 0x94, b"\0\0\1"
    )
    outcome, _ = tap(make(kernel), keys=scheme.keys(from_list))
    assert (outcome.why, outcome.detail) == ("not_genuine", "the issuer certificate was revoked")


@pytest.mark.parametrize("kernel", [2, 3])
def test_an_expired_ca_key_proves_nothing(tap, make, scheme, purchase, kernel):
    outcome, _ = tap(make(kernel), keys=scheme.keys(expires=purchase.day.replace(day=21)))
    assert outcome.detail.endswith("expired on 2026-11-21")
    assert tap(make(kernel), keys=scheme.keys(expires=purchase.day))[0].oda.result == "valid"


@pytest.mark.parametrize("kernel", [2, 3])
def test_a_signature_over_another_amount_is_not_genuine(tap, make, kernel):
    card = make(kernel)
    honest = card.apdu

    def relayed(command: bytes) -> bytes:
        if command[1] == (0xAE if kernel == 2 else 0xA8):
            command = command.replace(bytes.fromhex("000000004000"), bytes.fromhex("000000000100"))
        return honest(command)

    card.apdu = relayed
    outcome, _ = tap(card)
    assert (outcome.why, isinstance(outcome, Declined)) == ("not_genuine", True)


def test_a_combined_signature_that_is_missing_is_not_genuine(tap, make):
    outcome, _ = tap(make(2, without={"9F4B"}))
    assert (outcome.why, outcome.detail) == ("not_genuine", "the card gave no 9F4B")


def test_kernel_2_without_a_combined_signature_goes_online_unproven(tap, make):
    outcome, exchanges = tap(make(2, aip=bytes.fromhex("1880")))
    assert proof(outcome) == ("none", "not_performed", "the card offers no combined signature")
    assert exchanges[-1][0][2] == 0x80
    assert chip(outcome)["95"].hex() == "8000008000"


def test_what_was_signed_for_an_online_request_is_no_proof_for_an_offline_approval(tap, make, terminal):
    application = msgspec.structs.replace(VISA, floor_limit_minor=5_000)
    at = msgspec.structs.replace(terminal, online_only=False, applications=(application,))
    assert isinstance(tap(make(3, decides="TC"), at=at)[0], Approved)
    outcome, _ = tap(make(3, decides="TC", fdda_format=0x95), at=at)
    assert (outcome.why, outcome.detail) == ("not_genuine", "the dynamic signature has format 95, not 05")
    assert proof(tap(make(3, fdda_format=0x05))[0]) == GENUINE[3]


def test_kernel_2_leaves_the_magnetic_stripe_record_unread(tap, make):
    card = make(2)
    locator = bytes.fromhex("08010100") + card.locator[4:]
    options = tlv.encode("77", tlv.encode("82", card.aip) + tlv.encode("94", locator))
    card.options = lambda data, command: options
    _, exchanges = tap(card)
    assert [command[2:4].hex() for command, _ in exchanges if command[1] == 0xB2] == ["0114", "0214", "0314"]


def test_fdda_version_0_signs_the_unpredictable_number_only(tap, make):
    assert proof(tap(make(3, fdda_version=0))[0]) == GENUINE[3]
    assert tap(make(3, fdda_version=2))[0].detail == "fDDA version 02 is unknown"


def test_track_2_with_another_number_than_the_certificate_is_no_card(tap, make):
    card = make(3)
    card.track_2 = bytes.fromhex("4111111111111111D29122010000000000F0")
    outcome, _ = tap(card)
    assert (type(outcome), outcome.why) == (EndApplication, "card_data")


# the holder


def test_above_the_limit_a_phone_verifies_its_owner(tap, make, purchase):
    dear = msgspec.structs.replace(purchase, amount_minor=6_000)
    visa, exchanges = tap(make(3, ctq=b"\x00\x80"), buying=dear)
    assert (visa.verified, exchanges[2][0][7:11].hex()) == ("device", "21c04080")
    mastercard, exchanges = tap(make(2, aip=bytes.fromhex("1B80")), buying=dear)
    assert (mastercard.verified, chip(mastercard)["9F34"].hex()) == ("device", "010002")


def test_a_phone_whose_signed_word_differs_has_not_verified_its_owner(tap, make, purchase):
    card = make(3, ctq=b"\x00\x80")
    honest = card.options

    def lies(data, command):
        return honest(data, command).replace(bytes.fromhex("9F6C020080"), bytes.fromhex("9F6C020081"))

    card.options = lies
    outcome, _ = tap(card)
    assert (type(outcome), outcome.why) == (Declined, "verification")


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("kernel", [2, 3])
def test_above_the_limit_a_plain_card_would_need_a_pin_pad(tap, make, terminal, purchase, kernel, other):
    dear = msgspec.structs.replace(purchase, amount_minor=6_000)
    at = msgspec.structs.replace(terminal, other_interface=other)
    outcome, _ = tap(make(kernel), at=at, buying=dear)
    assert (type(outcome), outcome.why) == (TryAnotherInterface if other else Declined, "verification")


def test_kernel_3_card_that_wants_a_pin_is_not_taken_without_one(tap, make):
    assert tap(make(3, ctq=b"\x80\x00"))[0].why == "verification"


@pytest.mark.parametrize(
    ("rules", "results", "flag"),
    [
        ("1F00", "1F0002", 0),  # no CVM, always
        ("42031E031F03", "1F0302", 0),  # what the terminal cannot do does not apply
        ("41005E021F00", "1F0002", 0),  # tried in vain, and the next one
        ("02001F00", "020001", 0x80),  # an online PIN, and no other
        ("4200", "420001", 0x80),
        ("66001F00", "1F0002", 0x40),  # a CVM that is not known
        ("1F06", "1F0602", 0),  # below amount X in the card's currency
        ("1F07", "3F0001", 0x80),
        ("", "3F0000", 0),
    ],
)
def test_cvm_list(tap, make, rules, results, flag):
    card = make(2, cvm_list=bytes.fromhex("0000138800002710" + rules) if rules else bytes(8))
    _, exchanges = tap(card)
    told = card.told(card.cdol1, exchanges[-1][0][5:-1])
    assert (told["9F34"].hex().upper(), told["95"][2]) == (results, flag)


def test_limits_of_amount(tap, make, terminal, purchase):
    low = tuple(
        msgspec.structs.replace(each, transaction_limit_minor=4_000, device_limit_minor=9_000)
        for each in (MASTERCARD, VISA)
    )
    at = msgspec.structs.replace(terminal, applications=low)
    outcome, exchanges = tap(make(3), at=at)
    assert (outcome.why, len(exchanges)) == ("limit", 1)  # kernel 3: not from the limit on
    assert isinstance(tap(make(2), at=at)[0], OnlineRequest)  # kernel 2: not above it
    dearer = msgspec.structs.replace(purchase, amount_minor=4_001)
    outcome, exchanges = tap(make(2), at=at, buying=dearer)
    assert (outcome.why, len(exchanges)) == ("limit", 3)
    assert isinstance(tap(make(2, aip=bytes.fromhex("1B80")), at=at, buying=dearer)[0], OnlineRequest)
    at = msgspec.structs.replace(at, other_interface=True)
    assert tap(make(3), at=at)[0] == TryAnotherInterface(why="limit")


# dates


def test_an_expired_card(tap, make, terminal):
    outcome, _ = tap(make(2, expiry="261031"))
    assert chip(outcome)["95"].hex() == "0040008000"  # its issuer decides
    offline = msgspec.structs.replace(VISA, floor_limit_minor=5_000)
    at = msgspec.structs.replace(terminal, online_only=False, applications=(offline,))
    assert tap(make(3, expiry="261031", decides="TC"), at=at)[0].why == "expired"
    assert isinstance(tap(make(3, expiry="261031", decides="TC", ctq=b"\x08\0"), at=at)[0], OnlineRequest)


# what cards answer instead


@pytest.mark.parametrize(
    ("kernel", "sw", "outcome", "why"),
    [
        (3, 0x6984, TryAnotherInterface, "not_accepted"),
        (3, 0x6985, EndApplication, "not_accepted"),
        (3, 0x6986, SeePhone, None),
        (3, 0x6D00, EndApplication, "not_accepted"),
        (2, 0x6985, EndApplication, "not_accepted"),
        (2, 0x6D00, EndApplication, "not_accepted"),
    ],
)
def test_processing_options_refused(tap, make, kernel, sw, outcome, why):
    found, exchanges = tap(make(kernel, status={2: sw}))
    assert (type(found), getattr(found, "why", None), len(exchanges)) == (outcome, why, 3)


def test_no_directory_is_no_payment_card(tap, make):
    outcome, exchanges = tap(make(2, status={0: 0x6A82}))
    assert (outcome.why, len(exchanges)) == ("no_payment_card", 1)


@pytest.mark.parametrize("kernel", [2, 3])
def test_a_refusal_at_any_command_ends_the_tap(tap, make, kernel):
    _, exchanges = tap(make(kernel))
    for at in range(len(exchanges)):
        outcome, _ = tap(make(kernel, status={at: 0x6F00}))
        assert isinstance(outcome, EndApplication), at


@pytest.mark.parametrize("kernel", [2, 3])
def test_a_card_that_leaves_at_any_command_leaves_nothing_behind(make, terminal, purchase, scheme, kernel):
    for last in range(8):
        card = make(kernel)
        talk = pay(terminal, purchase, scheme.keys())
        command = next(talk)
        try:
            for _ in range(last):
                command = talk.send(card.apdu(command))
        except StopIteration:
            continue
        talk.close()


def test_a_phone_that_waits_for_its_owner(tap, make):
    card = make(2, decides="AAC")
    plain = card.generate
    card.generate = lambda data, command: tlv.encode(
        "77", tlv.parse(plain(data, command))[0].value + tlv.encode("DF4B", b"\x00\x01\x00")
    )
    assert tap(card)[0] == SeePhone()


# the card's name


def test_a_card_is_known_by_its_par_else_by_number_and_expiry(tap, make):
    par = b"5001BO8B9NXVVIXCT0HAJU98I512Z"
    key = bytes(32)
    plastic, phone = make(2, more={"9F24": par}), make(2, pan="5413330089099999", more={"9F24": par})
    plain, other = make(2), make(2, expiry="301231")
    tokens = [tap(card)[0].card.token(key) for card in (plastic, phone, plain, other)]
    assert tokens[0] == tokens[1]
    assert len(set(tokens)) == 3
    assert tap(plain)[0].card.token(b"other" * 7) not in tokens


@pytest.mark.parametrize("kernel", [2, 3])
def test_who_a_card_is_takes_no_cryptogram_and_no_record_too_many(
    make, terminal, purchase, tap, carry, kernel
):
    card = make(kernel, more={"9F24": b"5001BO8B9NXVVIXCT0HAJU98I512Z"})
    found, exchanges = carry(identify(terminal, purchase), card)
    assert [command[1] for command, _ in exchanges] == [0xA4, 0xA4, 0xA8, 0xB2]
    assert found.token(bytes(32)) == tap(card)[0].card.token(bytes(32))


def test_a_card_number_neither_shows_nor_encodes_itself(tap, make):
    card = make(2)
    outcome, _ = tap(card)
    assert card.pan not in repr(outcome)
    assert "541333******0011" in repr(outcome.card)
    for encode in (msgspec.json.encode, msgspec.msgpack.encode, pickle.dumps, msgspec.to_builtins):
        with pytest.raises(TypeError):
            encode(outcome)
    assert outcome.card.number.reveal() == (card.pan, "2912", f"{card.pan}D29122010000000000")


def test_nothing_of_a_tap_shows_the_card_number(make, terminal, purchase, scheme):
    """Whatever a traceback or a debugger would print of the conversation, while it runs."""
    card = make(2)
    talk = pay(terminal, purchase, scheme.keys())
    command = next(talk)
    shown = []
    for _ in range(7):
        command = talk.send(card.apdu(command))
        frame = talk.gi_frame
        while frame is not None:
            shown += [
                repr(value) for name, value in frame.f_locals.items() if name not in ("answer", "command")
            ]
            inner = talk.gi_yieldfrom
            frame = inner.gi_frame if frame is talk.gi_frame and inner is not None else None
    assert any("Taken(" in text for text in shown)
    assert card.pan not in " ".join(shown)
    assert bytes.fromhex(card.pan) not in command


# several applications


def test_candidates_are_tried_by_priority_then_in_the_cards_order(tap, make, scheme):
    visa, mastercard = make(3), make(2)

    class Wallet:
        def __init__(self):
            self.now = visa

        def apdu(self, command):
            if command[1] == 0xA4 and command[5:19] == b"2PAY.SYS.DDF01":
                listed = b"".join(
                    tlv.encode("61", tlv.encode("4F", aid) + priority)
                    for aid, priority in (
                        (bytes.fromhex("A0000000031010"), b""),
                        (bytes.fromhex("A00000002501"), tlv.encode("87", b"\1")),  # taken nowhere here
                        (bytes.fromhex("A000000004101001"), tlv.encode("87", b"\2")),
                        (bytes.fromhex("A0000000041010"), tlv.encode("87", b"\2")),
                    )
                )
                return tlv.encode("6F", tlv.encode("A5", tlv.encode("BF0C", listed))) + b"\x90\0"
            if command[1] == 0xA4:
                self.now = visa if command[9] == 3 else mastercard
            return self.now.apdu(command)

    mastercard.status = {1: 0x6985, 2: 0x6985}
    outcome, exchanges = tap(Wallet())
    assert [command[5:-1].hex()[8:] for command, _ in exchanges if command[1] == 0xA4][1:] == [
        "04101001", "041010", "031010",
    ]  # fmt: skip
    assert outcome.card.kernel == 3


def test_an_aid_is_selected_extended_where_card_and_terminal_can(tap, make, terminal):
    card = make(3)
    plain = card.select

    def select(name, command):
        said = plain(name[:7], command)
        if name.startswith(b"2PAY"):
            entry = tlv.encode("4F", bytes.fromhex("A0000000031010")) + tlv.encode("9F29", b"\x01\x02")
            return tlv.encode("6F", tlv.encode("BF0C", tlv.encode("61", entry)))
        return said

    card.select = select
    assert tap(card)[1][1][0][5:-1].hex() == "a0000000031010"
    wide = msgspec.structs.replace(VISA, extended_selection=True)
    at = msgspec.structs.replace(terminal, applications=(wide,))
    assert tap(card, at=at)[1][1][0][5:-1].hex() == "a00000000310100102"


def test_a_kernel_that_the_card_names_is_the_only_one(tap, make):
    card = make(3)

    def select(name, command):
        entry = tlv.encode("4F", bytes.fromhex("A0000000031010")) + tlv.encode("9F2A", b"\x07")
        return tlv.encode("6F", tlv.encode("BF0C", tlv.encode("61", entry)))

    card.select = select
    assert tap(card)[0].why == "no_payment_card"
