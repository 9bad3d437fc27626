"""Documents in the whole charger: the receipt behind the QR code, a credit note, and an account's own month."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta

from edge.backoffice.account_books import AccountBooks
from edge.backoffice.accounts import Accounts, Billing
from edge.backoffice.receipts import BookReceipts
from edge.backoffice.verify import verify
from edge.domain.identity import receipt_token_hash
from edge.receipts.receipt import Ready
from edge.store.reading import Reading


def command(show, *words, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "edge", "--json", "--config", str(show.stage.folder / "config.toml"), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout or done.stderr)


def get(port, path):
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    line.request("GET", path)
    answer = line.getresponse()
    return answer.status, answer.read()


def shown(show):
    with urllib.request.urlopen(f"{show.stage.screen}state", timeout=20) as answer:
        return json.loads(answer.read())


def configure(show):
    """Card B is on an account with one invoice a month. The port of the charger's own receipts."""
    members = show.stage.folder / "members.toml"
    buyer = 'buyer = { name = "Acme GmbH", address = "Hof 2, 20095 Hamburg", country = "DE" }'
    before, mark, after = members.read_text().partition('account = "A-1002"\n')
    members.write_text(f'{before}{mark}invoice = "collective"\n{buyer}\n{after}')
    config = (show.stage.folder / "config.toml").read_text()
    return int(re.search(r'url = "http://127.0.0.1:(\d+)/r/"', config)[1])


async def receipt_on_screen(it, port):
    """The token of the receipt that the screen shows, once it does."""
    found = []

    def there():
        found[:] = [p["view"]["receipt_url"] for p in shown(it)["panels"] if p["qr"]]
        return bool(found)

    await it.until(there, "no receipt on the screen")
    assert found[0].startswith(f"http://127.0.0.1:{port}/r/")
    return found[0].rpartition("/")[2]


async def a_receipt(it, port, books):
    """From the tap to the page on the charger and at the back office; the token and the invoice."""
    await it.session("card A")
    with Reading(it.stage.database) as db:
        session = db.sessions()[0]
    assert session["receipt_hash"], "the chain has the hash from the start"
    await it.do(unplug=True)
    token = await receipt_on_screen(it, port)
    assert receipt_token_hash(token) == session["receipt_hash"]
    await it.until(lambda: get(port, f"/r/{token}")[0] == 200, "the charger shows no receipt")
    assert get(port, f"/r/{token}/0.pdf")[1].startswith(b"%PDF")
    assert get(port, "/r/" + "x" * 22)[0] == 404
    await it.until(lambda: isinstance(books.find(receipt_token_hash(token)), Ready), "nothing syncs")
    with Reading(it.stage.database) as db:
        [invoice] = list(db.invoices())
        assert token.encode() not in b"".join(e.raw for e in db.entries())
    assert invoice.number in get(port, f"/r/{token}")[1].decode()
    assert invoice.draft.place.coordinates.latitude == "52.520008"
    return token, invoice


async def a_credit_note(it, port, token, invoice):
    """Through the running till; the money goes back, and the receipt says so."""
    words = ("invoice", "credit", invoice.number, "--reason", "Charged by mistake")
    told = await asyncio.to_thread(command, it, *words)
    assert told["full"]
    refused = await asyncio.to_thread(lambda: command(it, *words, code=1))
    assert refused["error"]["code"] == "credit.refused"

    def refunded():
        with Reading(it.stage.database) as db:
            return [r["status"] for r in db.refunds()] == ["refunded"]

    await it.until(refunded, "the money does not go back")
    assert told["credit_note"] in get(port, f"/r/{token}")[1].decode()


def test_receipts_credit_notes_and_an_accounts_month(show):
    async def main():
        async with show() as it:
            port = configure(it)
            await it.stage.till.stop()
            await it.stage.restart()
            books = BookReceipts(it.stage.backoffice_database)
            token, invoice = await a_receipt(it, port, books)
            await a_credit_note(it, port, token, invoice)
            await it.session("card B")
            await it.do(unplug=True)
            second = await receipt_on_screen(it, port)
            await it.until(lambda: b"Charging statement" in get(port, f"/r/{second}")[1], "no statement")
            await it.player.settled()
            for one in (token, second):
                await it.until(
                    lambda one=one: len(documents(books, one)) == (2 if one == token else 1),
                    "the documents do not sync",
                )
            return it.stage.database, it.stage.backoffice_database, documents(books, token)

    till, office, kinds = asyncio.run(main())
    assert kinds == ["invoice", "credit_note"]
    with Reading(till) as db:
        assert [s["outcome"] for s in db.sessions()] == ["invoiced", "stated"]
        stated = db.statement(db.sessions()[1]["session_id"])
        assert db.buyer(stated.draft.buyer).name == "Acme GmbH"
        assert b"Acme" not in b"".join(e.raw for e in db.entries())
    assert verify(office).problems == ()
    accounts = Accounts(office, Billing())
    end = stated.draft.end
    [made] = accounts.bill(f"{end.astimezone(UTC):%Y-%m}", max(datetime.now(UTC), end) + timedelta(days=40))
    accounts.close()
    assert (made.content.account, made.content.figures.payable_minor) == (
        "A-1002", stated.draft.figures.payable_minor)  # fmt: skip
    with AccountBooks(office) as listed:
        assert [i.number for i in listed.invoices()] == ["BO-000001"]


def documents(books, token):
    """What kinds of documents the back office has of a session."""
    found = books.find(receipt_token_hash(token))
    return [d.kind for d in found.documents] if isinstance(found, Ready) else []
