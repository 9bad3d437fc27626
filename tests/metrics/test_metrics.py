"""What Prometheus gets: the books' own figures, in its own format, and nothing about anybody."""

from __future__ import annotations

import json
import re
import socket
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.domain.instant import Instant
from edge.domain.view import View
from edge.errors import ConfigError
from edge.inventory import load
from edge.metrics.exposition import Family, exposition, family
from edge.metrics.measure import Sources, families
from edge.store.reading import Reading

#: One line of the text format: name, labels, value.
LINE = re.compile(
    r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*\})? (-?[0-9.e+-]+)$'
)
DASHBOARD = Path(__file__).parents[2] / "systemd" / "grafana-dashboard.json"


class Evse:
    evse_id = "DE*T*1"

    def __init__(self, kind="charging", reason=None, age_s=2):
        self.shown = View(evse_id=self.evse_id, label="1", kind=kind, reason=reason, power_w=11_000)
        self.meter_read_at = None if age_s is None else datetime.now(UTC) - timedelta(seconds=age_s)


class Clock:
    def now(self):
        return Instant(utc=datetime.now(UTC), boot_id="b", monotonic_ns=1)

    def trusted(self):
        return True


def measured(database, *evses, connected=True):
    sources = Sources(
        version="1.2.3",
        database=database,
        evses=evses or (Evse(),),
        clock=Clock(),
        connected=lambda: connected,
    )
    return parsed(exposition(families(sources)))


def parsed(page):
    """Name with labels -> value, every line checked against the format."""
    found, typed = {}, set()
    for line in page.decode().splitlines():
        if line.startswith("# TYPE "):
            assert line.split()[2] not in typed, "a family stands once"
            typed.add(line.split()[2])
        elif not line.startswith("# HELP "):
            match = LINE.match(line)
            assert match, line
            assert match[1] in typed
            assert match[1] + (match[2] or "") not in found
            found[match[1] + (match[2] or "")] = float(match[3])
    return found


def test_the_figures_are_those_of_the_books(sold):
    with Reading(sold) as db:
        stats = db.stats()
    found = measured(sold)
    assert found['chargetill_build_info{version="1.2.3"}'] == 1
    assert found["chargetill_sessions_open"] == stats["open_sessions"] == 1
    assert (
        sum(v for k, v in found.items() if k.startswith("chargetill_sessions_total")) == stats["sessions"] - 1
    )
    assert found['chargetill_sessions_total{outcome="invoiced"}'] == stats["invoices"] == 2
    assert found["chargetill_energy_wh_total"] >= stats["invoiced_wh"] > 0
    assert found['chargetill_revenue_minor{currency="EUR"}'] == stats["totals"][0]["payable_minor"]
    assert found["chargetill_open_holds"] == len(stats["open_holds"])
    assert found["chargetill_journal_entries"] == stats["entries"]
    assert found["chargetill_sync_refused_entries"] == 0
    assert found["process_resident_memory_bytes"] > 1_000_000


def test_each_evse_says_what_its_screen_says(sold):
    found = measured(sold, Evse("out_of_order", "meter_silent", age_s=None))
    assert found['chargetill_evse_in_order{evse_id="DE*T*1"}'] == 0
    assert found['chargetill_evse_state{evse_id="DE*T*1",state="out_of_order",reason="meter_silent"}'] == 1
    assert not [k for k in found if k.startswith("chargetill_meter_age_seconds")], "unknown is not zero"
    assert 1 <= measured(sold)['chargetill_meter_age_seconds{evse_id="DE*T*1"}'] < 60


def test_without_a_back_office_nothing_is_said_of_a_connection(sold):
    assert "chargetill_sync_connected" not in measured(sold, connected=None)
    assert measured(sold, connected=False)["chargetill_sync_connected"] == 0


def test_nothing_about_anybody(sold):
    with Reading(sold) as db:
        rows = db.sessions()
        secrets = {str(r[k]) for r in rows for k in ("session_id", "account", "invoice_number") if r[k]}
    sources = Sources(version="1", database=sold, evses=(Evse(),), clock=Clock(), connected=lambda: True)
    page = exposition(families(sources)).decode()
    assert secrets
    assert not [s for s in secrets if s in page]


@given(st.text(), st.one_of(st.none(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_any_label_and_any_number_can_be_read_again(text, value):
    page = exposition([Family(name="a", kind="gauge", help=text, samples=(((("l", text),), value),))])
    lines = page.decode().split("\n")
    if value is None:
        assert lines == ["", ""]
    else:
        assert len(lines) == 4
        assert float(lines[2].rsplit(" ", 1)[1]) == value


def test_a_family_without_a_known_sample_is_left_out():
    assert exposition([family("a", "gauge", "h", None), family("b", "counter", "h", True)]).decode() == (
        "# HELP b h\n# TYPE b counter\nb 1\n"
    )


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:9464", "192.168.1.5:9464", "[::]:9464", "127.0.0.1:99999", "localhost"]
)
def test_it_listens_on_this_machine_only(place, listen):
    place.add(f'[metrics]\nlisten = "{listen}"\n')
    with pytest.raises(ConfigError) as refused:
        load(place.config)
    assert "metrics" in str(refused.value)


def get(port, path="/metrics", method="GET"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers, answer.read()


def first(port):
    """The first answer of a till that has just said that it is ready."""
    ends = time.monotonic() + 60
    while True:
        try:
            return get(port)
        except urllib.error.URLError:
            assert time.monotonic() < ends
            time.sleep(0.1)


def test_a_till_that_runs_answers(place, daemon, free_port):
    place.add(f'[metrics]\nlisten = "127.0.0.1:{free_port}"\n')
    till = daemon(place.config)
    till.says("till.ready")
    headers, page = first(free_port)
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = parsed(page)
    assert found["chargetill_clock_trusted"] == 1
    assert found["process_start_time_seconds"] <= datetime.now(UTC).timestamp() + 2
    for path, method, status in (("/", "GET", 404), ("/metrics", "POST", 405)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(free_port, path, method)
        assert refused.value.code == status
    with socket.create_connection(("127.0.0.1", free_port), 10) as nonsense:
        nonsense.sendall(b"\x16\x03\x01 what\r\n\r\n")
        assert b"404" in nonsense.recv(100)
    assert get(free_port)[1]
    assert till.stop() == 0


def test_without_the_section_nobody_listens(place):
    assert load(place.config).metrics is None


def queries(node):
    """Every PromQL expression of a dashboard."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"expr", "query"} and isinstance(value, str):
                yield value
            else:
                yield from queries(value)
    elif isinstance(node, list):
        for item in node:
            yield from queries(item)


def test_the_dashboard_asks_only_for_what_there_is(sold):
    dashboard = json.loads(DASHBOARD.read_text())
    known = {k.partition("{")[0] for k in measured(sold)}
    asked = {name for q in queries(dashboard) for name in re.findall(r"\b(?:chargetill|process)_[a-z_]+", q)}
    assert asked <= known, asked - known
    assert {n for n in known if n.startswith("chargetill_")} <= asked | {
        "chargetill_scrape_seconds",
        "chargetill_journal_entries",
        "chargetill_invoices_total",
    }


def test_the_dashboard_is_laid_out_without_overlap_and_asks_a_data_source_of_its_own_choice():
    dashboard = json.loads(DASHBOARD.read_text())
    cells = set()
    ids = [p["id"] for p in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & cells, panel["title"]
        assert max(x for x, _ in own) < 24
        cells |= own
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["description"]
