"""Holding money on a bank card by asking the acquirer itself, over ISO 8583:1987. The README has the messages."""
