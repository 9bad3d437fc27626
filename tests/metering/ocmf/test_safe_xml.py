"""The transparency software's XML: what it looks like in the wild, what we write, and what is refused."""

import base64
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.metering.ocmf import keys, safe_xml
from edge.metering.ocmf.errors import ContainerUnreadable, RecordMalformed
from edge.metering.ocmf.record import parse
from edge.metering.ocmf.safe_xml import SignedValue
from edge.metering.ocmf.signature import verify


def file(*values, head='<?xml version="1.0" encoding="UTF-8"?>'):
    return (head + "<values>" + "".join(values) + "</values>").encode()


def value(data, key="", *, attributes='format="OCMF" encoding="plain"', key_attributes='encoding="hex"'):
    shown = f"<publicKey {key_attributes}>{key}</publicKey>" if key else ""
    return (
        f'<value transactionId="7" context="Transaction.End"><signedData {attributes}>{data}</signedData>'
        f"{shown}</value>"
    )


def test_what_is_written_is_read_and_verifies(signer):
    raw = signer.record({"TT": "0,49 €/kWh & <more>", "PG": "T1", "RD": []})
    written = safe_xml.write(
        [
            SignedValue(
                ocmf=raw,
                public_key=keys.from_bytes(signer.der),
                transaction_id=7,
                context=context,
            )
            for context in ("Transaction.Begin", "Transaction.End")
        ]
    )
    first, second = safe_xml.read(written)
    assert (first.transaction_id, first.context, second.context) == (
        "7",
        "Transaction.Begin",
        "Transaction.End",
    )
    assert first.record() == raw
    assert verify(parse(first.record()), first.public_key()).status == "valid"


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=80))
def test_every_byte_of_a_record_survives_the_file(signer, middle):
    raw = b"OCMF|" + middle + b"|{}"
    written = SignedValue(ocmf=raw, public_key=keys.from_bytes(signer.der), transaction_id=1)
    (found,) = safe_xml.read(safe_xml.write([written]))
    assert found.record() == raw


@pytest.mark.parametrize("wrap", ["{}", "\n\t\t{}\n  ", "<![CDATA[{}]]>", "<!-- c -->{}<?pi x?>"])
def test_plain_data_in_every_dress(signer, wrap):
    raw = signer.record()
    (found,) = safe_xml.read(file(value(wrap.format(raw.decode()), signer.der.hex())))
    assert found.record() == raw
    assert verify(parse(found.record()), found.public_key()).status == "valid"


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("hex", lambda raw: raw.hex(" ", 4).upper()),
        ("base64", lambda raw: base64.encodebytes(raw).decode()),
        ("base32", lambda raw: base64.b32encode(raw).decode()),
        ("plain", lambda raw: raw.decode().replace('"', "&quot;")),
    ],
)
def test_encoded_data(signer, encoding, encode):
    raw = signer.record()
    (found,) = safe_xml.read(file(value(encode(raw), attributes=f'format="OCMF" encoding="{encoding}"')))
    assert found.record() == raw
    assert found.public_key() is None


@pytest.mark.parametrize(
    "attributes", ['format="ocmf" encoding="PLAIN"', 'format=" OCMF " encoding=" plain"']
)
def test_attributes_are_read_however_they_are_written(signer, attributes):
    raw = signer.record().decode()
    (found,) = safe_xml.read(file(value(f"<![CDATA[{raw}]]>", attributes=attributes)))
    assert found.record() == raw.encode()


def test_what_the_attributes_leave_out_is_the_usual(signer):
    raw = signer.record().decode()
    (found,) = safe_xml.read(file(value(raw, signer.der.hex(" ", 2), attributes="", key_attributes="")))
    assert found.record() == raw.encode()
    assert found.public_key() == keys.from_bytes(signer.der)


def test_namespaces_other_character_sets_and_old_element_names(signer):
    raw = signer.record('{"TT":"Größe","RD":[]}'.encode())
    text = raw.decode()
    spaced = f'<s:values xmlns:s="urn:x"><s:value><s:signedData>{text}</s:signedData></s:value></s:values>'
    latin = '<?xml version="1.0" encoding="ISO-8859-1"?>' + spaced
    wide = '<?xml version="1.0" encoding="UTF-16"?>' + spaced
    old = spaced.replace("signedData", "encodedData")
    for data in (spaced.encode(), latin.encode("latin-1"), wide.encode("utf-16"), b"\n" + old.encode()):
        (found,) = safe_xml.read(data)
        assert found.record() == raw
        assert safe_xml.looks_like_xml(data)


def test_data_without_a_value_around_it_is_not_forgotten(signer):
    one, two = signer.record().decode(), signer.record().decode()
    data = f"<values><signedData>{one}</signedData><signedData>{two}</signedData></values>"
    assert [v.record() for v in safe_xml.read(data.encode())] == [one.encode(), two.encode()]
    assert len(safe_xml.read(f"<signedData>{one}</signedData>".encode())) == 1


def test_other_formats_are_told_apart():
    for attributes, data in (
        ('format="ALFEN"', "AP;0;3;.."),
        ("", "&lt;signedMeterValue/&gt;"),
        ('format=""', "AP;0;3;.."),
    ):
        (found,) = safe_xml.read(file(value(data, attributes=attributes)))
        assert found.record() is None


@pytest.mark.parametrize(
    ("attributes", "data"),
    [
        ('format="OCMF" encoding="hex"', "4F43F"),
        ('format="OCMF" encoding="base64"', "T0NN*"),
        ('format="OCMF" encoding="rot13"', "BPZS"),
    ],
)
def test_data_that_cannot_be_decoded(attributes, data):
    (found,) = safe_xml.read(file(value(data, attributes=attributes)))
    with pytest.raises(RecordMalformed):
        found.record()


LAUGHS = '<!DOCTYPE v [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9)
)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (file(value("&j;"), head=LAUGHS + "]>"), "document type"),
        (file(value("&x;"), head='<!DOCTYPE v [<!ENTITY x SYSTEM "file:///etc/passwd">]>'), "document type"),
        (file(value("x"), head='<!DOCTYPE v SYSTEM "http://127.0.0.1/v.dtd">'), "document type"),
        (b"<a>" * 20_000, "nested deeper"),
        (b"<values>" + b" " * (9 * 1024 * 1024), "bytes"),
        (b"<values>" + b"<value><signedData/></value>" * 10_001 + b"</values>", "more than 10000"),
        (b"<values><value></values>", "well-formed"),
        (b"<values/>", "without signed values"),
        (b"<html><body>no</body></html>", "without signed values"),
        (b'<?xml version="1.0" encoding="EBCDIC-9"?><values/>', "well-formed|encoding"),
        (file(value("&undefined;")), "well-formed"),
        (b"<", "well-formed"),
        (b"\xff\xfe<", "well-formed"),
    ],
)
def test_hostile_or_broken_files_are_refused(data, says):
    with pytest.raises(ContainerUnreadable, match=says):
        safe_xml.read(data)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="<>/&;!?[]=\"' abcvalueDsignOCMF|{}-\n", max_size=80))
def test_any_text_is_a_file_or_an_error_of_ours(text):
    with contextlib.suppress(ContainerUnreadable):
        safe_xml.read(text.encode())
