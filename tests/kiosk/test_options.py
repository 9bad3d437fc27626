import ast
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

import edge
from edge import outage
from edge.domain.payment import Method
from edge.domain.session.state import StopReason
from edge.domain.terminal import Reason
from edge.domain.view import Kind
from edge.kiosk import KioskOptions
from edge.kiosk.options import LANGUAGES, STATIC
from edge.payments.acquirer import codes as codes_of_host
from edge.runtime import shelf
from edge.store import epochs


def words(language: str) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode((STATIC / "words" / f"{language}.json").read_bytes())
    return decoded


def flat(table: dict[str, Any], path: str = "") -> dict[str, str]:
    sentences: dict[str, str] = {}
    for name, value in table.items():
        sentences |= flat(value, f"{path}{name}.") if isinstance(value, dict) else {f"{path}{name}": value}
    return sentences


def test_the_screen_is_for_this_machine_alone_unless_told_otherwise() -> None:
    assert KioskOptions().host == "127.0.0.1"


@pytest.mark.parametrize(
    "section",
    [
        {"prot": 80},
        {"port": 65_536},
        {"port": -1},
        {"host": ""},
        {"theme": "pink"},
        {"reader": "behind"},
        {"terminal": "behind"},
        {"languages": []},
        {"languages": ["xx"]},
        {"languages": ["de", "de"]},
        {"support": "x" * 61},
    ],
)
def test_a_section_with_a_mistake_is_refused(section: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(section, KioskOptions)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_everything_with_the_same_figures(language: str) -> None:
    reference, sentences = flat(words("en")), flat(words(language))
    assert sentences.keys() == reference.keys()
    for name, sentence in sentences.items():
        assert sentence.strip() == sentence != "", name
        assert sorted(re.findall(r"{\w+}", sentence)) == sorted(re.findall(r"{\w+}", reference[name])), name


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_state_has_a_name_and_every_table_words_for_codes_of_a_newer_till(language: str) -> None:
    table = words(language)
    assert set(table["kinds"]) == set(get_args(Kind))
    for codes in ("reasons", "notices", "methods"):
        assert table[codes]["other"]


#: Answers to a capture, a reversal or a refund: nobody stands there any more.
LATER = {"already_captured", "capturing", "no_hold", "not_captured", "reversing", "too_many_refunds"}

#: What a meter that has just started is called before the screen has its own word for it, and gaps in the log.
IN_THE_LOG = {"meter_unknown", "unknown", ""}

#: Where a code for a driver comes from: the name that it is given to, or that gives it.
REASON_OF = {"Declined", "Refused", "ReadFailed", "StopRequested", "Void", "give_back"}
NOTICE_OF = {"Tell", "Refused", "Unrecognized", "tell"}
REASON_IN = {"reason", "refusal", "_STARTING"}
NOTICE_IN = {"_WORDS"}
REASON_FROM = {"out_of_order", "refusal"}


class Codes(ast.NodeVisitor):
    """Collects the codes that a source says to drivers."""

    def __init__(self) -> None:
        self.reasons: set[str] = set()
        self.notices: set[str] = set()

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name == "pause":
            self.reasons |= strings(*node.args)
        if name in REASON_OF:
            self.reasons |= strings(*(k.value for k in node.keywords if k.arg == "reason"))
        if name in NOTICE_OF:
            self.notices |= strings(*node.args[:1], *(k.value for k in node.keywords if k.arg == "code"))
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.assigned(node.targets, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.assigned([node.target], node.value)

    def assigned(self, targets: list[ast.expr], value: ast.expr | None) -> None:
        names = {target.id for target in targets if isinstance(target, ast.Name)}
        if value is not None:
            self.reasons |= strings(value) if names & REASON_IN else set()
            self.notices |= strings(value) if names & NOTICE_IN else set()
            self.visit(value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name in REASON_FROM:
            given = [n.value for n in ast.walk(node) if isinstance(n, ast.Return) and n.value is not None]
            self.reasons |= strings(*given)
        self.generic_visit(node)


def strings(*nodes: ast.AST) -> set[str]:
    """What an expression may give: of a choice both sides and no condition, of a table its values."""
    found: set[str] = set()
    for node in nodes:
        match node:
            case ast.Constant(value=str(text)):
                found.add(text)
            case ast.IfExp(body=body, orelse=orelse):
                found |= strings(body, orelse)
            case ast.BoolOp(values=values) | ast.Dict(values=values):
                found |= strings(*values)
            case _:
                pass
    return found


@pytest.fixture(scope="module")
def codes() -> Codes:
    """All that the till can say: in its sources, and in the tables that these name."""
    found = Codes()
    till = Path(edge.__file__).parent
    rooms = [till / room for room in ("domain/session", "payments", "runtime")]
    sources = [f for room in rooms for f in room.rglob("*.py")]
    sources += [till / f for f in ("domain/risk.py", "bookkeeping.py", "entrances.py")]
    sources += [till / "backoffice" / "authorizations.py"]  # its noes are told by the till
    for source in sources:
        found.visit(ast.parse(source.read_text()))
    found.reasons |= {codes_of_host.reason(f"{code:02}") for code in range(100)}
    found.reasons |= {outage.REASON, shelf.BLOCKED, epochs.ROLLED_BACK, epochs.DECOMMISSIONED}
    found.reasons |= set(get_args(StopReason)) | set(get_args(Reason))
    found.notices |= set(get_args(Reason))
    found.reasons -= LATER | IN_THE_LOG
    return found


def test_what_the_till_says_is_said_precisely(codes: Codes) -> None:
    """`other` is for a newer till's codes."""
    assert {"evse_fault", "clock_untrusted", "reader_failed", "meter_unsteady", "busy"} <= codes.reasons
    assert {"price_changed", "see_phone", "pin_required"} <= codes.notices
    table = words("en")
    assert codes.reasons - set(table["reasons"]) == set()
    assert codes.notices - set(table["notices"]) == set()
    assert set(get_args(Method)) <= set(table["methods"])


def test_there_are_no_words_that_nobody_says(codes: Codes) -> None:
    table = words("en")
    assert set(table["reasons"]) - codes.reasons == {"hold_too_small", "other"}  # the page's own
    assert set(table["notices"]) - codes.notices == {"other"}


def test_another_card_is_asked_for_by_codes_that_exist(codes: Codes) -> None:
    page = (STATIC / "views.js").read_text()
    asked = set(re.findall(r'"(\w+)"', page.partition("const OF_CARD = new Set([")[2].partition("]")[0]))
    assert asked
    assert asked <= codes.reasons


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_for_drivers_are_no_words_of_engineers(language: str) -> None:
    """No code, no abbreviation of ours, and sentences that end where the next line begins."""
    for name, sentence in flat(words(language)).items():
        assert not re.search(r"EVSE|RFID|[a-z]_[a-z]|error|Error|Fehlercode", sentence), name
        assert not sentence.endswith((",", ";", ":")), name
        assert "  " not in sentence, name
