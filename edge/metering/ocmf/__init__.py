"""Signed meter values: the Open Charge Metering Format and the XML that carries it.

`record.parse` keeps the signed bytes, `signature.verify` judges them under a key from `keys`, `chain.check` and
`proof.prove` say what the records of one charge tell together, `safe_xml` reads and writes the file that a driver
gives to the transparency software. Pure: bytes in, facts out.
"""
