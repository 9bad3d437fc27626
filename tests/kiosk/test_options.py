import re
from typing import Any, get_args

import msgspec
import pytest

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
