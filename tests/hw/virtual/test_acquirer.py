"""The virtual acquirer is strict: it takes a message that is whole and right, once, and says no to everything else."""

from __future__ import annotations

import asyncio

import pytest

from hw.virtual.acquirer import VirtualAcquirer
from hw.virtual.acquirer_host import Fault, HangUp, Host, Later, Say, Session
from hw.virtual.acquirer_wire import Dialect, Message, Misread

PAN = "4761739001010119"
WHO = {32: "12345", 41: "T1      ", 42: "M1             "}
MONEY = WHO | {3: "000000", 4: "000000005000", 7: "1122120000", 11: "000001", 12: "130000", 13: "1122", 22: "072",
               25: "06", 37: "632600000001", 49: "978"}  # fmt: skip
CARD = MONEY | {2: PAN, 14: "2912", 55: "9A03261122"}
ORIGINAL = "0100" + "000001" + "1122120000" + "00000012345" + "0" * 11


class Till:
    """Says messages as they are and understands the answers."""

    def __init__(self, **changes):
        self.s = 0.0
        self.host = Host(now_s=lambda: self.s, **changes)
        self.session = Session()
        self.dialect = Dialect()
        assert self.say("0800", {7: "1122120000", 11: "000009", 41: "T1      ", 70: "001"})[39] == "00"

    def acts(self, mti, fields):
        return self.host.receive(self.dialect.encode(Message(mti, fields)), self.session)

    def say(self, mti, fields):
        (act,) = self.acts(mti, fields)
        return self.dialect.decode(act.data).fields

    def code(self, mti, fields):
        return self.say(mti, fields)[39]

    def hold(self):
        answer = self.say("0100", CARD)
        assert answer[39] == "00"
        return answer[38]

    def named(self, approval, **changes):
        fields = MONEY | {22: "102", 38: approval, 90: ORIGINAL, 11: "000002"}
        return fields | {int(name[2:]): value for name, value in changes.items()}


@pytest.fixture
def till():
    return Till()


def without(fields, number):
    return {n: value for n, value in fields.items() if n != number}


@pytest.mark.parametrize("number", sorted(set(CARD) - {14}))
def test_a_pre_authorization_that_lacks_anything_is_a_format_error(till, number):
    if number == 41:
        return  # without a terminal there is nobody to answer in kind; see the completion
    assert till.code("0100", without(CARD, number)) == "30"
    assert till.host.books.holds() == ()


@pytest.mark.parametrize("number", [3, 4, 7, 11, 12, 13, 22, 25, 32, 37, 38, 41, 42, 49, 90])
def test_a_completion_that_lacks_anything_is_a_format_error(till, number):
    approval = till.hold()
    assert till.code("0220", without(till.named(approval), number)) == "30"
    assert len(till.host.books.open) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"DE3": "010000"},
        {"DE7": "1322120000"},
        {"DE11": "000000"},
        {"DE12": "250000"},
        {"DE25": "00"},
        {"DE90": "0200" + ORIGINAL[4:]},
        {"DE90": ORIGINAL[:20] + "0" * 22},
        {"DE90": ORIGINAL[:10] + "9" * 10 + ORIGINAL[20:]},
        {"DE2": PAN},
        {"DE55": "9A00"},
    ],
)
def test_a_completion_that_makes_no_sense_is_a_format_error(till, changes):
    assert till.code("0220", till.named(till.hold(), **changes)) == "30"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"DE37": "632600000002"}, "25"),
        ({"DE38": "A99999"}, "25"),
        ({"DE49": "840"}, "25"),
        ({"DE90": ORIGINAL[:4] + "000007" + ORIGINAL[10:]}, "25"),
        ({"DE41": "T2      "}, "25"),
        ({"DE4": "000000005001"}, "61"),
        ({"DE4": "000000000000"}, "13"),
    ],
)
def test_a_completion_of_another_hold_or_of_too_much_is_refused(till, changes, code):
    approval = till.hold()
    assert till.code("0220", till.named(approval, **changes)) == code
    assert [h.state for h in till.host.books.holds()] == ["held"]


def test_what_was_booked_is_answered_again_and_not_booked_again(till):
    approval = till.hold()
    assert till.say("0100", CARD)[38] == approval
    for mti in ("0220", "0221", "0221"):
        assert till.code(mti, till.named(approval)) == "00"
    assert [e.what for e in till.host.books.entries] == ["hold", "capture"]
    assert till.code("0220", till.named(approval, DE11="000003")) == "12"
    assert till.code("0420", till.named(approval, DE11="000004")) == "12"
    assert till.host.books.captured_minor == 5000


def test_a_reversal_that_comes_first_forbids_what_it_reverses(till):
    assert till.code("0420", without(till.named("A00001"), 38)) == "25"
    assert till.code("0100", CARD) == "12"
    assert till.host.books.holds() == ()


def test_a_released_hold_stays_released(till):
    approval = till.hold()
    assert till.code("0420", till.named(approval)) == "00"
    assert till.code("0421", till.named(approval)) == "00"
    assert till.code("0220", till.named(approval, DE11="000005")) == "25"
    assert [e.what for e in till.host.books.entries] == ["hold", "reverse"]


def test_an_increment_grows_a_hold_and_can_be_taken_back_alone(till):
    approval = till.hold()
    grow = till.named(approval, DE11="000006", DE4="000000000100")
    assert till.code("0100", grow) == "00"
    assert till.code("0100", grow) == "00"
    assert [h.amount_minor for h in till.host.books.open] == [5100]
    of_it = "0100" + "000006" + ORIGINAL[10:]
    assert till.code("0420", till.named(approval, DE11="000007", DE90=of_it)) == "00"
    assert [h.amount_minor for h in till.host.books.open] == [5000]


def test_holds_lapse(till):
    approval = till.hold()
    till.s = 8 * 86_400.0
    assert till.code("0220", till.named(approval)) == "25"
    assert [e.what for e in till.host.books.entries] == ["hold", "expire"]


def test_a_refund_names_a_completion_and_gives_back_no_more_than_it_took(till):
    approval = till.hold()
    completion = "0220" + "000002" + "1122120000" + ORIGINAL[20:]
    back = till.named(
        approval, DE3="200000", DE25="00", DE37="632600000009", DE90=completion, DE4="000000003000"
    )
    assert till.code("0200", back | {11: "000010"}) == "25"
    assert till.code("0220", till.named(approval)) == "00"
    for mti in ("0200", "0201"):
        assert till.code(mti, back) == "00"
    assert till.code("0200", back | {11: "000011"}) == "61"
    assert till.host.books.refunded_minor == 3000


def test_nobody_gets_money_before_the_sign_on():
    till = Till()
    till.session = Session()
    assert till.code("0100", CARD) == "58"
    assert till.code("0800", {7: "1122120000", 11: "000009", 41: "T1      ", 70: "301"}) == "00"


def test_what_cannot_be_read_ends_the_connection(till):
    whole = Dialect().encode(Message("0100", CARD))
    bad = (b"", b"0100", whole[:-1], whole + b"0", b"9" + whole[1:], whole[:4] + b"\xff" * 16 + whole[12:])
    for data in bad:
        assert till.host.receive(data, till.session) == [HangUp()]
    for data in (whole.replace(b"164761", b"994761"), whole.replace(b"000000005000", b"00000000500x")):
        with pytest.raises(Misread):
            Dialect().decode(data)


@pytest.mark.parametrize(("bitmap", "icc"), [("binary", "binary"), ("hex", "hex"), ("hex", "binary")])
def test_each_dialect_reads_what_it_writes(bitmap, icc):
    dialect = Dialect(bitmap, icc)
    for fields in (CARD, MONEY | {38: "A00001", 90: ORIGINAL, 63: "REF"}):
        message = Message("0100", fields)
        assert dialect.decode(dialect.encode(message)).fields == fields


def test_faults_wait_for_their_message_and_happen_once(till):
    till.host.script(Fault("silent", on="0220"), Fault("late_request"), Fault("duplicate_reply"))
    (later,) = till.acts("0100", CARD)
    assert isinstance(later, Later)
    assert till.host.books.holds() == ()
    assert Dialect().decode(till.host.process(later.message, till.session)).fields[39] == "00"
    first, second = till.acts("0100", CARD)
    assert isinstance(first, Say)
    assert first == second
    assert till.acts("0220", till.named("A00001")) == []
    assert till.host.books.captured_minor == 5000


def test_no_card_number_shows_in_what_the_host_shows(till):
    till.hold()
    shown = repr((Message("0100", CARD), till.host.books, till.host.books.refused))
    assert PAN not in shown


def test_it_listens_on_a_real_socket_and_hangs_up_on_noise():
    async def scenario():
        async with await VirtualAcquirer.start() as acquirer:
            reader, writer = await asyncio.open_connection("127.0.0.1", acquirer.port)
            writer.write(b"\xff\xff" + bytes(10))
            assert await reader.read() == b""
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", acquirer.port)
            echo = Dialect().encode(
                Message("0800", {7: "1122120000", 11: "000009", 41: "T1      ", 70: "301"})
            )
            for part in (len(echo).to_bytes(2, "big") + echo)[:5], (len(echo).to_bytes(2, "big") + echo)[5:]:
                writer.write(part)
                await writer.drain()
            length = int.from_bytes(await reader.readexactly(2), "big")
            assert Dialect().decode(await reader.readexactly(length)).mti == "0810"
            writer.close()

    asyncio.run(scenario())
