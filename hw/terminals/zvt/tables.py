"""What the protocol's numbers mean: commands, BMPs, tags, result codes (ZVT 13.13, chapters 9 to 14)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

#: How the data of a command begins, before its BMPs. `password?` may be missing; `password` is always there. Of
#: `unknown` the specification no longer says what it holds.
Layout = Literal[
    "bmps",
    "nothing",
    "password",
    "password?",
    "registration",
    "status enquiry",
    "intermediate status",
    "completion",
    "abort",
    "read card",
    "print line",
    "byte",
    "acknowledgement",
    "vendor function",
    "unknown",
]


class Command(msgspec.Struct, frozen=True):
    """A command's name and the layout of its data."""

    name: str
    layout: Layout = "bmps"


COMMANDS: Final[dict[int, Command]] = {
    0x0101: Command("RFU"),
    0x0401: Command("Set Date and Time in ECR"),
    0x040C: Command("Request for Data"),
    0x040D: Command("Input Request"),
    0x040E: Command("Menu Request"),
    0x040F: Command("Status Information"),
    0x04FF: Command("Intermediate Status Information", "intermediate status"),
    0x0501: Command("Status Enquiry", "status enquiry"),
    0x0600: Command("Registration", "registration"),
    0x0601: Command("Authorization"),
    0x0602: Command("Log Off", "password?"),
    0x0603: Command("Account Balance Request"),
    0x0604: Command("Activate Card"),
    0x0605: Command("Procurement"),
    0x0609: Command("Top-Up Prepaid Cards"),
    0x060A: Command("Tax Free"),
    0x060C: Command("Book Tip"),
    0x060F: Command("Completion", "completion"),
    0x0610: Command("Send Turnover Totals", "password"),
    0x0612: Command("Print Turnover Receipts", "password"),
    0x0618: Command("Reset Terminal"),
    0x061A: Command("Print System Configuration"),
    0x061B: Command("Set/Reset Terminal ID", "password"),
    0x061E: Command("Abort", "abort"),
    0x0620: Command("Repeat Receipt", "password?"),
    0x0621: Command("Telephonic Authorization"),
    0x0622: Command("Reservation"),
    0x0623: Command("Partial Reversal", "password?"),
    0x0624: Command("Book Total", "password?"),
    0x0625: Command("Pre-Authorization Reversal", "password?"),
    0x0626: Command("Reversal of External Transaction", "password?"),
    0x0630: Command("Reversal", "password"),
    0x0631: Command("Refund", "password"),
    0x0650: Command("End of Day", "password"),
    0x0651: Command("Send Offline Transactions", "password"),
    0x0652: Command("Partial Reconciliation", "password"),
    0x0670: Command("Diagnosis"),
    0x0679: Command("Selftest"),
    0x0685: Command("Display Text, old form", "unknown"),
    0x0686: Command("Display Text with Numerical Input, old form", "unknown"),
    0x0687: Command("PIN Verification for Customer Card, old form", "unknown"),
    0x0688: Command("Display Text with Function Key Input, old form", "unknown"),
    0x0691: Command("Set Date and Time in PT"),
    0x0693: Command("Initialization", "password"),
    0x0695: Command("Change Password", "password"),
    0x06B0: Command("Abort"),
    0x06C0: Command("Read Card", "read card"),
    0x06C5: Command("Close Card Session"),
    0x06C6: Command("Send APDUs"),
    0x06D0: Command("Menu Selection with Graphic Display"),
    0x06D1: Command("Print Line", "print line"),
    0x06D3: Command("Print Text Block"),
    0x06D8: Command("Dial-Up"),
    0x06D9: Command("Transmit Data via Dial-Up"),
    0x06DA: Command("Receive Data via Dial-Up"),
    0x06DB: Command("Hang-Up", "nothing"),
    0x06DD: Command("Transparent Mode"),
    0x06E0: Command("Display Text"),
    0x06E1: Command("Display Text with Function Key Input"),
    0x06E2: Command("Display Text with Numerical Input"),
    0x06E3: Command("PIN Verification for Customer Card"),
    0x06E4: Command("Blocked List Query to ECR"),
    0x06E5: Command("MAC Calculation"),
    0x06E6: Command("Card Poll with Authorization"),
    0x06E7: Command("Display Text with Numerical Input, DUKPT"),
    0x06F0: Command("Display Image"),
    0x0801: Command("Activate Service Mode", "password?"),
    0x0802: Command("Switch Protocol", "byte"),
    0x0803: Command("Configure Power Management", "password?"),
    0x0810: Command("Software Update"),
    0x0811: Command("Read File", "password?"),
    0x0812: Command("Delete File", "password?"),
    0x0813: Command("Change Configuration", "password?"),
    0x0814: Command("Write File", "password"),
    0x0820: Command("Start OPT Action"),
    0x0821: Command("Set OPT Point in Time"),
    0x0822: Command("Start OPT Pre-Initialization"),
    0x0823: Command("Output OPT Data"),
    0x0824: Command("OPT Out of Order"),
    0x0830: Command("Select Language", "byte"),
    0x0840: Command("Change Baudrate", "byte"),
    0x0850: Command("Activate Card Reader", "byte"),
    0x0FA1: Command("cVEND Functions", "vendor function"),
}

#: 80 00 and 84 00 say yes, any other 84 says no.
POSITIVE: Final = Command("Positive Acknowledgement", "acknowledgement")
NEGATIVE: Final = Command("Negative Acknowledgement", "acknowledgement")

#: What a BMP's value is. `number` is BCD, `byte` one binary byte, `card` may never be shown whole.
Kind = Literal["number", "byte", "text", "line", "binary", "pan", "track", "secret", "tlv", "totals"]


class Bmp(msgspec.Struct, frozen=True):
    """A data field: its name in our output, its kind, and its length: bytes, `LL`, `LLL` or `TLV`."""

    name: str
    kind: Kind
    length: int | Literal["LL", "LLL", "TLV"]


BMPS: Final[dict[int, Bmp]] = {
    0x01: Bmp("timeout_s", "byte", 1),
    0x02: Bmp("max_status_infos", "byte", 1),
    0x03: Bmp("service_byte", "byte", 1),
    0x04: Bmp("amount_minor", "number", 6),
    0x05: Bmp("pump_no", "byte", 1),
    0x06: Bmp("tlv", "tlv", "TLV"),
    0x0B: Bmp("trace_no", "number", 3),
    0x0C: Bmp("time", "number", 3),
    0x0D: Bmp("date", "number", 2),
    0x0E: Bmp("expiry", "secret", 2),
    0x17: Bmp("card_sequence_no", "number", 2),
    0x19: Bmp("payment_type", "byte", 1),
    0x22: Bmp("pan", "pan", "LL"),
    0x23: Bmp("track_2", "track", "LL"),
    0x24: Bmp("track_3", "secret", "LLL"),
    0x27: Bmp("result_code", "byte", 1),
    0x29: Bmp("terminal_id", "number", 4),
    0x2A: Bmp("vu_number", "text", 15),
    0x2D: Bmp("track_1", "secret", "LL"),
    0x2E: Bmp("chip_data", "secret", "LLL"),
    0x37: Bmp("original_trace_no", "number", 3),
    0x3A: Bmp("cvv", "secret", 2),
    0x3B: Bmp("authorization", "text", 8),
    0x3C: Bmp("additional_text", "text", "LLL"),
    0x3D: Bmp("password", "secret", 3),
    0x49: Bmp("currency", "number", 2),
    0x60: Bmp("totals", "totals", "LLL"),
    0x70: Bmp("image_request", "binary", 4),
    0x71: Bmp("image_size", "binary", 4),
    0x72: Bmp("image_type", "byte", 1),
    0x73: Bmp("image_encoding", "byte", 1),
    0x74: Bmp("image_chunks", "byte", 1),
    0x75: Bmp("image_chunk", "byte", 1),
    0x87: Bmp("receipt_no", "number", 2),
    0x88: Bmp("turnover_no", "number", 3),
    0x8A: Bmp("card_type", "byte", 1),
    0x8B: Bmp("card_name", "text", "LL"),
    0x8C: Bmp("network_card_type", "byte", 1),
    0x9A: Bmp("geldkarte_record", "secret", "LLL"),
    0xA0: Bmp("host_result_code", "byte", 1),
    0xA7: Bmp("chip_ef_id", "secret", "LL"),
    0xAA: Bmp("date", "number", 3),
    0xAF: Bmp("ef_info", "secret", "LLL"),
    0xBA: Bmp("aid_parameter", "binary", 5),
    0xD0: Bmp("key_algorithm", "byte", 1),
    0xD1: Bmp("pin_data", "secret", "LL"),
    0xD2: Bmp("card_output", "byte", 1),
    0xD3: Bmp("dukpt_key", "byte", 1),
    0xE0: Bmp("input_min", "byte", 1),
    **{0xE0 + i: Bmp("lines", "line", "LL") for i in range(1, 9)},
    0xE9: Bmp("input_max", "byte", 1),
    0xEA: Bmp("input_echo", "byte", 1),
    0xEB: Bmp("mac", "binary", 8),
    0xF0: Bmp("display_s", "byte", 1),
    **{0xF0 + i: Bmp("lines", "line", "LL") for i in range(1, 9)},
    0xF9: Bmp("beeps", "byte", 1),
    0xFA: Bmp("card_reader", "byte", 1),
    0xFB: Bmp("confirmation", "byte", 1),
    0xFC: Bmp("dialog_control", "byte", 1),
    0xFD: Bmp("display_device", "byte", 1),
}
