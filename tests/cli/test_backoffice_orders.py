"""`chargetill backoffice device ...`: an order, and what its device answered; who is let in no more."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime

import pytest

from edge.backoffice.outgoing import Outgoing
from edge.backoffice.schema import open_books
from edge.sync.contract.orders import Erase, Fault, Reply, read_order
from edge.sync.contract.topics import Peer

D1 = Peer("s1", "d1")


@pytest.fixture
def books(tmp_path):
    path = tmp_path / "books.db"
    open_books(path).close()
    return path


@pytest.fixture
def device(books):
    """A device that answers the next order with `reply(version)`; gives back what it was told to do."""

    def answers(reply):
        told = []

        def work():
            view = Outgoing(open_books(books))
            ends = time.monotonic() + 60
            while time.monotonic() < ends and not told:
                for waiting in view.waiting(datetime.now(UTC), limit=1):
                    body = waiting.payload.split(b".")[1]
                    order = read_order(_decode(body))
                    told.append(order.order)
                    view.answered(D1, reply(order.version), datetime.now(UTC))
                time.sleep(0.02)

        threading.Thread(target=work, daemon=True).start()
        return told

    return answers


def _decode(text: bytes) -> bytes:
    import base64

    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def test_an_order_that_waits_gives_the_answer(call, books, device):
    told = device(lambda n: Reply(stream="cmd", version=n, ok=True, result={"lines": ["one", "two"]}))
    done = call("backoffice", "device", "logs", "s1", "d1", "--lines", "2", "--db", books)
    assert (done.code, done.out) == (0, "one\ntwo\n")
    assert told[0].lines == 2


def test_a_refusal_is_no_and_says_why(call, books, device):
    fault = Fault(code="order.setting", message="too short", hint="longer")
    told = device(lambda n: Reply(stream="cmd", version=n, ok=False, error=fault))
    arguments = (
        "session.plug_timeout_s=1",
        "tariff.hold_minor=",
        "session.x=y",
        "--wait-s",
        "60",
        "--db",
        books,
    )
    done = call("--json", "backoffice", "device", "configure", "s1", "d1", *arguments)
    assert done.code == 1
    assert json.loads(done.out)["error"]["code"] == "order.setting"
    assert told[0].values == {"session.plug_timeout_s": 1, "tariff.hold_minor": None, "session.x": "y"}
    shown = json.loads(call("backoffice", "device", "orders", "s1", "d1", "--db", books, "--json").out)
    (order,) = shown
    assert (order["order"]["do"], order["reply"]["ok"]) == ("configure", False)
    table = call("backoffice", "device", "orders", "s1", "d1", "--db", books).out.splitlines()
    assert "order.setting" in table[1]


def test_a_device_that_does_not_answer_is_an_error_and_the_order_goes_on(call, books):
    done = call(
        "backoffice", "device", "block", "s1", "d1", "--evse", "E1", "--reason", "x", "--stop",
        "--wait-s", "1", "--db", books,
    )  # fmt: skip
    assert done.code == 3
    assert done.err.startswith("order.unanswered: s1/d1 did not answer order 1 within 1 s")
    started = call(
        "backoffice", "device", "start", "s1", "d1", "--evse", "E1", "--account", "A-1", "--limit-minor", "500",
        "--db", books, "--json",
    )  # fmt: skip
    assert json.loads(started.out)["version"] == 2
    assert json.loads(started.out)["authorization_id"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("configure", "s1", "d1", "nonsense"),
        ("start", "s1", "d1", "--evse", "E 1", "--account", "A-1", "--limit-minor", "5"),
        ("logs", "s1", "d1", "--lines", "501"),
        ("stop", "s/1", "d1", "S1"),
    ],
)
def test_what_the_contract_refuses_is_a_wrong_call(call, books, arguments):
    done = call("backoffice", "device", *arguments, "--db", books)
    assert done.code == 2, done.err
    assert len(done.err.splitlines()) == 1


def test_plans_are_checked_before_they_are_published(call, books, tmp_path):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps([{"id": "gold", "percent_off": {"ENERGY": 10}, "accounts": ["A-1"]}]))
    bad.write_text(json.dumps([{"id": "gold", "percent_of": {}}]))
    done = call("backoffice", "plans", "publish", "--site", "s1", good, "--db", books, "--json")
    assert json.loads(done.out) == {"site": "s1", "version": 1, "plans": 1}
    assert call("backoffice", "plans", "publish", "--site", "s1", bad, "--db", books).code == 2


def test_a_device_is_revoked_once(call, tmp_path):
    folder = tmp_path / "access"
    assert call("backoffice", "access", folder, "--host", "localhost").code == 0
    assert call("backoffice", "device", "enroll", "s1", "d1", "--access", folder).code == 0
    assert "user s1.d1" in (folder / "acl").read_text()
    done = call("backoffice", "device", "revoke", "s1", "d1", "--access", folder, "--json")
    assert json.loads(done.out)["revoked"] == 1
    assert "user s1.d1" not in (folder / "acl").read_text()
    again = call("backoffice", "device", "revoke", "s1", "d1", "--access", folder)
    assert (again.code, again.err[:18]) == (3, "backoffice.access:")


def test_an_erasure_waits_for_its_devices_and_says_what_they_found(call, books, device):
    db = open_books(books)
    db.execute("INSERT INTO device (site, device, first_seen_at) VALUES ('s1', 'd1', '')")
    db.close()
    told = device(lambda n: Reply(stream="cmd", version=n, ok=True, result={"sessions": 2, "members": 1}))
    token = "ab" * 32
    done = call("backoffice", "erase", "--token", token, "--wait-s", "60", "--db", books)
    assert told == [Erase(token=token)]
    assert (done.code, done.out.splitlines()[1:]) == (0, ["s1/d1: confirmed, 2 sessions and 1 members"])
    done = call("backoffice", "erase", "--account", "A-1", "--db", books)
    assert (done.code, done.out.splitlines()[1:]) == (0, ["s1/d1: order 2 is on its way"])
    assert "1 erasures wait for their devices" in call("backoffice", "stats", "--db", books).out
    wrong = call("backoffice", "erase", "--token", "no token", "--db", books, "--json")
    assert wrong.code == 2
