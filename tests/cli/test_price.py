"""`chargetill price`: the contract's NDJSON, to the letter."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import edge.cli.price
from edge.__main__ import main

TARIFF = {
    "id": "1",
    "currency": "EUR",
    "elements": [{"price_components": [{"type": "ENERGY", "price": 0.3, "vat": 19, "step_size": 1}]}],
}
PERIOD = {
    "start": "2026-11-23T09:00:00+01:00",
    "end": "2026-11-23T10:00:00+01:00",
    "energy_wh": 10000,
    "state": "Charging",
}


def run(*lines: object) -> tuple[int, list[str]]:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    done = subprocess.run(
        [sys.executable, "-m", "edge", "price"],
        input=text.encode(),
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.stderr == b""
    return done.returncode, done.stdout.decode().splitlines()


def session(**fields: object) -> dict:
    return {
        "id": "s",
        "tariff": TARIFF,
        "time_zone": "Europe/Berlin",
        "periods": [PERIOD],
        "reservation": None,
    } | fields


def test_a_priced_session_has_every_field_with_exact_digits():
    code, (line,) = run(session())
    assert code == 0
    assert line == (
        '{"id":"s","currency":"EUR","before_taxes":3,"after_taxes":3.57,"lines":[{"dimension":"ENERGY","unit_price":0.3,'
        '"quantity":10000,"before_taxes":3,"taxes":[{"name":"VAT","rate":19,"amount":0.57}]}],"invoice":{"lines":['
        '{"dimension":"ENERGY","unit_price":0.3,"quantity":10000,"before_taxes":3,"taxes":[{"name":"VAT","rate":19}]}],'
        '"taxes":[{"name":"VAT","rate":19,"base":3,"amount":0.57}],"allowances":[],"charges":[],"rounding":0,'
        '"total_before_taxes":3,"total_after_taxes":3.57,"payable":3.57}}'
    )


def test_exact_figures_are_rounded_half_up_to_ten_places():
    third = {**PERIOD, "end": "2026-11-23T09:00:01+01:00", "energy_wh": 0}
    tariff = {
        "id": "1",
        "currency": "EUR",
        "elements": [{"price_components": [{"type": "TIME", "price": 1}]}],
    }
    _, (line,) = run(session(tariff=tariff, periods=[third]))
    assert '"before_taxes":0.0002777778,' in line


def test_numbers_may_be_strings_and_fractions():
    _, (line,) = run(
        session(periods=[{**PERIOD, "energy_wh": "10000.0", "power_w": "11000.5", "current_a": "47.25"}])
    )
    assert json.loads(line)["before_taxes"] == 3


def test_failed_lines_stand_in_their_place_and_end_in_exit_1():
    code, lines = run(session(id=1), "{not json", session(id=2, tariff={}), session(id="three"))
    assert code == 1
    answers = [json.loads(line) for line in lines]
    assert [answer["id"] for answer in answers] == [1, None, 2, "three"]
    assert [("error" in answer) for answer in answers] == [False, True, True, False]
    assert set(answers[1]["error"]) == {"code", "message", "hint"}


def test_half_a_character_fails_its_own_line_only():
    """It could be read, but never written: as an id, as the name of a tax, in an error."""
    tax = {"type": "\ud83d", "tax": 5}
    document = {
        "tariffId": "1",
        "currency": "EUR",
        "energy": {"prices": [{"priceKwh": 1}], "taxRates": [tax]},
    }
    code, lines = run(session(id="\ud800"), session(tariff=document), session(id="\U0001f50c"))
    assert code == 1
    answers = [json.loads(line) for line in lines]
    assert [answer["id"] for answer in answers] == [None, None, "\U0001f50c"]
    assert [("error" in answer) for answer in answers] == [True, True, False]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {
                "periods": [
                    PERIOD,
                    {**PERIOD, "start": "2026-11-23T10:00:01+01:00", "end": "2026-11-23T11:00:00+01:00"},
                ]
            },
            "gap",
        ),
        (
            {
                "periods": [
                    PERIOD,
                    {**PERIOD, "start": "2026-11-23T09:59:59+01:00", "end": "2026-11-23T11:00:00+01:00"},
                ]
            },
            "overlap",
        ),
        ({"periods": [{**PERIOD, "end": "2026-11-23T08:00:00+01:00"}]}, "before its start"),
        ({"periods": [{**PERIOD, "start": "2026-11-23T09:00:00"}]}, "offset"),
        ({"periods": [{**PERIOD, "energy_wh": -1}]}, "negative"),
        ({"periods": [{**PERIOD, "energy_wh": None}]}, "required"),
        ({"periods": [{**PERIOD, "state": "Idle"}]}, "state"),
        ({"periods": [{**PERIOD, "powerW": 1}]}, "powerW"),
        ({"periods": None}, "periods"),
        ({"time_zone": "Mars/Olympus"}, "time zone"),
        ({"time_zone": None}, "time_zone"),
        ({"tariff": {**TARIFF, "surprise": 1}}, "surprise"),
        (
            {
                "reservation": {
                    "start": "2026-11-23T08:00:00Z",
                    "end": "2026-11-23T08:30:00Z",
                    "outcome": "Lost",
                }
            },
            "outcome",
        ),
        ({"plan": {"id": "p", "surprise": 1}}, "surprise"),
        ({"reservatoin": None}, "reservatoin"),
    ],
)
def test_mistakes_are_told(fields, message, capsys):
    from edge.__main__ import main

    code, answer = inside(main, capsys, session(**fields))
    assert (code, answer["id"]) == (1, "s")
    assert message in answer["error"]["message"]


def inside(main, capsys, line: dict) -> tuple[int, dict]:
    """The command in this process, for many small cases."""
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".ndjson") as file:
        file.write(json.dumps(line))
        file.flush()
        code = 0
        try:
            main(["price", file.name])
        except SystemExit as e:
            code = e.code
    return code, json.loads(capsys.readouterr().out)


def test_periods_may_be_empty(capsys):
    from edge.__main__ import main

    code, answer = inside(main, capsys, session(periods=[]))
    assert (code, answer["lines"], answer["after_taxes"], answer["invoice"]["payable"]) == (0, [], 0, 0)


def test_an_expired_reservation_is_priced_without_a_session(capsys):
    from edge.__main__ import main

    tariff = {
        **TARIFF,
        "elements": [
            {
                "price_components": [{"type": "TIME", "price": 6, "step_size": 600}],
                "restrictions": {"reservation": "RESERVATION"},
            }
        ],
    }
    reservation = {"start": "2026-11-23T08:00:00Z", "end": "2026-11-23T08:25:00Z", "outcome": "Expired"}
    _, answer = inside(main, capsys, session(tariff=tariff, periods=[], reservation=reservation))
    assert [(x["dimension"], x["quantity"], x["before_taxes"]) for x in answer["lines"]] == [
        ("TIME", 1800, 3)
    ]


def test_a_plan_changes_the_price(capsys):
    from edge.__main__ import main

    plan = {
        "id": "p",
        "percent_off": {"ENERGY": 50},
        "included": {"energy_wh": 4000},
        "balance": {"energy_wh": 1000},
    }
    _, answer = inside(main, capsys, session(plan=plan))
    assert [(x["unit_price"], x["quantity"]) for x in answer["lines"]] == [(0, 1000), (0.15, 9000)]


def test_offsets_may_change_within_a_session(capsys):
    from edge.__main__ import main

    later = {**PERIOD, "start": "2026-11-23T09:00:00Z", "end": "2026-11-23T10:00:00Z"}
    code, answer = inside(main, capsys, session(periods=[PERIOD, later]))
    assert (code, answer["lines"][0]["quantity"]) == (0, 20000)


def test_a_line_of_any_length_is_one_failed_line(tmp_path, monkeypatch, capfd):
    good = json.dumps(session())
    monkeypatch.setattr(edge.cli.price, "_LINE_BYTES_MAX", len(good) + 1)
    file = tmp_path / "sessions.ndjson"
    file.write_text("\n".join([good, "x" * 5 * len(good), good, "y" * 2 * len(good)]))
    with pytest.raises(SystemExit) as ended:
        main(["price", str(file)])
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert ended.value.code == 1
    assert [line["id"] for line in lines] == ["s", None, "s", None]
    assert "is larger than" in lines[1]["error"]["message"]
