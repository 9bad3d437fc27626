"""A card that proves itself, and everything that does not."""

from __future__ import annotations

import random

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from edge.emv import ndef, sun
from edge.emv.sun import Refused, Sun, SunKeys, SunMessage
from hw.virtual.ntag424 import Ntag424

KEYS = SunKeys(meta_read=bytes(range(16)), file_read=bytes(range(16, 32)), system=b"CT")
UID = bytes.fromhex("04A1B2C3D4E5F6")


def card(**more) -> Ntag424:
    return Ntag424(UID, KEYS, draw=random.Random(1), **more)


def shown(url: str) -> SunMessage:
    message = sun.message_in(url)
    assert isinstance(message, SunMessage)
    return message


def test_the_published_example_of_the_chip_verifies():
    """NXP AN12196, 3.4.4.2.2: factory keys (zeros), no MAC input."""
    message = shown("https://ntag.nxp.com/424?e=EF963FF7828658A599F3041510671E88&c=94EED9EE65337086")
    plain = Cipher(algorithms.AES(bytes(16)), modes.CBC(bytes(16))).decryptor().update(message.picc_data)
    uid, counter = plain[1:8], plain[8:11]
    assert (uid.hex().upper(), counter) == ("04DE5F1EACC040", b"\x3d\x00\x00")
    assert sun.mac_of(bytes(16), uid, counter) == message.mac


def test_the_published_example_of_key_diversification_comes_out():
    """NXP AN10922, 2.2.1: another application and system identifier, so by the same steps."""
    master = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
    assert sun._cmac(master, bytes.fromhex("0104782E21801D803042F54E585020416275")).hex().upper() == (
        "A8DD63A3B89D54B37CA802473FDA9175"
    )


def test_each_reading_of_a_card_proves_it_with_a_higher_counter():
    tag = card()
    seen = [sun.verify(shown(tag.url()), KEYS) for _ in range(3)]
    assert seen == [Sun(uid=UID, read_counter=n) for n in (1, 2, 3)]


def test_a_replayed_reading_is_not_fresh():
    tag = card()
    first = sun.verify(shown(tag.url()), KEYS)
    assert isinstance(first, Sun)
    assert sun.is_fresh(first, None)
    assert sun.is_fresh(first, 0)
    assert not sun.is_fresh(first, 1)
    assert not sun.is_fresh(first, 7)


@given(st.integers(0, 23), st.integers(1, 255))
def test_one_wrong_byte_proves_nothing(place, change):
    message = shown(card().url())
    whole = bytearray(message.picc_data + message.mac)
    whole[place] ^= change
    forged = SunMessage(picc_data=bytes(whole[:16]), mac=bytes(whole[16:]))
    assert isinstance(sun.verify(forged, KEYS), Refused)


def test_a_card_of_another_operator_proves_nothing():
    other = SunKeys(meta_read=KEYS.meta_read, file_read=bytes(16), system=KEYS.system)
    assert sun.verify(shown(card().url()), other) == Refused("mac")
    assert sun.verify(shown(card().url()), SunKeys(meta_read=bytes(16), file_read=bytes(16), system=b"XX")) in (
        Refused("data"), Refused("mac"),
    )  # fmt: skip


def test_the_key_of_one_card_forges_no_other():
    own = sun.card_key(KEYS.file_read, UID, KEYS.system)
    other = bytes.fromhex("04000000000001")
    assert own != sun.card_key(KEYS.file_read, other, KEYS.system)


@given(st.text(max_size=400))
def test_any_text_is_a_message_or_refused(text):
    assert isinstance(sun.message_in(text), SunMessage | Refused)
    assert isinstance(sun.message_in(f"https://x/?e={text}&c={text}"), SunMessage | Refused)


@given(st.binary(max_size=40), st.binary(max_size=20))
def test_any_bytes_are_refused(data, mac):
    assert isinstance(sun.verify(SunMessage(picc_data=data, mac=mac), KEYS), Refused)


@pytest.mark.parametrize("change", [{"meta_read": b""}, {"file_read": bytes(15)}, {"system": b"x"}])
def test_keys_of_a_wrong_length_are_refused(change):
    fields = {"meta_read": bytes(16), "file_read": bytes(16), "system": b"CT"} | change
    with pytest.raises(ValueError, match="bytes"):
        SunKeys(**fields)


def test_keys_do_not_print_themselves():
    assert KEYS.file_read.hex() not in repr(KEYS)
    assert "\\x10" not in repr(KEYS)


def read(answer) -> str | None:
    talk = ndef.read_uri()
    try:
        command = next(talk)
        for _ in range(100):
            command = talk.send(answer(command))
    except StopIteration as end:
        return end.value
    raise AssertionError("the conversation does not end")


def test_the_address_is_read_from_the_card():
    tag = card()
    tag.enter()
    url = read(tag.apdu)
    assert url is not None
    assert url.startswith("https://example.org/m?e=")
    assert sun.verify(shown(url), KEYS) == Sun(uid=UID, read_counter=1)


def test_a_card_with_a_random_uid_is_known_by_its_proof():
    tag = card(random_id=True)
    assert len(tag.enter()) == 4
    proof = sun.verify(shown(read(tag.apdu) or ""), KEYS)
    assert isinstance(proof, Sun)
    assert proof.uid == UID


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.booleans())
def test_any_answers_end_the_reading(answers, polite):
    n = 0

    def answer(_command: bytes) -> bytes:
        nonlocal n
        n += 1
        body = answers[n % len(answers)]
        return body + b"\x90\x00" if polite or n <= 2 else body

    assert isinstance(read(answer), str | None)


def test_a_file_in_small_pieces_is_read_whole():
    tag = card(random_id=True)
    tag.enter()
    whole = read(lambda c: tag.apdu(c if c[1] != 0xB0 else c[:4] + bytes((min(c[4], 7),))))
    assert whole is not None
    assert isinstance(sun.verify(shown(whole), KEYS), Sun)
