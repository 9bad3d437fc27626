"""Records of one charge agree with each other; two genuine records of different charges do not."""

import json
from itertools import permutations

import pytest

from edge.metering.ocmf import chain
from edge.metering.ocmf.record import parse


def reading(tx, rv, minute, **changed):
    made = {
        "TM": f"2026-03-01T12:{minute:02}:00,000+0100 S", "TX": tx, "RV": rv, "RI": "1-0:1.8.0", "RU": "Wh",
        "EF": "", "ST": "G",
    }  # fmt: skip
    return made | changed


def record(number, *readings, **changed):
    payload = {"PG": f"T{number}", "GS": "G1", "MS": "M1", "ID": "u", "RD": list(readings)} | changed
    return parse(b"OCMF|" + json.dumps(payload).encode() + b'|{"SD":"00"}')


BEGIN, MIDDLE, END = (
    record(5, reading("B", 1000, 0)),
    record(6, reading("T", 1400, 10)),
    record(7, reading("E", 2500, 20)),
)


def test_a_record_with_begin_and_end_is_a_charge():
    found = chain.check([record(5, reading("B", 1000, 0), reading("C", 1100, 5), reading("E", 2500, 20))])
    assert (found.energy_wh, found.billable) == (1500, True)


@pytest.mark.parametrize("order", list(permutations([BEGIN, MIDDLE, END])))
def test_a_series_is_one_charge_in_whatever_order_it_comes(order):
    found = chain.check(order)
    assert (found.energy_wh, found.contradictions, found.alarms) == (1500, (), ())


@pytest.mark.parametrize("pages", [{"PG": None}, {"PG": "T5"}])
def test_where_the_pagination_tells_no_order_the_begin_is_first(pages):
    found = chain.check(
        [record(7, reading("E", 2500, 20), **pages), record(5, reading("B", 1000, 0), PG="T5")]
    )
    assert (found.energy_wh, found.contradictions, len(found.alarms)) == (1500, (), 1)


@pytest.mark.parametrize("kind", ["E", "L", "R", "A", "P"])
def test_every_way_to_end_is_an_end(kind):
    assert chain.check([BEGIN, record(6, reading(kind, 2500, 20))]).billable


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([], "0 records"),
        ([BEGIN], "no end"),
        ([END], "no begin"),
        ([BEGIN, record(6, reading("E", 2500, 20), MS="M2")], "different meters"),
        ([BEGIN, record(6, reading("E", 2500, 20), GS="G2")], "different meters"),
        ([BEGIN, record(6, reading("E", 2500, 20), PG="F6")], "different series"),
        ([BEGIN, record(6, reading("E", 2500, 20, RI="1-0:2.8.0"))], "different registers"),
        ([BEGIN, record(6, reading("E", 2.5, 20, RU="kWh"))], "changes its unit"),
        ([BEGIN, record(6, reading("E", 999, 20))], "goes back"),
        ([BEGIN, record(6, reading("C", 3000, 10)), record(7, reading("E", 2500, 20))], "goes back"),
        ([record(5, reading("B", 1000, 30)), record(6, reading("E", 2500, 20))], "time goes back"),
        ([BEGIN, record(6, reading("B", 1500, 10)), END], "2 readings of the begin"),
        ([BEGIN, record(6, reading("L", 1500, 10)), END], "2 readings of the end"),
        ([BEGIN, record(4, reading("E", 1000, 0))], "ends before it begins"),
    ],
)
def test_what_contradicts_itself_is_no_charge(records, says):
    found = chain.check(records)
    assert any(says in c for c in found.contradictions), found
    assert found.energy_wh is None
    assert not found.billable


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([BEGIN, END], "pagination goes from 5 to 7"),
        ([BEGIN, record(5, reading("E", 2500, 20))], "pagination goes from 5 to 5"),
        ([BEGIN, record(6, reading("E", 2500, 20), ID="v")], "different users"),
        ([BEGIN, record(6, reading("E", 2500, 20, ST="M"))], "status was M"),
        ([BEGIN, record(6, reading("E", 2500, 20, EF="E"))], "energy as faulty"),
        ([BEGIN, record(6, reading("E", 2500, 20, EF="t"))], "time as faulty"),
        ([BEGIN, record(6, reading("X", 1500, 10)), END], "exception"),
    ],
)
def test_what_is_suspicious_is_not_billable_as_signed(records, says):
    found = chain.check(records)
    assert any(says in alarm for alarm in found.alarms), found
    assert found.contradictions == ()
    assert not found.billable


def test_a_meter_with_import_and_export_is_one_charge():
    both = [
        reading("B", 57.584, 0, RU="kWh"), {"RV": 4.405, "RI": "1-0:2.8.0"},
        reading("E", 58.685, 9, RU="kWh"), {"RV": 4.405, "RI": "1-0:2.8.0"},
    ]  # fmt: skip
    found = chain.check([record(5, *both)])
    assert (found.energy_wh, found.billable) == (1101, True)


@pytest.mark.parametrize(
    "beside",
    [
        {"RI": "01-00:00.08.06.FF", "RU": "sec", "RV": "      30"},
        {"RI": "1-b:1.9.0", "RU": "kWh", "RV": 1.5},
    ],
)
def test_what_an_end_tells_of_this_charge_beside_the_register_is_no_second_register(beside):
    end = record(6, reading("E", 2500, 20), beside)
    found = chain.check([BEGIN, end])
    assert (found.energy_wh, found.contradictions, found.billable) == (1500, (), True)
    found = chain.check([BEGIN, record(6, reading("E", 2500, 20, RI="1-0:2.8.0"), beside)])
    assert found.contradictions == ("begin and end are of different registers",)


@pytest.mark.parametrize("beside", [{"RU": "s"}, {"RI": "1-b:1.9.0"}])
def test_begin_and_end_of_no_register_leave_the_energy_open(beside):
    found = chain.check([record(n, reading(tx, n, n, **beside)) for n, tx in ((1, "B"), (2, "E"))])
    assert (found.energy_wh, found.contradictions, found.billable) == (None, (), False)
