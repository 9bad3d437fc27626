import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

import edge
from edge.domain.payment import Method
from edge.domain.session.state import StopReason
from edge.domain.terminal import Reason
from edge.domain.view import Kind
from edge.kiosk import KioskOptions
from edge.kiosk.options import LANGUAGES, STATIC


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


def test_the_till_s_own_codes_have_words_of_their_own() -> None:
    """`other` is for a newer till's codes: what this one says is said precisely."""
    till = Path(edge.__file__).parent
    source = "".join(
        f.read_text() for room in ("domain/session", "runtime") for f in (till / room).glob("*.py")
    )
    told = set(re.findall(r'(?:Tell\(code=|\.tell\()"(\w+)"', source))
    given = set(re.findall(r'give_back\([^)]*reason="(\w+)"', source))
    given |= set(get_args(StopReason)) | set(get_args(Reason))
    table = words("en")
    assert told
    assert told <= set(table["notices"])
    assert given <= set(table["reasons"])
    assert set(get_args(Method)) <= set(table["methods"])
