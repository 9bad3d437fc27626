"""`chargetill tariff`: every problem, and the price as a driver would read it."""

from __future__ import annotations

import json

import pytest

from edge.__main__ import main

SOUND = {
    "id": "day and night",
    "currency": "EUR",
    "elements": [
        {
            "price_components": [{"type": "ENERGY", "price": "0.40", "vat": 19}],
            "restrictions": {"start_time": "22:00", "end_time": "06:00"},
        },
        {
            "price_components": [
                {"type": "ENERGY", "price": "0.50", "vat": 19},
                {"type": "FLAT", "price": "1", "vat": 19},
            ]
        },
    ],
}


@pytest.fixture
def call(tmp_path, capsys):
    def run(document: object, *arguments: str) -> tuple[int, str, str]:
        file = tmp_path / "tariff.json"
        file.write_text(document if isinstance(document, str) else json.dumps(document))
        code = 0
        try:
            main(["tariff", arguments[0], str(file), *arguments[1:]])
        except SystemExit as e:
            code = e.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_a_sound_tariff_has_no_problems(call):
    assert call(SOUND, "lint") == (0, "no problems\n", "")


def test_lint_tells_every_problem_with_place_and_reason(call):
    broken = json.loads(json.dumps(SOUND))
    broken["elements"][0]["restrictions"] = {"dayOfWeek": ["MONDAY"], "start_time": "24:00"}
    code, out, _ = call(broken, "lint")
    assert code == 1
    assert [line.split(": ")[1] for line in out.splitlines()] == [
        "elements[0].restrictions.start_time",
        "elements[0].restrictions.dayOfWeek",
    ]


def test_lint_asks_what_the_profile_asks(call):
    code, out, _ = call(SOUND, "lint", "--profile", "afir_50kw", "--json")
    assert code == 1
    assert json.loads(out) == {
        "ok": False,
        "problems": [
            {
                "place": "elements[1].price_components[1]",
                "reason": "is a fee per session, which points of 50 kW and more may not have",
                "severity": "error",
            }
        ],
    }


def test_show_tells_now_and_later(call):
    _, out, _ = call(
        SOUND, "show", "--at", "2026-11-24T20:00", "--time-zone", "Europe/Berlin", "--lang", "de"
    )
    assert out.splitlines() == [
        "jetzt:",
        "  Energie: 0,595 €/kWh (inkl. 19 % MwSt.)",
        "  Je Ladevorgang: 1,19 € (inkl. 19 % MwSt.)",
        "ab 22:00:",
        "  Energie: 0,476 €/kWh (inkl. 19 % MwSt.)",
        "  Je Ladevorgang: 1,19 € (inkl. 19 % MwSt.)",
        "ab 06:00:",
        "  Energie: 0,595 €/kWh (inkl. 19 % MwSt.)",
        "  Je Ladevorgang: 1,19 € (inkl. 19 % MwSt.)",
    ]


def test_show_as_json_has_the_hash_that_a_session_freezes(call):
    from edge.domain.tariffs import freeze

    _, out, _ = call(SOUND, "show", "--at", "2026-11-24T20:00:00Z", "--json")
    answer = json.loads(out)
    assert answer["hash"] == freeze(json.dumps(SOUND).encode()).hash
    assert answer["prices"][0]["heading"] == "now"


@pytest.mark.parametrize(
    ("document", "arguments", "code"),
    [
        ("{", ("show",), 2),
        (SOUND, ("show", "--at", "noon"), 2),
        (SOUND, ("show", "--at", "0001-01-01T00:00"), 2),
        (SOUND, ("show", "--time-zone", "Mars"), 2),
        (SOUND, ("show", "--lang", "xx"), 2),
        (SOUND, ("lint", "--profile", "xx"), 2),
    ],
)
def test_a_wrong_call_ends_in_exit_2(call, document, arguments, code):
    got, out, err = call(document, *arguments)
    assert (got, out) == (code, "")
    assert err


def test_a_file_that_is_not_there_ends_in_exit_2(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["tariff", "lint", "/nowhere/tariff.json"])
    assert ended.value.code == 2
    assert "input.invalid" in capsys.readouterr().err
