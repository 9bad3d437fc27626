"""`chargetill invoice` on a till's database at rest: listing, showing, taking back."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from edge.cli.root import root


@pytest.fixture
def till(place, sold, ledger_key):
    """The configuration of the till whose sessions were sold, with its own key."""
    place.database.write_bytes(sold.read_bytes())
    key = place.folder / "ledger.key"
    key.touch(mode=0o600)
    key.write_bytes(ledger_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    place.edit('site = "s1"\nname = "till-1"', 'site = "s"\nname = "d"')
    return place


@pytest.fixture
def say(till):
    """A command in this process: what it prints."""

    def command(*words):
        done = CliRunner().invoke(root, ["--config", str(till.config), *map(str, words)])
        assert done.exit_code == 0, done.exception
        return done.stdout

    return command


@pytest.fixture
def run(till, say):
    """`invoice ...` as JSON, or the code of its error."""

    def command(*words, fails=None):
        if fails is None:
            return json.loads(say("--json", "invoice", *words))
        done = CliRunner().invoke(root, ["--config", str(till.config), "invoice", *map(str, words)])
        assert getattr(done.exception, "code", done.exit_code) == fails, done.output
        return None

    return command


def test_an_invoice_is_taken_back_in_parts_and_then_no_more(run, say):
    first, second = run("list")
    part = run("credit", first["number"], "--reason", "Goodwill", "--amount", "0.10")
    assert (part["amount"], part["full"], part["refund"]) == (0.1, False, "requested")
    assert part["credit_note"].startswith("CT-CN-")
    run("credit", first["number"], "--reason", "x", "--amount", "999", fails="credit.refused")
    rest = run("credit", first["number"], "--reason", "The rest")
    assert rest["full"]
    run("credit", first["number"], "--reason", "x", fails="credit.refused")
    run("credit", "CT-0", "--reason", "x", fails="call.not_found")
    listed = run("list")
    assert [row["corrects"] for row in listed] == [None, None, first["number"], first["number"]]
    assert sum(row["payable"] for row in listed) == pytest.approx(second["payable"])
    assert run("show", rest["credit_note"])["kind"] == "credit_note"
    verified = json.loads(say("ledger", "verify"))
    assert verified["problems"] == []
    assert verified["invoices"] == 2
    assert [(r["credit_note"], r["status"]) for r in run("refunds")] == [
        (part["credit_note"], "refunded"), (rest["credit_note"], "refunded")]  # fmt: skip
    text = say("invoice", "show", rest["credit_note"])
    assert "Credit note CT-CN-" in text
    assert "Reason: The rest" in text
    assert "Part of the invoice" in text
    assert "Session fee" not in text.partition("Price:")[0]
    every = say("invoice", "export", "--all", "--format", "csv")
    assert every.count("credit_note") > 0


def test_an_invoice_is_issued_anew_for_a_company(till, run, say):
    [first, _] = run("list")
    buyer = till.folder / "buyer.json"
    buyer.write_text(
        '{"name": "Acme GmbH", "address": "Hof 2, 20095 Hamburg", "country": "DE", "vat_id": "DE1234567"}'
    )
    done = run("credit", first["number"], "--reason", "For a company", "--reissue", "--buyer", buyer)
    assert done["refund"] is None
    new = run("show", done["new_invoice"])
    assert (new["replaces"], new["buyer"]["name"]) == (first["number"], "Acme GmbH")
    assert run("show", first["number"])["buyer"] is None
    assert json.loads(say("ledger", "verify"))["problems"] == []
    buyer.write_text('{"name": "Acme GmbH", "adress": "typo"}')
    run("credit", first["number"], "--reason", "x", "--reissue", "--buyer", buyer, fails="call.buyer")


@pytest.mark.parametrize(
    "words",
    [
        ("--reason", ""),
        ("--reason", "x" * 201),
        ("--reason", "x", "--buyer", "b.json"),
        (),
    ],
)
def test_a_wrong_call_changes_nothing(till, words):
    before = till.database.read_bytes()
    arguments = ["--config", str(till.config), "invoice", "credit", "CT-EPOCH001-000001", *words]
    done = CliRunner().invoke(root, arguments)
    assert getattr(done.exception, "exit_code", done.exit_code) == 2, done.output
    assert till.database.read_bytes() == before


@pytest.mark.parametrize("amount", ["0", "-1", "1,50", "much"])
def test_what_is_no_amount_takes_nothing_back(run, amount):
    [first, _] = run("list")
    fails = "credit.refused" if amount == "0" else "call.wrong"
    run("credit", first["number"], "--reason", "x", f"--amount={amount}", fails=fails)
    assert len(run("list")) == 2
