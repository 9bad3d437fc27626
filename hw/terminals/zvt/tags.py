"""The tags of the container: their names, which hold text, and which are never shown (ZVT 13.13, chapter 9.4)."""

from __future__ import annotations

from typing import Final

_NAMES: Final = """
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
NAMES: Final[dict[str, str]] = dict(line.split(" ", 1) for line in _NAMES.strip().splitlines())

#: Values that hold text.
TEXT: Final = frozenset(
    ("07", "42", "44", "46", "47", "1F17", "1F1C", "1F40", "1F41", "1F62", "1F63", "1F7A", "1F7B")
)

#: Never shown: tracks, card numbers, PINs, passwords, keys, who somebody is, what somebody typed.
SECRET: Final = frozenset(
    (
        "80", "81", "1F08", "1F09", "1F0A", "1F1A", "1F2A", "1F31", "1F3C", "1F3E", "1F46", "1F5C", "1F5D",
        "1F5E", "1F66", "1F68", "1F74", "1F75", "9F5A", "9F5B", "1F8007", "FF40",
    )
)  # fmt: skip

#: Public identifiers and the terminal's own names for things: digits in them are no card number by chance.
PLAIN: Final = frozenset(("43", "4C", "1F0B", "1F0E", "1F0F", "1F14", "1F1F", "1F42", "1F44", "1F45"))

#: Feig's configuration uses tags of the constructed form for plain values (cVEND manual, 08 13).
VENDOR_PRIMITIVE: Final = frozenset(("FF40", "FF41", "FF42", "FF43", "FF44", "FF45", "FF46", "FF47"))

#: Constructed by their number and by the specification; some tills fill them with plain bytes all the same.
SOMETIMES_PLAIN: Final = frozenset(("26",))
