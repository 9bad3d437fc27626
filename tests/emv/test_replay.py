"""Transcripts: what they prove, however they were recorded, and that nothing of what was signed can be changed."""

from __future__ import annotations

import json
import time
from datetime import date
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.emv import tlv
from edge.emv.oda.keys import CaKeys, load
from edge.emv.replay import judgement, transcript
from edge.errors import InputError

TODAY = date(2026, 11, 22)


def lines(exchanges) -> list[str]:
    return [json.dumps({"c": command.hex(), "r": answer.hex()}) for command, answer in exchanges]


@pytest.fixture
def judge(scheme):
    def run(exchanges, *, at=None, today=TODAY, keys=None):
        text = exchanges if isinstance(exchanges, bytes) else "\n".join(lines(exchanges)).encode()
        return judgement.judge(transcript.read(text), keys or scheme.keys(), at=at, today=today)

    return run


@pytest.fixture
def recorded(tap, make):
    """The exchanges of a tap."""

    def run(kernel, **changes):
        return tap(make(kernel, **changes))[1]

    return run


def proof(found):
    return (found.oda.method, found.oda.result, found.oda.reason)


GENUINE = {2: ("CDA", "valid", None), 3: ("fDDA", "valid", None)}


@pytest.mark.parametrize("kernel", [2, 3])
def test_a_whole_tap(judge, recorded, kernel):
    found = judge(recorded(kernel))
    assert msgspec.to_builtins(found) == {
        "aid": "A0000000041010" if kernel == 2 else "A0000000031010",
        "kernel": kernel,
        "oda": {"method": GENUINE[kernel][0], "result": "valid", "reason": None},
        "cryptogram_type": "ARQC",
        "pan": "541333******0011" if kernel == 2 else "476173******0119",
    }


@pytest.mark.parametrize("kernel", [2, 3])
def test_a_transcript_that_was_torn_anywhere_is_never_valid(judge, recorded, kernel):
    exchanges = recorded(kernel)
    for count in range(len(exchanges)):
        found = judge(exchanges[:count])
        assert found.oda.result == "not_performed", (count, found)
        assert found.oda.reason
    text = "\n".join(lines(exchanges)).encode()
    for cut in range(0, len(text), 37):
        assert judge(text[:cut]).oda.result == "not_performed", cut
    assert judge(text + b'\n{"c":"00').oda.reason == f"the transcript is cut off in line {len(exchanges) + 1}"


#: Where a command of a whole tap holds what is signed: kernel 3 signs amount, currency and unpredictable number.
SIGNED_COMMANDS = {
    3: {2: (*range(11, 17), 30, 31, *range(36, 40))},
    2: {2: range(7, 17), 7: range(5, 71)},
}


@pytest.mark.parametrize(("kernel", "changes"), [(2, {}), (3, {}), (2, {"tag_list": None})])
def test_every_byte_of_what_is_signed_counts(judge, recorded, kernel, changes):
    """Records that are signed, certificates and keys, signatures, and what the card was told and said."""
    exchanges = recorded(kernel, **changes)
    assert judge(exchanges).oda.result == "valid"

    def result(number, which, at):
        changed = [bytearray(each) for each in exchanges[number]]
        changed[which][at] ^= 1 << (at + number) % 8
        pair = bytes(changed[0]), bytes(changed[1])
        return judge([*exchanges[:number], pair, *exchanges[number + 1 :]]).oda.result

    for number, (command, answer) in enumerate(exchanges):
        if command[1] in (0xB2, 0xAE):
            for at in range(len(answer) - 2):
                assert result(number, 1, at) == "invalid", (number, at)
        for at in SIGNED_COMMANDS[kernel].get(number, ()):
            assert result(number, 0, at) == "invalid", (number, at)


def test_the_transaction_counter_is_signed_too(judge, recorded):
    exchanges = recorded(3)
    command, answer = exchanges[2]
    changed = answer.replace(bytes.fromhex("9F36020041"), bytes.fromhex("9F36020042"))
    found = judge([*exchanges[:2], (command, changed), *exchanges[3:]])
    assert found.oda.reason == "the dynamic signature is for another transaction counter (9F36)"


def test_static_data_authentication(judge, recorded):
    exchanges = recorded(2, aip=bytes.fromhex("5880"))
    assert proof(judge(exchanges)) == ("SDA", "valid", None)
    command, answer = exchanges[3]
    for at in range(len(answer) - 2):
        changed = bytearray(answer)
        changed[at] ^= 1
        assert judge([*exchanges[:3], (command, bytes(changed)), *exchanges[4:]]).oda.result == "invalid", at


def test_static_data_authentication_is_torn_without_the_cryptogram(judge, recorded):
    found = judge(recorded(2, aip=bytes.fromhex("5880"))[:-1])
    assert proof(found) == ("SDA", "not_performed", "the transcript ends before GENERATE AC")


def test_dynamic_data_authentication_of_a_contact_card(judge, make, tap):
    card = make(2, aip=bytes.fromhex("3880"))
    exchanges = tap(card)[1]
    challenge = bytes.fromhex("DEADBEEF")
    signature = card.dynamic(b"\x08" + card.number, challenge)
    asked = bytes.fromhex("0088000004") + challenge + b"\0"
    for answer in (tlv.encode("80", signature), tlv.encode("77", tlv.encode("9F4B", signature))):
        whole = [*exchanges[:-1], (asked, answer + b"\x90\0"), exchanges[-1]]
        assert proof(judge(whole)) == ("DDA", "valid", None)
        assert (
            proof(judge([*exchanges[:-1], (asked.replace(b"\xde", b"\xdf"), answer + b"\x90\0")]))[1]
            == "invalid"
        )
    assert proof(judge(exchanges)) == ("DDA", "not_performed", "the transcript has no INTERNAL AUTHENTICATE")


def test_no_data_authentication_at_all(judge, recorded):
    found = judge(recorded(2, aip=bytes.fromhex("1880")))
    assert proof(found) == ("none", "not_performed", "the card offers no offline data authentication")
    assert found.cryptogram_type == "ARQC"
    found = judge(recorded(3, without={"94"}))
    assert proof(found) == ("fDDA", "not_performed", "the card gave no signature (9F4B) with its cryptogram")


@pytest.mark.parametrize("kernel", [2, 3])
def test_a_signature_that_is_left_out_is_no_way_around(judge, recorded, kernel):
    found = judge(recorded(kernel, without={"9F4B"}))
    assert (found.oda.method, found.oda.result) == (GENUINE[kernel][0], "invalid")


@pytest.mark.parametrize("kernel", [2, 3])
def test_a_declined_card(judge, recorded, kernel):
    found = judge(recorded(kernel, decides="AAC"))
    assert (found.cryptogram_type, found.oda.result) == ("AAC", "not_performed")


def test_a_card_of_an_unknown_key_is_invalid(judge, recorded, scheme):
    assert proof(judge(recorded(2), keys=CaKeys(()))) == (
        "CDA",
        "invalid",
        "there is no CA key A000000004 F1",
    )


@pytest.mark.parametrize("kernel", [2, 3])
def test_certificates_count_on_the_day_that_is_given_else_that_of_the_transcript(judge, recorded, kernel):
    exchanges = recorded(kernel)
    late = date(2031, 1, 1)
    assert judge(exchanges, today=late).oda.result == "valid"  # the card was told 2026-11-22
    assert judge(exchanges, at=late).oda.reason == "the issuer certificate expired in 2030-12"
    assert judge(exchanges, at=date(2030, 1, 1)).oda.reason == "the card's certificate expired in 2029-12"
    assert judge(exchanges, at=date(2029, 12, 31)).oda.result == "valid"


def test_today_counts_where_the_card_was_told_no_day(judge, make, tap):
    card = make(3, pdol=bytes.fromhex("9F66049F02065F2A029F3704"))
    exchanges = tap(card)[1]
    assert judge(exchanges).oda.result == "valid"
    assert judge(exchanges, today=date(2031, 1, 1)).oda.result == "invalid"


# however they were recorded


def with_tools(exchanges):
    """As a tool on a contact reader with T=0 records it: answers are fetched, lengths corrected, more is tried."""
    selected = bytes.fromhex("00A4040007A0000000999999"), bytes.fromhex("6A82")
    counter = bytes.fromhex("80CA9F3600"), bytes.fromhex("9F3602004190 00")
    yield selected
    for command, answer in exchanges:
        head = command[:-1] if len(command) > 5 else command  # no Le
        if command[1] == 0xB2:
            yield command, bytes.fromhex("6C") + bytes((len(answer) - 2,))
            yield command[:-1] + bytes((len(answer) - 2,)), answer
        elif len(answer) > 2:
            half = len(answer) // 2
            yield head, b"\x61\x10"
            yield bytes.fromhex("00C0000010"), answer[:half] + b"\x61" + bytes((len(answer) - 2 - half,))
            yield bytes.fromhex("00C0000000"), answer[half:]
        else:
            yield head, answer
        yield counter


@pytest.mark.parametrize("kernel", [2, 3])
def test_fetched_answers_corrected_lengths_and_other_commands_do_not_matter(judge, recorded, kernel):
    assert judge(list(with_tools(recorded(kernel)))) == judge(recorded(kernel))


def test_the_application_with_a_cryptogram_counts_then_the_last_one(judge, recorded):
    visa, mastercard = recorded(3), recorded(2)
    assert judge(visa[:5] + mastercard).aid == "A0000000041010"
    assert judge(mastercard + visa[:4]).aid == "A0000000041010"
    assert judge(visa[:3] + mastercard[:2]).aid == "A0000000031010"
    assert judge(mastercard[:3] + visa[:3]).aid == "A0000000031010"


def test_a_directory_that_is_read_again_is_none_of_the_applications(judge, recorded):
    exchanges = recorded(3)
    directory = bytes.fromhex("00A404000E") + b"1PAY.SYS.DDF01" + b"\0", bytes.fromhex("6F03880101 9000")
    entry = bytes.fromhex("00B2010C00"), bytes.fromhex("70049F360100 9000")
    assert judge([*exchanges, directory, entry]).oda.result == "valid"


@pytest.mark.parametrize(("tag", "result"), [("9F6C", "valid"), ("57", "invalid")])
def test_what_is_not_proven_may_come_twice_in_a_transcript(judge, recorded, make, tag, result):
    card = make(3, more={tag: b"\x01\x00"})
    exchanges = [(command, card.apdu(command)) for command, _ in recorded(3)]
    assert judge(exchanges).oda.result == result


def test_a_contact_card_that_was_not_asked_for_its_proof(judge, recorded, make, tap):
    exchanges = recorded(3, without={"9F4B"})
    cryptogram = tlv.encode("80", bytes((0x80, 0, 1)) + bytes(8)) + b"\x90\0"
    found = judge([*exchanges, (bytes.fromhex("80AE800000"), cryptogram)])
    assert proof(found) == ("DDA", "not_performed", "the transcript has no INTERNAL AUTHENTICATE")


def test_the_card_may_name_the_kernel(judge, recorded):
    entry = tlv.encode("4F", bytes.fromhex("A000000003")) + tlv.encode("9F2A", b"\x02")
    directory = tlv.encode("6F", tlv.encode("BF0C", tlv.encode("61", entry))) + b"\x90\0"
    exchanges = recorded(3)
    assert judge([(exchanges[0][0], directory), *exchanges[1:]]).kernel == 2


def test_an_application_of_no_kernel_here_is_named_all_the_same(judge, recorded):
    exchanges = [
        (c.replace(bytes.fromhex("A000000003"), bytes.fromhex("A000000152")),
         r.replace(bytes.fromhex("A000000003"), bytes.fromhex("A000000152")))
        for c, r in recorded(3)
    ]  # fmt: skip
    found = judge(exchanges)
    assert (found.aid, found.kernel, found.oda.result) == ("A0000001521010", None, "not_performed")


def test_options_and_cryptogram_in_the_first_format(judge, make, tap):
    card = make(2, aip=bytes.fromhex("5880"))
    exchanges = tap(card)[1]
    options = tlv.encode("80", card.aip + card.locator) + b"\x90\0"
    said = bytes((0x80, 0x00, 0x41)) + card.cryptogram + bytes(7)
    ends = tlv.encode("80", said) + b"\x90\0"
    whole = [*exchanges[:2], (exchanges[2][0], options), *exchanges[3:-1], (exchanges[-1][0], ends)]
    assert proof(judge(whole)) == ("SDA", "valid", None)
    assert judge(whole).cryptogram_type == "ARQC"


def test_a_second_cryptogram_is_signed_over_the_whole_conversation(judge, make, tap):
    cdol2 = bytes.fromhex("8A029F3704")
    card = make(2, more={"8D": cdol2})
    exchanges = tap(card)[1]
    first = exchanges[-1][0][5:-1]
    data = b"00" + bytes.fromhex("01020304")
    plain = {"9F27": b"\x40", "9F36": b"\0\x42", "9F10": bytes(7)}
    said = b"".join(tlv.encode(t, v) for t, v in plain.items())
    from hashlib import sha1

    dynamic = (
        b"\x08"
        + card.number
        + b"\x40"
        + card.cryptogram
        + sha1(card.pdol_data + first + data + said).digest()
    )
    answer = tlv.encode("77", said + tlv.encode("9F4B", card.dynamic(dynamic, data[2:]))) + b"\x90\0"
    whole = [*exchanges, (bytes.fromhex("80AE500006") + data + b"\0", answer)]
    assert proof(judge(whole)) == ("CDA", "valid", None)
    assert judge(whole).cryptogram_type == "TC"
    changed = [*exchanges, (bytes.fromhex("80AE500006") + b"05" + data[2:] + b"\0", answer)]
    assert judge(changed).oda.result == "invalid"


def test_a_relay_resistance_exchange_has_to_be_the_signed_one(judge, make, tap):
    card = make(2)
    asked, given_ = bytes.fromhex("AABBCCDD"), bytes.fromhex("11223344000A00140005")
    plain = card.dynamic
    card.dynamic = lambda data, terminal_data: plain(data + asked + given_, terminal_data)
    exchanges = tap(card)[1]
    relay = bytes.fromhex("80EA000004") + asked + b"\0", tlv.encode("80", given_) + b"\x90\0"
    assert judge([*exchanges[:3], relay, *exchanges[3:]]).oda.result == "valid"
    other = relay[0], relay[1].replace(b"\x44", b"\x45")
    assert "relay" in judge([*exchanges[:3], other, *exchanges[3:]]).oda.reason


def test_options_that_were_asked_for_in_another_length_than_the_card_said(judge, make, tap):
    card = make(2)
    exchanges = tap(card)[1]
    said = exchanges[1][1]
    shorter = said.replace(tlv.encode("9F38", card.pdol), tlv.encode("9F38", bytes.fromhex("9F1D089F1A04")))
    assert judge([exchanges[0], (exchanges[1][0], shorter), *exchanges[2:]]).oda.result == "valid"


def test_extended_lengths(judge, recorded):
    exchanges = recorded(2)
    long = [
        (c[:4] + b"\0" + len(c[5:-1]).to_bytes(2, "big") + c[5:-1] + b"\0\0" if len(c) > 5 else c, r)
        for c, r in exchanges
    ]
    assert judge(long) == judge(exchanges)


def test_a_card_that_was_gone_answers_nothing(judge, recorded):
    text = "\n".join([*lines(recorded(2)[:4]), '{"c":"00B2011400","r":null}']).encode()
    assert judge(text).oda.reason == "the transcript ends before record 1 of file 2 is read"


def test_a_card_in_magnetic_stripe_mode_proves_nothing(judge):
    aid = bytes.fromhex("A0000000041010")
    stripe = tlv.encode("9F6B", bytes.fromhex("5413330056003511D1412101067750500F"))
    exchanges = [
        (bytes.fromhex("00A4040007A000000004101000"), tlv.encode("6F", tlv.encode("84", aid)) + b"\x90\0"),
        (bytes.fromhex("80A8000002830000"), bytes.fromhex("770A 82020000 940408010100 9000")),
        (bytes.fromhex("00B2010C00"), tlv.encode("70", stripe) + b"\x90\0"),
        (bytes.fromhex("802A8E80040000000000"), bytes.fromhex("77089F6102F5019F36020B0B9000")),
    ]
    found = judge(exchanges)
    assert proof(found) == ("none", "not_performed", "the card offers no offline data authentication")
    assert (found.cryptogram_type, found.pan) == (None, "541333******3511")


# a scheme's own test card, as it was published: certificates that nobody here made

DATA = Path(__file__).parent.parent / "data" / "emv"


def conversation(name):
    lines_ = (DATA / name).read_text().splitlines()
    return [(bytes.fromhex(each["c"]), bytes.fromhex(each["r"])) for each in map(json.loads, lines_)]


@pytest.fixture
def published():
    """A conversation up to its records, and the test keys that the scheme's cards are certified with."""
    keys = CaKeys(load((DATA / "mastercard_test_capk.json").read_bytes()))
    return conversation("mastercard_test_card.ndjson"), keys


def test_a_published_tap(judge, published):
    """From another project's tests: whoever recorded it left out records that prove nothing."""
    exchanges, keys = conversation("mastercard_test_tap.ndjson"), published[1]
    found = judge(exchanges, keys=keys)
    assert proof(found) == ("CDA", "valid", None)
    assert (found.aid, found.kernel, found.cryptogram_type, found.pan) == (
        "A0000000041010",
        2,
        "TC",
        "541333******0044",
    )
    assert judge(exchanges, keys=keys, at=date(2026, 1, 1)).oda.result == "invalid"
    for count in range(len(exchanges)):
        assert judge(exchanges[:count], keys=keys).oda.result == "not_performed"
    for number in range(2, len(exchanges)):
        assert judge(exchanges[:number] + exchanges[number + 1 :], keys=keys).oda.result != "valid"
    for number in range(3, len(exchanges)):
        command, answer = exchanges[number]
        for at in range(0, len(answer) - 2, 3):
            changed = bytearray(answer)
            changed[at] ^= 1 << at % 8
            other = [*exchanges[:number], (command, bytes(changed)), *exchanges[number + 1 :]]
            assert judge(other, keys=keys).oda.result == "invalid", (number, at)


def test_a_published_cards_static_data_and_its_own_key(judge, published):
    exchanges, keys = published
    on = date(2024, 1, 1)
    assert proof(judge(exchanges, keys=keys, at=on)) == (
        "CDA",
        "not_performed",
        "the transcript ends before GENERATE AC",
    )
    asks_online = bytes.fromhex("80AE80002B") + bytes(43), bytes.fromhex("800B80000200000000000000009000")
    whole = [*exchanges, asks_online]
    found = judge(whole, keys=keys, at=on)
    assert proof(found) == ("SDA", "valid", None)
    assert (found.pan, found.cryptogram_type) == ("541333******0010", "ARQC")
    for number in (2, 3, 4):  # the signed record, the issuer's certificate, the static signature
        command, answer = exchanges[number]
        for at in range(0, len(answer) - 2, 5):
            changed = bytearray(answer)
            changed[at] ^= 0x10
            other = [*whole[:number], (command, bytes(changed)), *whole[number + 1 :]]
            assert judge(other, keys=keys, at=on).oda.result == "invalid", (number, at)


def test_a_published_card_that_signed_another_conversation(judge, published):
    """Its certificate holds; what it signed once does not fit numbers that it was never told."""
    exchanges, keys = published
    signed = bytes.fromhex(
        "77818F9F2701809F360200019F4B6057A3F96EB8FE189267586C69152170257E90F9F09E85D717E99F43E29A8FD60674D9C8863C0195"
        "619089496F9FA7F76D2CD0F86A52DFD28DC17E009964CC7074CE0C473227482194733CBD75E9342675946918E6191BB6A0AD35172CEF"
        "9763429F10200110A00000000000000000000000000000FF0000000000000000000000000000 9000"
    )
    found = judge(
        [*exchanges, (bytes.fromhex("80AE90002B") + bytes(43), signed)], keys=keys, at=date(2024, 1, 1)
    )
    assert found.oda.reason == "the dynamic signature is not for these data: its hash differs"


# what is no transcript


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"nonsense\n{}", "line 1 is not JSON"),
        (b"nonsense\n", "line 1 is not JSON"),
        (b"[]\n", "line 1 is no JSON object"),
        (b'{"c":"00A4"}\n', "line 1: r must be bytes in hex"),
        (b'{"c":"00A40","r":"9000"}\n', "line 1: c must be bytes in hex"),
        (b'{"c":"00A4","r":"9000"}\n', "line 1: c is no command"),
        (b'{"c":5,"r":"9000"}\n', "line 1: c must be bytes in hex"),
        (b"\n" * 10_001, "more than 10000 lines"),
    ],
)
def test_what_is_no_transcript_is_an_error_that_names_the_line(text, says):
    with pytest.raises(InputError, match=says):
        transcript.read(text)


@pytest.mark.parametrize(
    "end", ['{"c":"80AE9000', '{"c":"80AE900000","r":"771', '{"c":"80AE900000"}', "80AE"]
)
@pytest.mark.parametrize("more", ["", "\n"])
def test_a_last_line_of_which_a_part_is_missing_was_torn(end, more):
    whole = transcript.read(b'{"c":"00A404000E325041592E5359532E444446303100","r":"6A82"}\n')
    torn = transcript.read(
        f'{{"c":"00A404000E325041592E5359532E444446303100","r":"6A82"}}\n{end}{more}'.encode()
    )
    assert (torn.exchanges, torn.torn) == (whole.exchanges, 2)


@pytest.mark.parametrize(
    "command", ["0088000004DEADBEEF00", "80AE900000", "00C0000000", "00B2010C00", "00A4040000"]
)
def test_ten_thousand_lines_of_anything_cost_little(judge, recorded, command):
    text = "\n".join(lines(recorded(2)))
    answer = "77" + "8200" + "00" * 180 + "6100"
    more = f'\n{{"c":"{command}","r":"{answer}"}}' * 4_000
    more += f'\n{{"c":"{command}","r":"{answer[:-4]}9000"}}' * 4_000
    begun = time.process_time()
    found = judge((text + more).encode())
    assert found.oda.method == "CDA"
    assert time.process_time() - begun < 10  # a part of a second, on a machine that does nothing else


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), st.sampled_from([2, 3]))
def test_any_exchanges_get_a_judgement(judge, make, tap, data, kernel):
    exchanges = list(tap(make(kernel))[1])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(exchanges) - 1))
        command, answer = exchanges[at]
        kind = data.draw(st.sampled_from(["answer", "command", "drop", "double", "cut"]))
        if kind == "answer":
            exchanges[at] = command, data.draw(st.binary(max_size=60)) + b"\x90\0"
        elif kind == "command":
            exchanges[at] = command[:4] + data.draw(st.binary(max_size=60)), answer
        elif kind == "double":
            exchanges.insert(at, exchanges[data.draw(st.integers(0, len(exchanges) - 1))])
        elif kind == "cut":
            cut = data.draw(st.integers(0, len(answer)))
            exchanges[at] = command, answer[:cut] + b"\x90\0"
        elif len(exchanges) > 1:
            del exchanges[at]
    found = judge(exchanges)
    assert (found.oda.result == "valid") == (found.oda.reason is None)
    assert make(kernel).pan not in repr(found)
