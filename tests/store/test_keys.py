"""The ledger key's file: what openssl and others make of such a key is read, and anything else is refused."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from edge.domain.ledger.signature import verifies
from edge.store.keys import KeyUnusable, load_or_make


def put(folder, data):
    path = folder / "ledger.key"
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path


def pem(private, encryption):
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def test_a_key_that_was_made_here_is_one_for_everybody(tmp_path):
    key = load_or_make(tmp_path / "ledger.key")
    foreign = load_pem_private_key((tmp_path / "ledger.key").read_bytes(), password=None)
    assert foreign.public_key().public_bytes_raw().hex() == key.public_hex
    assert verifies(key.public_hex, key.sign(b"me"), b"me")
    assert (tmp_path / "ledger.key").stat().st_mode & 0o777 == 0o600


def test_a_key_of_another_maker_is_read_however_its_file_is_written(tmp_path):
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw().hex()
    plain = pem(private, NoEncryption())
    for data in (plain, plain.replace(b"\n", b"\r\n"), b"made by hand\n" + plain):
        assert load_or_make(put(tmp_path, data)).public_hex == public


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"secret")), "encrypted"),
        (pem(ec.generate_private_key(ec.SECP256R1()), NoEncryption()), "not an Ed25519 key"),
        (
            pem(Ed25519PrivateKey.generate(), NoEncryption()).replace(b"AwBQYDK2Vw", b"AwBQYDK2V3"),
            "not an Ed25519 key",
        ),
        (b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 64 + b"\n-----END PRIVATE KEY-----\n", "PEM form"),
        (b"", "PEM form"),
    ],
)
def test_what_is_no_such_key_is_refused(tmp_path, data, said):
    with pytest.raises(KeyUnusable, match=said):
        load_or_make(put(tmp_path, data))
