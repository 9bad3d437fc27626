"""What the protocol's numbers mean: commands, BMPs, tags, result codes (ZVT 13.13, chapters 9 to 14)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

#: How the data of a command begins, before its BMPs. `password?` may be missing; `password` is always there.
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

_TLV_NAMES: Final = """
01 Reversal ID
02 Driver number
03 Car number
04 Mileage
05 Goods group
06 Restriction code 1
07 Text line
08 Receipt number
09 Attribute
0A ZVT command
0B Info field
0C Info field 2
0D Restriction code 2
0E Service code
0F Assignment number
10 Columns and lines of the merchant display
11 Columns and lines of the customer display
12 Characters per line of the printer
13 Extra result code
14 ISO character set
15 Language code
16 Menu type
17 Context
18 Destination
19 Return code
1A Maximum length of the APDU
1B Diagnosis type
1C File block
1D File ID
1E Start position
20 Fleet card container
21 Permitted goods groups
22 Prohibited goods groups
23 Open pre-authorizations
24 Display texts
25 Print texts
26 Permitted ZVT commands
27 Supported character sets
28 Supported languages
29 Menus
2A Menus
2B Menu
2C Menu point
2D File
2E Time stamp
2F Payment type
30 Card acceptance matching
31 Amount information
32 Input container
33 DUKPT key container
34 Terminal date and time
35 24 hour reboot date and time
40 EMV configuration parameter
41 ZVT card type ID
42 Name of the application
43 Application ID
44 Application preferred name
45 Receipt parameter
46 EMV print data, customer receipt
47 EMV print data, merchant receipt
48 Priority
49 Network operator card type ID
4A Product display
4B Issuer country code
4C UID
4D EF_ID girogo
4E Payment account reference
50 Background color
60 Application
61 Applications on the magnetic stripe
62 Applications on the chip
63 Prepaid container
64 Receipt header
65 Receipt advertising text
66 Receipt customer copy
67 Receipt merchant copy
68 Receipt transaction outcome
69 Reference transaction
6A Invalid application
80 Prepaid PIN
81 Telephone number
82 Top-up text
83 Prepaid type
84 Minimal charge amount
85 Maximal charge amount
C1 Transaction type
C2 Bonus points
C3 Remaining bonus points
C4 Transaction number of the ECR
C5 Equivalent of bonus points
E1 Bonus points container
E2 DCC container
E3 Barcode container
E4 Device information
E5 Key container
E6 Card type container
E7 Merchant SAM information
E8 Value added services
E9 Reference number container
EA Membership data
EB Power management
EC End of day, details
ED End of day, details of one host
EE End of day, details of all hosts
1F00 Total length of the file
1F01 Receipt ID
1F02 From transaction number
1F03 To transaction number
1F04 Receipt parameter
1F05 Transaction parameter
1F06 Reservation parameter
1F07 Receipt type
1F08 Track 1 data
1F09 Track 2 data
1F0A Track 3 data
1F0B Maximum pre-authorization amount
1F0C License plate number
1F0D Transparent data to the host
1F0E Date
1F0F Time
1F10 Cardholder authentication
1F11 Online flag
1F12 Card technology
1F13 ECR function request
1F14 Card identification item
1F15 Card reading control
1F16 Extended error code
1F17 Extended error text
1F18 Card notification control
1F19 Card acceptance
1F1A PAN for card acceptance matching
1F1C Card name
1F1D Currency information type
1F1E Number of decimals
1F1F Unique transaction identifier
1F20 Total amount
1F21 ISO currency code
1F23 Retrieval ID
1F24 Reference number
1F25 Cashback amount
1F26 End of day mode
1F2B Trace number
1F2C Profile name
1F2D Card data input type
1F2E Barcode type
1F2F Product code
1F31 Encrypted PIN
1F32 SMID value
1F33 Message data
1F34 MAC value
1F35 ECR identification
1F36 Tip amount
1F37 Receipt information
1F38 Input mode
1F39 Timeout
1F3A Input result
1F3B Transaction information
1F3C Input
1F3D Alphanumeric data
1F3E Encrypted cardholder information
1F3F Remaining balance
1F40 Device name
1F41 Software version
1F42 Serial number
1F43 Device state
1F44 Terminal identifier
1F45 ATS
1F46 Command APDUs
1F47 Card read error code
1F4C Card type
1F4D Card subtype
1F4F MIFARE ATQA
1F50 MIFARE SAK
1F54 Key generation number
1F55 Terminal locks
1F57 Merchant SAM number
1F59 Payment application
1F5B Card poll timeout
1F5C Encrypted key
1F5D Plaintext key
1F5E IBAN
1F5F BIC
1F60 Allowed card technologies
1F61 Customer index
1F62 Identifier of the individual reference number
1F63 Individual reference number
1F64 Number of payments
1F65 Processing selection
1F66 Wallet data
1F67 Retailer identifier
1F68 Loyalty identifier
1F69 Voucher identifier
1F6A Remaining amount
1F6F Payment type
1F70 Partial approval capability
1F71 Recognized tags
1F72 Extended contactless card detection
1F73 Message sequence ID
1F74 Password
1F79 Request to start an action
1F7A File name
1F7B MIME type of the file
9F5A Membership product identifier
9F5B Product membership number
1F8001 IP address
1F8003 Partial reconciliation
1F8004 Unattended terminal
1F8007 Online card hash
1F8008 Online card reference
FF01 Coupon data
FF02 Loyalty data
FF03 Parking ticket
FF04 Voucher data
FF40 Password
FF41 Host configuration
"""

#: tag in upper-case hex -> name
TLV_NAMES: Final[dict[str, str]] = dict(line.split(" ", 1) for line in _TLV_NAMES.strip().splitlines())

#: Values that hold text.
TLV_TEXT: Final = frozenset(
    ("07", "42", "44", "46", "47", "1F17", "1F1C", "1F40", "1F41", "1F62", "1F63", "1F7A", "1F7B")
)

#: Never shown: tracks, card numbers, PINs, passwords, keys, who somebody is, what somebody typed.
TLV_SECRET: Final = frozenset(
    (
        "80", "81", "1F08", "1F09", "1F0A", "1F1A", "1F2A", "1F31", "1F3C", "1F3E", "1F46", "1F5C", "1F5D",
        "1F5E", "1F66", "1F68", "1F74", "1F75", "9F5A", "9F5B", "1F8007", "FF40",
    )
)  # fmt: skip

#: Public identifiers and the terminal's own names for things: digits in them are no card number by chance.
TLV_PLAIN: Final = frozenset(("43", "4C", "1F0B", "1F0E", "1F0F", "1F14", "1F1F", "1F42", "1F44", "1F45"))

#: Feig's configuration uses tags of the constructed form for plain values (cVEND manual, 08 13).
TLV_VENDOR_PRIMITIVE: Final = frozenset(("FF40", "FF41", "FF42", "FF43", "FF44", "FF45", "FF46", "FF47"))
