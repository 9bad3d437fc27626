"""Who may charge, asked of the back office: from its members, the same answer each time, settled by the journal."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from edge.backoffice.authorizations import OPEN_MAX, Authorizations
from edge.backoffice.books import Books
from edge.backoffice.export import export
from edge.backoffice.orders import Orders, orders_key
from edge.domain.ledger import facts
from edge.sync.contract.authorization import (
    AuthorizationRequest,
    Granted,
    NoAnswer,
    Refused,
    read_answer,
)
from edge.sync.contract.orders import ListedMember
from edge.sync.contract.signed import open_signed, sign
from edge.sync.contract.topics import Peer
from edge.sync.downlink.authorizations import Authorizations as Asking

D1 = Peer("s1", "d1")
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def token(number: int) -> str:
    return f"{number:064x}"


def request(number: int, reference: str = "R1", **fields) -> AuthorizationRequest:
    given = {
        "id": reference,
        "at": NOW,
        "within_s": 10,
        "evse_id": "DE*T*1",
        "token": token(number),
        "token_kind": "uid",
        "key_id": "k1",
        "amount_minor": 5000,
        "currency": "EUR",
    }
    return AuthorizationRequest(**{**given, **fields})


@pytest.fixture
def orders(database):
    made = Orders(database, orders_key(database))
    yield made
    made.close()


@pytest.fixture
def ask(books: Books, database, orders):
    key = orders_key(database)
    desk = Authorizations(books.db, database, key)

    def ask(asked: AuthorizationRequest, device: Peer = D1, now: datetime = NOW):
        reply = read_answer(open_signed(desk.answer(device, asked, now), {key.key_id: key.public_hex}))
        assert (reply.site, reply.device, reply.id) == (device.site, device.device, asked.id)
        return reply.decision

    return ask


def listed(number: int, **fields) -> ListedMember:
    return ListedMember(token=token(number), account=f"A-{number}", limit_minor=3000, **fields)


def test_a_member_of_any_site_may_charge_up_to_its_limit(ask, orders) -> None:
    orders.put_members("s1", [listed(1)])
    orders.put_members("s2", [listed(2)])
    for number in (1, 2):
        granted = ask(request(number, f"R{number}"))
        assert (granted.account, granted.limit_minor) == (f"A-{number}", 3000)
    assert ask(request(1, "R3", amount_minor=200)).limit_minor == 200


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (request(9), "card_unknown"),
        (request(2), "card_blocked"),
        (request(3), "card_blocked"),
        (request(1, currency="CHF"), "currency"),
    ],
)
def test_a_refusal_says_why(ask, orders, asked, reason) -> None:
    orders.put_members("s1", [listed(1), listed(2, blocked=True), listed(3)])
    orders.put_members("s2", [ListedMember(token=token(3), blocked=True)])
    assert ask(asked) == Refused(reason=reason)


def test_the_same_request_gets_the_same_answer_whatever_changed_since(ask, orders) -> None:
    orders.put_members("s1", [listed(1)])
    granted, refused = ask(request(1, "R1")), ask(request(2, "R2"))
    orders.put_members("s1", [listed(1, blocked=True), listed(2)])
    assert (ask(request(1, "R1")), ask(request(2, "R2"))) == (granted, refused)
    assert ask(request(1, "R1"), Peer("s1", "d2")) == Refused(reason="card_blocked"), "another device's R1"


def test_one_account_has_a_few_open_permissions_and_no_more(ask, orders, books, make_journal, booked) -> None:
    orders.put_members("s1", [listed(1)])
    for n in range(OPEN_MAX):
        assert isinstance(ask(request(1, f"R{n}")), Granted)
    assert ask(request(1, "X")) == Refused(reason="limit_reached")
    journal = make_journal()
    booked(
        journal,
        facts.PaymentRequested(
            session_id="S0", payment_ref="R0", method="upstream", amount_minor=5000, currency="EUR"
        ),
        facts.PaymentDeclined(session_id="S0", payment_ref="R0", reason="no_answer"),
    )
    assert isinstance(ask(request(1, "Y")), Granted), "the journal says that R0 came to nothing"
    assert ask(request(1, "Z")) == Refused(reason="limit_reached")
    assert isinstance(ask(request(1, "Z2"), now=NOW + timedelta(days=2)), Granted), (
        "nothing came of the others"
    )


def test_what_was_granted_is_on_the_settlement_list(
    ask, orders, database, make_journal, booked, filled
) -> None:
    orders.put_members("s1", [listed(1)])
    granted = ask(request(1, "R1"))
    version, started = orders.start(
        D1, evse_id="DE*T*1", account="A-7", limit_minor=900, currency="EUR", good_for_s=60
    )
    assert version == 1
    journal = make_journal()
    for session, ref, authorization_id in (("S1", "R1", None), ("S2", "R2", started)):
        booked(
            journal,
            filled(
                facts.SessionOpened, session_id=session, authorization_id=authorization_id, method="upstream"
            ),
            facts.PaymentRequested(
                session_id=session, payment_ref=ref, method="upstream", amount_minor=900, currency="EUR"
            ),
            facts.PaymentCaptured(session_id=session, payment_ref=ref, amount_minor=640),
        )
    rows = [json.loads(line) for line in export(database, "settlements", "ndjson")]
    assert [(r["authorization_id"], r["account"], r["captured_minor"]) for r in rows] == [
        (granted.authorization_id, "A-1", 640),
        (started, "A-7", 640),
    ]


@pytest.fixture
def booked(books):
    from edge.backoffice.arrival import Message

    def book(journal, *given) -> None:
        journal.add(*given)
        books.book([Message(peer=D1, payload=b"\n".join(journal.raws))], NOW)

    return book


class Wire:
    """A device's side without a broker: what it posts is handed to `office`, on another thread."""

    def __init__(self, key, office=lambda _: None, *, connected: bool = True) -> None:
        self.posted: list[AuthorizationRequest] = []
        self.office = office
        self.asking = Asking(D1, {key.key_id: key.public_hex}, post=self._post, connected=lambda: connected)

    def _post(self, channel, payload, *, good_for_s=None) -> None:
        assert channel == "authorize"
        assert good_for_s > 0
        asked = msgspec.json.decode(payload, type=AuthorizationRequest)
        self.posted.append(asked)
        for answer in self.office(asked) or ():
            threading.Thread(target=self.asking.answered, args=(answer,)).start()


def answer(key, asked, decision, **changes) -> bytes:
    reply = {"site": "s1", "device": "d1", "id": asked.id, "at": NOW.isoformat(), "decision": decision}
    return sign(msgspec.json.encode({**reply, **changes}), key)


GRANTED = Granted(authorization_id="AU1", account="A-1", limit_minor=3000, currency="EUR")


def test_a_device_waits_for_the_signed_answer_to_its_own_request(key, tmp_path) -> None:
    stranger = orders_key(tmp_path / "stranger.db")

    def office(asked):
        yield answer(stranger, asked, GRANTED)
        yield answer(key, asked, GRANTED, device="d2")
        yield answer(key, asked, GRANTED, id="another")
        yield b"nonsense"
        yield sign(b"{}", key)
        yield answer(key, asked, Refused(reason="card_blocked"))

    wire = Wire(key, office)
    assert asyncio.run(wire.asking.authorize(request(1))) == Refused(reason="card_blocked")
    wire.asking.answered(answer(key, request(1), GRANTED))  # too late: nobody waits


def test_a_device_asks_again_until_its_deadline_and_then_gives_up(key) -> None:
    wire = Wire(key)
    found = asyncio.run(wire.asking.authorize(request(1, within_s=3)))
    assert isinstance(found, NoAnswer)
    assert len(wire.posted) == 2
    assert len({asked.id for asked in wire.posted}) == 1


def test_without_a_connection_nobody_waits(key) -> None:
    wire = Wire(key, connected=False)
    assert isinstance(asyncio.run(wire.asking.authorize(request(1, within_s=60))), NoAnswer)
    assert wire.posted == []
