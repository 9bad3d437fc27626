"""The page shows what the books hold, escapes all of it, and changes nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from microdot.test_client import TestClient

from edge.backoffice.arrival import Message
from edge.backoffice.page import PagePublic, application, serve
from edge.domain.ledger.facts import SessionOpened
from edge.sync.contract.topics import Peer


@pytest.fixture
def client(books, journal, filled, database) -> TestClient:
    for n in range(120):
        journal.add(
            filled(SessionOpened, session_id=f"S{n}", evse_id="<script>alert(1)</script>"),
        )
    now = datetime(2026, 6, 1, tzinfo=UTC)
    books.book([Message(peer=Peer("s1", "d1"), payload=b"\n".join(journal.raws))], now)
    return TestClient(application(database))


def get(client: TestClient, path: str):
    return asyncio.run(client.get(path))


def test_devices_and_sessions_are_shown(client) -> None:
    front = get(client, "/")
    assert front.status_code == 200
    assert "<td>d1</td>" in front.text
    assert "No invoices yet." in front.text
    sessions = get(client, "/sessions")
    assert sessions.text.count("<tr>") == 101
    assert "older" in sessions.text
    assert get(client, "/sessions?page=1").text.count("<tr>") == 21


def test_what_devices_say_is_never_markup(client) -> None:
    page = get(client, "/sessions")
    assert "<script>" not in page.text
    assert "&lt;script&gt;" in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/sessions?page=-1", "/sessions?page=x", "/sessions?page=99999999999999"])
def test_a_strange_page_number_is_the_first_page(client, path) -> None:
    assert get(client, path).status_code == 200


@pytest.mark.parametrize("path", ["/invoices/s1/d1/CT-1", "/nowhere"])
def test_what_is_not_there_is_not_found(client, path) -> None:
    assert get(client, path).status_code == 404


def test_books_that_cannot_be_read_are_an_answer(tmp_path) -> None:
    page = get(TestClient(application(tmp_path / "none.db")), "/")
    assert page.status_code == 503
    assert "store.unreadable" in page.text


@pytest.mark.parametrize("listen", ["0.0.0.0:8090", "192.0.2.1:8090", "example.org:8090", "[::]:8090"])
def test_it_is_for_this_machine_only(database, listen) -> None:
    with pytest.raises(PagePublic):
        asyncio.run(serve(database, listen))
