"""What is written is what TOML reads again, whatever an installer types."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from edge.provision.toml_text import document

KEYS = st.text("abcdefgh_", min_size=1, max_size=6)
VALUES = st.one_of(
    st.text(),
    st.integers(-(2**62), 2**62),
    st.booleans(),
    st.lists(st.text(), max_size=3),
    st.floats(0.1, 1e9),
)
TABLES = st.dictionaries(KEYS, VALUES, max_size=4)
DOCUMENTS = st.dictionaries(
    KEYS, st.one_of(VALUES, TABLES, st.lists(TABLES, min_size=1, max_size=3)), max_size=5
)


@given(DOCUMENTS)
def test_every_document_can_be_read_again(table):
    assert tomllib.loads(document(table, {})) == table


def test_comments_stand_above_their_section_and_beside_their_key():
    text = document(
        {"a": {"b": 1, "none": None}, "c": [{"d": "x"}]}, {"a": "two\nlines", "a.b": "why", "c": "each"}
    )
    assert text == '# two\n# lines\n[a]\nb = 1  # why\n\n# each\n[[c]]\nd = "x"\n'
