"""Certificates and signatures by themselves: Book 2's tables, every changed bit, and whatever hostile bytes say."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.emv.errors import CaKeysInvalid, CardDataInvalid, LiveKeysRefused, NotAuthentic
from edge.emv.oda import files
from edge.emv.oda.certificates import Certificate, icc_key, issuer_key
from edge.emv.oda.keys import CaKey, CaKeys, PublicKey, Revoked, load
from edge.emv.oda.signatures import check_combined, check_dynamic, check_static

PAN = "5413330089020011"
ON = date(2026, 11, 22)

#: A published test vector of Mastercard's test key F1 (1408 bits) and of an issuer under it: recovered by others.
TEST_CA_F1 = bytes.fromhex(
    "A0DCF4BDE19C3546B4B6F0414D174DDE294AABBB828C5A834D73AAE27C99B0B053A90278007239B6459FF0BBCD7B4B9C6C50AC02CE913"
    "68DA1BD21AAEADBC65347337D89B68F5C99A09D05BE02DD1F8C5BA20E2F13FB2A27C41D3F85CAD5CF6668E75851EC66EDBF98851FD4E4"
    "2C44C1D59F5984703B27D5B9F21B8FA0D93279FBBF69E090642909C9EA27F898959541AA6757F5F624104F6E1D3A9532F2A6E51515AEA"
    "D1B43B3D7835088A2FAFA7BE7"
)
TEST_ISSUER_CERTIFICATE = bytes.fromhex(
    "3312205B0EFA6715BA18134BB2168A9CA250D268853506D925DD72B2A2E0CF107518DE182F0089B255B7D70A189D90859E741E7D79BB5"
    "D36339B16D9B1508DDBC35E2A3008B923E14417A42E86D3AD0A1AD6DBB394E7BC0BA812F3D4971412DE4997C8B34BA93F3CE0F5AE27E0"
    "A052DB57CD7595C467E831041AC2DBEC91E2EC8D27D4EABAA31322B769415B550B8B18E3B05B32CAE7813AB21D8F3B2BFF3741C6AD967"
    "AE694800F5B24A20EF78013E4"
)
TEST_ISSUER_MODULUS = bytes.fromhex(
    "99903295DA9DFA7CB84E664E6500E48A5A1D2EDD3F460BE4AD52066435A644C5A803AE5B829C31B21E81889869BF98D73D9A126F222AC"
    "762298808EA0AFB94B33D8FE26AF363FAEACC3B1557CF31F7CCC996E430EA74F6936993C37F638538C075039AD3A8BAF26E44D25FADD3"
    "524107"
)
#: A card key under it, and what it signed with a combined signature over the unpredictable number 8B55633B.
TEST_CARD_MODULUS = bytes.fromhex(
    "90" + "00" * 12 + "12" + "00" * 16 + "48" + "00" * 16 + "10" + "80" + "00" * 11 + "0198" + "00" * 15 + "0660"
    + "00" * 16 + "55"
)  # fmt: skip
TEST_SIGNATURE = bytes.fromhex(
    "7B9F22B297CCEAD536B87C449EEE744C6971AA0EBDD6B611C88E30FFF0A671CC6D6AC45A5555311E30C466863817EA0AA3D13B54BEA6"
    "849976592DFC73DED0BB958D506DF7180FAA7A1FD0540859C0E539035BAB64CE8891353DDD3008A0B446"
)


def key(modulus: bytes, exponent: int = 3) -> PublicKey:
    return PublicKey(modulus=modulus, exponent=exponent)


def ca(modulus: bytes, **more) -> CaKey:
    return CaKey(rid=bytes.fromhex("A000000004"), index=0xF1, key=key(modulus), **more)


def flips(data: bytes):
    for at in range(0, len(data), 3):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        yield bytes(changed)


def test_a_published_issuer_certificate_gives_the_published_key():
    given_ = Certificate(signature=TEST_ISSUER_CERTIFICATE, remainder=b"", exponent=b"\x03")
    authority = ca(TEST_CA_F1)
    found = issuer_key(given_, authority, pan=PAN, on=ON, keys=CaKeys((authority,)))
    assert found == key(TEST_ISSUER_MODULUS)
    for late in (date(2028, 1, 1), date(2049, 12, 31)):
        with pytest.raises(NotAuthentic, match="expired in 2027-12"):
            issuer_key(given_, authority, pan=PAN, on=late, keys=CaKeys((authority,)))
    revoked = CaKeys((authority,), (Revoked(authority.rid, 0xF1, b"\0\0\1"),))
    with pytest.raises(NotAuthentic, match="revoked"):
        issuer_key(given_, authority, pan=PAN, on=ON, keys=revoked)


def test_a_published_combined_signature_holds_the_published_dynamic_data():
    found = check_dynamic(TEST_SIGNATURE, key(TEST_CARD_MODULUS), terminal_data=bytes.fromhex("8B55633B"))
    assert found == bytes.fromhex(
        "08 537EB5E03CC433C8 00 55B6408DBC985131 A04620C52455EA8F2370647AF36748A2CA4AA9F6"
    )
    for changed in flips(TEST_SIGNATURE):
        with pytest.raises(NotAuthentic):
            check_dynamic(changed, key(TEST_CARD_MODULUS), terminal_data=bytes.fromhex("8B55633B"))
    with pytest.raises(NotAuthentic, match="hash differs"):
        check_dynamic(TEST_SIGNATURE, key(TEST_CARD_MODULUS), terminal_data=bytes.fromhex("8B55633A"))


def test_a_signature_counts_once_not_also_with_its_modulus_added():
    """Adding the modulus changes the bytes and not the residue."""
    small = key(TEST_CARD_MODULUS[:1].replace(b"\x90", b"\x40") + TEST_CARD_MODULUS[1:])
    number = int.from_bytes(TEST_CARD_MODULUS, "big") + 5
    with pytest.raises(NotAuthentic, match="does not fit its key"):
        check_dynamic(number.to_bytes(96, "big"), small, terminal_data=b"")


@pytest.mark.parametrize("part", ["signature", "remainder", "exponent"])
def test_any_changed_bit_of_a_certificate_is_noticed(scheme, make, part):
    records = make(2).records()
    from edge.emv import tlv

    held = {
        o.tag: o.value for place in ((2, 1), (2, 2), (2, 3)) for o in tlv.parse(records[place])[0].children
    }
    issuer = {"signature": held["90"], "remainder": held["92"], "exponent": held["9F32"]}
    icc = {"signature": held["9F46"], "remainder": held["9F48"], "exponent": held["9F47"]}
    (authority,) = scheme.keys().find(bytes.fromhex("A000000004"), 0xF1)
    static = make(2).static()
    assert issuer_key(Certificate(**issuer), authority, pan=PAN, on=ON, keys=scheme.keys()) == key(
        scheme.issuer.modulus
    )
    assert icc_key(Certificate(**icc), key(scheme.issuer.modulus), pan=PAN, static=static, on=ON) == key(
        scheme.icc.modulus
    )
    for changed in (*flips(issuer[part]), issuer[part] + b"\0", issuer[part][:-1]):
        with pytest.raises(NotAuthentic):
            issuer_key(Certificate(**issuer | {part: changed}), authority, pan=PAN, on=ON, keys=scheme.keys())
    for changed in (*flips(icc[part]), icc[part] + b"\0", icc[part][:-1]):
        with pytest.raises(NotAuthentic):
            icc_key(
                Certificate(**icc | {part: changed}),
                key(scheme.issuer.modulus),
                pan=PAN,
                static=static,
                on=ON,
            )
    for changed in flips(static):
        with pytest.raises(NotAuthentic, match="hash differs"):
            icc_key(Certificate(**icc), key(scheme.issuer.modulus), pan=PAN, static=changed, on=ON)
    with pytest.raises(NotAuthentic, match="another card number"):
        icc_key(Certificate(**icc), key(scheme.issuer.modulus), pan=PAN[:-1] + "2", static=static, on=ON)


@pytest.mark.parametrize(
    ("head", "says"),
    [
        ("02541333FF1326000001", "no date of expiry"),
        ("02541333FF1A26000001", "no date of expiry"),
        ("0254FFFFFF1230000001", "other card numbers"),
        ("02FFFFFFFF1230000001", "other card numbers"),
        ("025413330A1230000001", "other card numbers"),
    ],
)
def test_certificates_for_nobody(scheme, make, head, says):
    from edge.emv import tlv

    records = make(2, issuer_head=bytes.fromhex(head)).records()
    held = {o.tag: o.value for place in ((2, 1), (2, 2)) for o in tlv.parse(records[place])[0].children}
    (authority,) = scheme.keys().find(bytes.fromhex("A000000004"), 0xF1)
    with pytest.raises(NotAuthentic, match=says):
        issuer_key(
            Certificate(signature=held["90"], remainder=held["92"], exponent=held["9F32"]),
            authority,
            pan=PAN,
            on=ON,
            keys=scheme.keys(),
        )


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=300),
    st.binary(min_size=1, max_size=300),
    st.integers(2, 2**24),
    st.binary(max_size=40),
)
def test_hostile_keys_and_signatures_are_not_authentic_and_cost_little(signature, modulus, exponent, more):
    authority = CaKey(rid=b"\0" * 5, index=0, key=key(modulus, exponent))
    held = Certificate(signature=signature, remainder=more, exponent=more)
    begun = time.process_time()
    for check in (
        lambda: check_static(signature, authority.key, static=more),
        lambda: check_dynamic(signature, authority.key, terminal_data=more),
        lambda: check_combined(signature, authority.key, unpredictable_number=more, conversation=more, cid=0),
        lambda: issuer_key(held, authority, pan=PAN, on=ON, keys=CaKeys(())),
        lambda: icc_key(held, authority.key, pan=PAN, static=more, on=ON),
    ):
        with pytest.raises(NotAuthentic):
            check()
    assert time.process_time() - begun < 2


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_a_malicious_issuer_signs_is_checked_as_strictly(scheme, data):
    """The right key and hash around bytes of any content: every length in them is doubted."""
    body = data.draw(st.binary(min_size=106, max_size=106))
    form = data.draw(st.sampled_from([b"\x02", b"\x03", b"\x04", b"\x05"]))
    body = bytearray(form + body[1:])
    for at in (1, 10, 11, 16, 17):
        body[at] = 1
    signature = scheme.icc.sign(b"\x6a" + bytes(body) + hashlib.sha1(bytes(body)).digest() + b"\xbc")
    own = key(scheme.icc.modulus)
    authority = CaKey(rid=b"\0" * 5, index=0, key=own)
    held = Certificate(signature=signature, remainder=b"", exponent=b"")
    for check in (
        lambda: check_static(signature, own, static=b""),
        lambda: check_dynamic(signature, own, terminal_data=b""),
        lambda: check_combined(signature, own, unpredictable_number=b"", conversation=b"", cid=0),
        lambda: issuer_key(held, authority, pan=PAN, on=ON, keys=CaKeys(())),
        lambda: icc_key(held, own, pan=PAN, static=b"", on=ON),
    ):
        with contextlib.suppress(NotAuthentic):
            check()


# files


def test_an_afl_names_records_in_order():
    entries = files.parse_afl(bytes.fromhex("0801020110020200"))
    assert [p for e in entries for p in files.entry_records(e)] == [(1, 1), (1, 2), (2, 2)]
    assert [e.signed for e in entries] == [1, 0]


@pytest.mark.parametrize(
    "locator",
    [
        "", "08", "0801", "08010", "0801010100", "00010100", "F8010100", "09010100", "08000100", "08020100",
        "08010102", "0801FF00", "0801200010010100", "0801010008010100", "0801020008020200", "08010100" * 63,
    ],
)  # fmt: skip
def test_an_afl_that_leads_nowhere_or_on_and_on_is_refused(locator):
    with pytest.raises(CardDataInvalid):
        files.parse_afl(bytes.fromhex(locator.ljust(len(locator) + len(locator) % 2, "0")))


@given(st.binary(max_size=252))
def test_any_afl_is_refused_or_short(data):
    try:
        entries = files.parse_afl(data)
    except CardDataInvalid:
        return
    assert sum(1 for e in entries for _ in files.entry_records(e)) <= files.RECORDS_MAX


def test_static_data_leave_out_the_template_of_emvs_own_files_only():
    records = {(1, 1): bytes.fromhex("70045F34 0101"), (11, 1): bytes.fromhex("70045F340102")}
    entries = files.parse_afl(bytes.fromhex("0801010158010101"))
    static = files.static_data(entries, records, tag_list=b"\x82", aip=b"\x19\x80")
    assert static.hex() == "5f340101" + "70045f340102" + "1980"
    assert files.static_data(entries, records, tag_list=None, aip=b"\x19\x80").hex().endswith("0102")


@pytest.mark.parametrize(
    "record", ["", "5F340101", "71045F340101", "70055F340101", "70045F34010100FF", "00" * 4]
)
def test_a_signed_record_that_is_no_template_fails_the_authentication(record):
    with pytest.raises(NotAuthentic):
        files.static_data(
            files.parse_afl(bytes.fromhex("08010101")),
            {(1, 1): bytes.fromhex(record)},
            tag_list=None,
            aip=b"\0\0",
        )


# keys

ENTRY = {"rid": "A000000004", "index": "F1", "modulus": TEST_CA_F1.hex(), "exponent": "03"}


def test_a_key_file():
    other = ENTRY | {"index": 0xEF, "exponent": 65_537, "expires": "2027-12-31"}
    first, second = load(json.dumps([ENTRY, other]).encode())
    assert load(json.dumps([ENTRY | {"expires": "2028-02"}]).encode())[0].expires == date(2028, 2, 29)
    assert (first.name, first.key, first.expires) == ("A000000004 F1", key(TEST_CA_F1), None)
    assert (second.index, second.key.exponent, second.expires) == (0xEF, 65_537, date(2027, 12, 31))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rid": "A0000000"}, "key 1: rid must have 5 bytes"),
        ({"rid": None}, "key 1: rid must be bytes in hex"),
        ({"index": "XY"}, "key 1: index must be in hex"),
        ({"index": None}, "key 1: index must be one byte"),
        ({"index": 256}, "key 1: index must be one byte"),
        ({"modulus": "AB" * 513}, "key 1: modulus must have 1 to 512 bytes"),
        ({"modulus": ""}, "key 1: modulus must have 1 to 512 bytes"),
        ({"modulus": "XY"}, "key 1: modulus must be bytes in hex"),
        ({"exponent": "00"}, "key 1: exponent must be a number such as 03 or 010001"),
        ({"exponent": 1 << 32}, "key 1: exponent must be a number"),
        ({"exponent": True}, "key 1: exponent"),
        ({"expires": "1227"}, "key 1: expires must be a date"),
        ({"expires": "2027-13"}, "key 1: expires must be a date"),
        ({"expires": 20271231}, "key 1: expires must be a date"),
    ],
)
def test_a_key_that_cannot_be_used_is_named(change, says):
    with pytest.raises(CaKeysInvalid, match=re.escape(says)):
        load(json.dumps([ENTRY | change]).encode())


@pytest.mark.parametrize("document", [b"", b"{}", b"[1]", b"[" * 2_000, b"\xff", b'["a"]'])
def test_a_file_that_is_no_list_of_keys(document):
    with pytest.raises(CaKeysInvalid):
        load(document)


def test_a_name_that_a_scheme_gave_twice_is_tried_with_both_keys(scheme, make, tap):
    """Lists of keys that are about hold such; and keys that are none, which do no harm."""
    own = {"rid": "A000000004", "index": "F1", "modulus": scheme.ca.modulus.hex(), "exponent": "03"}
    longer = own | {"modulus": "AB" * 256}
    squares = own | {"exponent": "02"}
    for order in ([ENTRY, own, longer], [own, ENTRY], [squares, longer, own, ENTRY]):
        assert tap(make(2), keys=CaKeys(load(json.dumps(order).encode())))[0].oda.result == "valid"
    for unusable, says in (
        (longer, "is none that EMV allows"),
        (squares, "is none that EMV allows"),
        (ENTRY, ""),
    ):
        outcome, _ = tap(make(2), keys=CaKeys(load(json.dumps([unusable]).encode())))
        assert outcome.why == "not_genuine"
        assert outcome.detail.endswith(says)


@given(
    st.binary(max_size=60)
    | st.from_regex(r'\[\{"rid": ?"[0-9A]{8,10}", ?"index": ?[0-9a-z"]{1,4}', fullmatch=True).map(str.encode)
)
def test_any_key_file_is_read_or_refused(document):
    with contextlib.suppress(CaKeysInvalid):
        load(document)


@pytest.mark.parametrize(
    ("rid", "index", "live"),
    [
        ("A000000003", 0x07, True),
        ("A000000003", 0x09, True),
        ("A000000003", 0x94, False),
        ("A000000003", 0x57, False),
        ("A000000004", 0x05, True),
        ("A000000004", 0x06, True),
        ("A000000004", 0xEF, False),
        ("A000000004", 0xFA, False),
        ("A000000025", 0xC9, True),  # a scheme of which nothing is known here
    ],
)
def test_keys_of_real_cards_need_a_laboratory(rid, index, live):
    keys = CaKeys((CaKey(rid=bytes.fromhex(rid), index=index, key=key(TEST_CA_F1)),))
    assert keys.for_payment(lab=True) is keys
    if live:
        with pytest.raises(LiveKeysRefused, match=f"{rid} {index:02X}"):
            keys.for_payment(lab=False)
    else:
        assert keys.for_payment(lab=False) is keys
