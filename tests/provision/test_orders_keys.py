"""Whose orders a device obeys is written into a configuration that people have edited, and nothing else changes."""

from __future__ import annotations

import tomllib

import pytest

from edge.errors import ConfigError
from edge.provision.orders_keys import orders_keys_of, with_orders_keys

KEYS = ["ab" * 32]

EDITED = """# ours
[mqtt]   # the way up
brokers = ["a:1",
  "b:2"]
{keys}
[mqtt.tls]
ca = "ca.pem"

[[evse]]
id = "x"
note = "[mqtt]"
"""


@pytest.mark.parametrize(
    "keys", ["", 'orders_keys = ["00"]', "  orders_keys=[] # nobody yet", f'orders_keys = ["{KEYS[0]}"]']
)
def test_the_key_is_written_and_all_else_stays(keys, tmp_path):
    text = EDITED.format(keys=keys)
    changed = with_orders_keys(text, KEYS)
    before, after = tomllib.loads(text), tomllib.loads(changed)
    assert after["mqtt"].pop("orders_keys") == KEYS
    before["mqtt"].pop("orders_keys", None)
    assert after == before
    assert [line for line in changed.splitlines() if "orders_keys" not in line] == [
        line for line in text.splitlines() if "orders_keys" not in line
    ]
    assert with_orders_keys(changed, KEYS) == changed
    config = tmp_path / "config.toml"
    config.write_text(changed)
    assert orders_keys_of(config) == tuple(KEYS)


@pytest.mark.parametrize(
    "text",
    [
        "[device]\nsite = 's'\n",
        'mqtt = { brokers = ["a:1"] }\n',
        EDITED.format(keys="orders_keys = [\n  '00',\n]"),
    ],
)
def test_what_only_a_person_may_change_is_said(text):
    with pytest.raises(ConfigError) as refused:
        with_orders_keys(text, KEYS)
    assert refused.value.hint


def test_a_configuration_that_is_not_there_names_nobody(tmp_path):
    assert orders_keys_of(tmp_path / "none.toml") == ()


@pytest.mark.parametrize(
    "text", ["mqtt = 3", f'[mqtt]\norders_keys = "{KEYS[0]}"', "[mqtt]\norders_keys = [1]", "[mqtt"]
)
def test_what_is_no_list_of_keys_names_nobody(tmp_path, text):
    odd = tmp_path / "odd.toml"
    odd.write_text(text)
    assert orders_keys_of(odd) == ()
