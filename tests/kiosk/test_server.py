import asyncio
import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from edge import web
from edge.domain.view import View
from edge.kiosk import Answer, pages
from edge.kiosk.actions import TRIES_MAX, Tries, host_name, same_origin
from edge.kiosk.server import KioskNotServed

PATIENCE_S = 30.0


def view(kind: Any = "idle", evse_id: str = "E1", **more: Any) -> View:
    return View(evse_id=evse_id, label="A", kind=kind, **more)


def ask(
    till: Any, path: str, method: str = "GET", body: Any = None, **headers: str
) -> tuple[int, bytes, Any]:
    line = http.client.HTTPConnection("127.0.0.1", till.port, timeout=PATIENCE_S)
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body)
    line.request(method, path, body=raw, headers=headers)
    reply = line.getresponse()
    content = reply.read()
    line.close()
    return reply.status, content, reply.headers


@contextmanager
def listening(till: Any) -> Iterator[Callable[[], tuple[str, str]]]:
    """A screen: each call gives the next event's name and data."""
    line = http.client.HTTPConnection("127.0.0.1", till.port, timeout=PATIENCE_S)
    line.request("GET", "/events")
    reply = line.getresponse()
    assert reply.headers["Content-Type"] == "text/event-stream"

    def event() -> tuple[str, str]:
        fields: dict[str, str] = {}
        while (text := reply.readline().decode()) != "\n":
            assert text, "the stream has ended"
            name, _, value = text.rstrip("\n").partition(": ")
            fields[name] = value
        return fields["event"], fields["data"]

    try:
        yield event
    finally:
        reply.close()
        line.close()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ended(line: socket.socket) -> bool:
    """True once the till has closed the line, in order or not; a time-out raises."""
    try:
        return line.recv(1024) == b""
    except ConnectionResetError:
        return True


def kinds(data: str) -> list[str]:
    return [panel["view"]["kind"] for panel in json.loads(data)["panels"]]


class Driver:
    """Knows one code; notes what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    async def stop(self, evse_id: str, code: str) -> Answer:
        self.asked.append(("stop", evse_id, code))
        return "done" if code == "4711" else "wrong_code"

    async def choose(self, evse_id: str) -> Answer:
        self.asked.append(("choose", evse_id))
        return "done"


def test_the_page_comes_with_its_settings_and_asks_nobody_else(start_till: Any) -> None:
    till = start_till(languages=("de", "en"), theme="dark", support='"Tel. <1>"')
    status, content, headers = ask(till, "/")
    assert status == 200
    page = content.decode()
    assert '<html lang="de" data-theme="dark"' in page
    assert "&lt;1&gt;" in page
    assert "<1>" not in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    for path in re.findall(r'(?:src|href)="(/[^"]+)"', page):
        assert ask(till, path)[0] == 200
    assert not re.search(r'(src|href)="(https?:)?//', page)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../options.py",
        "/static/%2e%2e/options.py",
        "/static//etc/passwd",
        "/static/",
        "/options.py",
        "/x",
    ],
)
def test_nothing_but_the_page_s_own_files_is_served(start_till: Any, path: str) -> None:
    assert ask(start_till(), path)[0] == 404


def test_the_state_can_be_asked_for_once(start_till: Any) -> None:
    till = start_till()
    till.show(view("charging", energy_wh=12_345))
    status, content, headers = ask(till, "/state")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(content)["panels"][0]["view"]["energy_wh"] == 12_345


def test_a_screen_gets_the_version_then_everything_then_each_change(start_till: Any, swift: None) -> None:
    till = start_till()
    till.show(view("idle"))
    with listening(till) as event:
        name, version = event()
        assert name == "page"
        assert version in ask(till, "/")[1].decode()
        assert kinds(event()[1]) == ["idle"]
        till.show(view("authorizing"))
        assert kinds(event()[1]) == ["authorizing"]


def test_a_screen_gets_at_most_two_updates_a_second_and_always_the_newest_state(start_till: Any) -> None:
    till = start_till()
    till.show(view("idle"))
    with listening(till) as event:
        event()
        event()
        began = time.monotonic()
        for seconds in range(50):
            till.show(view("charging", seconds=seconds))
        updates = 0
        while '"seconds":49' not in event()[1]:
            updates += 1
        assert updates <= (time.monotonic() - began) / pages.UPDATE_S + 1


def test_a_quiet_stream_beats(start_till: Any, swift: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "BEAT_S", 0.02)
    with listening(start_till()) as event:
        assert [event()[0] for _ in range(4)] == ["page", "state", "beat", "beat"]


def test_the_number_of_screens_is_bounded_and_a_screen_that_goes_makes_room(
    start_till: Any, swift: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "CLIENTS_MAX", 2)
    monkeypatch.setattr(pages, "BEAT_S", 0.02)
    till = start_till()
    with listening(till) as one:
        one()
        with listening(till) as two:
            two()
            assert ask(till, "/events")[0] == 503
        until(lambda: till.board.watchers == 1)
        with listening(till) as three:
            assert three()[0] == "page"


def test_a_client_that_never_asks_is_cut_off(start_till: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "PATIENCE_S", 0.05)
    till = start_till()
    with socket.create_connection(("127.0.0.1", till.port), timeout=PATIENCE_S) as line:
        line.sendall(b"GET / HT")
        assert ended(line)


def test_an_answer_may_take_longer_to_make_than_a_client_may_take_to_ask(
    start_till: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pages.Pages._state
    monkeypatch.setattr(web, "PATIENCE_S", 2.0)

    async def slowly(self: Any, *given: Any) -> Any:
        await asyncio.sleep(2.5)
        return await made(self, *given)

    monkeypatch.setattr(pages.Pages, "_state", slowly)
    assert ask(start_till(), "/state")[0] == 200


def test_those_who_keep_their_request_back_give_way_to_those_who_ask(start_till: Any) -> None:
    till = start_till()
    with listening(till) as event:
        assert event()[0] == "page"
        silent = [
            socket.create_connection(("127.0.0.1", till.port), timeout=PATIENCE_S)
            for _ in range(web.CONNECTIONS_MAX)
        ]
        for line in silent:
            with suppress(ConnectionError):
                line.sendall(b"GET / HT")
        assert ask(till, "/state")[0] == 200
        assert ended(silent[0])
        assert event()[0] == "state"
        for line in silent:
            line.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"5413330089600044\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5413330089600044x\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(2_000)),
        b"\xff\xfe\r\n\r\n",
        b"GET / 1\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_leaves_no_line(start_till: Any, capfd: Any, sent: bytes) -> None:
    till = start_till()
    with socket.create_connection(("127.0.0.1", till.port), timeout=PATIENCE_S) as line:
        line.sendall(sent)
        assert line.recv(12) == b"HTTP/1.0 400"
    assert ask(till, "/state")[0] == 200
    assert capfd.readouterr().err == ""


def test_a_page_that_fails_is_told_through_the_log_and_its_scrubber(
    start_till: Any, capfd: Any, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("card 5413330089600044")

    monkeypatch.setattr(pages.Pages, "_state", fails)
    till = start_till()
    status, content, _ = ask(till, "/state")
    assert status == 500
    assert b"5413330089600044" not in content
    assert [record.message for record in caplog.records] == ["web.failed"]
    assert "5413330089600044" not in capfd.readouterr().err  # nothing beside the log


def test_a_client_that_takes_nothing_loses_its_place(
    start_till: Any, swift: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "PATIENCE_S", 0.2)
    till = start_till()
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.settimeout(PATIENCE_S)
        line.connect(("127.0.0.1", till.port))
        line.sendall(b"GET /events HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        until(lambda: till.board.watchers == 1)
        label = "x" * 2**20  # more than the buffers between us hold, after a few of them
        serial = 0

        def gone() -> bool:
            nonlocal serial
            serial += 1
            till.show(view("idle", reason=f"{label}{serial}"))
            return bool(till.board.watchers == 0)

        until(gone)


def test_a_page_elsewhere_with_a_name_rebound_to_us_reads_nothing(start_till: Any) -> None:
    till = start_till()
    assert ask(till, "/state", Host="evil.example")[0] == 421
    assert ask(till, "/state", Host=f"localhost:{till.port}")[0] == 200
    assert ask(till, "/state", Host=f"[::1]:{till.port}")[0] == 200


def test_a_driver_stops_with_the_code_and_chooses_an_evse(start_till: Any) -> None:
    driver = Driver()
    till = start_till(driver)
    till.show(view("charging", stoppable=True))
    origin = f"http://127.0.0.1:{till.port}"
    stop = {"action": "stop", "evse_id": "E1", "code": "4711"}
    assert ask(till, "/actions", "POST", stop, Origin=origin)[:2] == (200, b'{"answer":"done"}')
    assert ask(till, "/actions", "POST", {"action": "choose", "evse_id": "E1"}, Origin=origin)[0] == 200
    assert driver.asked == [("stop", "E1", "4711"), ("choose", "E1")]


@pytest.mark.parametrize("origin", [{}, {"Origin": "null"}, {"Origin": "http://evil.example"}])
def test_only_the_till_s_own_page_acts(start_till: Any, origin: dict[str, str]) -> None:
    driver = Driver()
    till = start_till(driver)
    till.show(view("charging"))
    stop = {"action": "stop", "evse_id": "E1", "code": "4711"}
    assert ask(till, "/actions", "POST", stop, **origin)[0] == 403
    assert driver.asked == []


@pytest.mark.parametrize(
    ("action", "status"),
    [
        (None, 400),
        ([], 400),
        ({"action": "open", "evse_id": "E1"}, 400),
        ({"action": "stop", "evse_id": "E1"}, 400),
        ({"action": "stop", "evse_id": "E1", "code": "12"}, 400),
        ({"action": "stop", "evse_id": "E1", "code": "12ab"}, 400),
        ({"action": "stop", "evse_id": "E9", "code": "4711"}, 404),
        ({"action": "choose", "evse_id": "E1", "x": 1}, 400),
        (b'{"action":"choose","evse_id":"\xff"}', 400),
        (b'{"x":' + b"[" * 3000 + b"]" * 3000 + b"}", 400),
    ],
)
def test_what_is_not_an_action_reaches_nobody(start_till: Any, action: Any, status: int) -> None:
    driver = Driver()
    till = start_till(driver)
    till.show(view("charging"))
    assert ask(till, "/actions", "POST", action, Origin=f"http://127.0.0.1:{till.port}")[0] == status
    assert driver.asked == []


def test_without_actions_there_is_nothing_to_press(start_till: Any) -> None:
    till = start_till()
    till.show(view("charging"))
    stop = {"action": "stop", "evse_id": "E1", "code": "4711"}
    assert ask(till, "/actions", "POST", stop, Origin=f"http://127.0.0.1:{till.port}")[0] == 404


def test_codes_cannot_be_tried_one_after_another(start_till: Any) -> None:
    driver = Driver()
    till = start_till(driver)
    till.show(view("charging"))
    origin = f"http://127.0.0.1:{till.port}"
    answers = [
        json.loads(
            ask(till, "/actions", "POST", {"action": "stop", "evse_id": "E1", "code": code}, Origin=origin)[1]
        )
        for code in [f"{i:04}" for i in range(TRIES_MAX)] + ["4711"]
    ]
    assert [a["answer"] for a in answers] == ["wrong_code"] * TRIES_MAX + ["too_many_tries"]
    assert len(driver.asked) == TRIES_MAX


def test_tries_come_back_with_time_and_are_counted_for_each_evse() -> None:
    tries = Tries()
    for i in range(TRIES_MAX):
        assert not tries.spent("E1", float(i))
        tries.wrong("E1", float(i))
    assert tries.spent("E1", 10.0)
    assert not tries.spent("E2", 10.0)
    assert tries.spent("E1", 59.9)
    assert not tries.spent("E1", 60.0)


def test_same_origin_needs_both_and_compares_the_port() -> None:
    assert same_origin(origin="http://127.0.0.1:8080", host="127.0.0.1:8080")
    assert not same_origin(origin="http://127.0.0.1:8081", host="127.0.0.1:8080")
    assert not same_origin(origin=None, host="127.0.0.1")
    assert not same_origin(origin="", host="")


@pytest.mark.parametrize(
    ("header", "name"),
    [("till", "till"), ("till:80", "till"), ("[::1]:80", "::1"), ("", ""), ("[", ""), ("a@b:1", "b")],
)
def test_a_host_header_is_taken_apart(header: str, name: str) -> None:
    assert host_name(header) == name


def test_a_port_in_use_is_one_clear_error(start_till: Any) -> None:
    first = start_till()
    with pytest.raises(KioskNotServed, match=rf"kiosk.not_served: cannot listen on 127.0.0.1:{first.port}"):
        start_till(port=first.port)


def test_stopping_ends_every_stream_and_frees_the_port(start_till: Any) -> None:
    till = start_till()
    with listening(till) as event:
        event()
        till.stop()
        assert till.board.watchers == 0
        start_till(port=till.port)
