"""The data objects of EMV by tag: their names, which hold text, and which must never be shown.

Names: EMV Book 3 annex A, Book C-2 and C-3 (contactless kernels 2 and 3).
"""

from __future__ import annotations

from typing import Final

_NAMES: Final = """
42 Issuer Identification Number
4F Application Identifier (AID)
50 Application Label
56 Track 1 Data
57 Track 2 Equivalent Data
5A Application Primary Account Number (PAN)
5F20 Cardholder Name
5F21 Track 1
5F22 Track 2
5F24 Application Expiration Date
5F25 Application Effective Date
5F28 Issuer Country Code
5F2A Transaction Currency Code
5F2D Language Preference
5F30 Service Code
5F34 PAN Sequence Number
5F36 Transaction Currency Exponent
5F50 Issuer URL
5F53 IBAN
5F54 Bank Identifier Code
5F55 Issuer Country Code (alpha-2)
5F56 Issuer Country Code (alpha-3)
61 Application Template
6F File Control Information (FCI) Template
70 READ RECORD Response Template
71 Issuer Script Template 1
72 Issuer Script Template 2
73 Directory Discretionary Template
77 Response Message Template Format 2
80 Response Message Template Format 1
81 Amount, Authorised (Binary)
82 Application Interchange Profile
83 Command Template
84 Dedicated File (DF) Name
86 Issuer Script Command
87 Application Priority Indicator
88 Short File Identifier (SFI)
89 Authorisation Code
8A Authorisation Response Code
8C Card Risk Management Data Object List 1 (CDOL1)
8D Card Risk Management Data Object List 2 (CDOL2)
8E Cardholder Verification Method (CVM) List
8F Certification Authority Public Key Index
90 Issuer Public Key Certificate
91 Issuer Authentication Data
92 Issuer Public Key Remainder
93 Signed Static Application Data
94 Application File Locator (AFL)
95 Terminal Verification Results
97 Transaction Certificate Data Object List (TDOL)
98 Transaction Certificate (TC) Hash Value
99 Transaction PIN Data
9A Transaction Date
9B Transaction Status Information
9C Transaction Type
9D Directory Definition File (DDF) Name
9F01 Acquirer Identifier
9F02 Amount, Authorised (Numeric)
9F03 Amount, Other (Numeric)
9F04 Amount, Other (Binary)
9F05 Application Discretionary Data
9F06 Application Identifier (AID), Terminal
9F07 Application Usage Control
9F08 Application Version Number, Card
9F09 Application Version Number, Terminal
9F0A Application Selection Registered Proprietary Data
9F0B Cardholder Name Extended
9F0C Issuer Identification Number Extended
9F0D Issuer Action Code - Default
9F0E Issuer Action Code - Denial
9F0F Issuer Action Code - Online
9F10 Issuer Application Data
9F11 Issuer Code Table Index
9F12 Application Preferred Name
9F13 Last Online Application Transaction Counter (ATC) Register
9F14 Lower Consecutive Offline Limit
9F15 Merchant Category Code
9F16 Merchant Identifier
9F17 PIN Try Counter
9F18 Issuer Script Identifier
9F19 Token Requestor ID
9F1A Terminal Country Code
9F1B Terminal Floor Limit
9F1C Terminal Identification
9F1D Terminal Risk Management Data
9F1E Interface Device (IFD) Serial Number
9F1F Track 1 Discretionary Data
9F20 Track 2 Discretionary Data
9F21 Transaction Time
9F22 Certification Authority Public Key Index, Terminal
9F23 Upper Consecutive Offline Limit
9F24 Payment Account Reference (PAR)
9F25 Last 4 Digits of PAN
9F26 Application Cryptogram
9F27 Cryptogram Information Data
9F2D ICC PIN Encipherment Public Key Certificate
9F2E ICC PIN Encipherment Public Key Exponent
9F2F ICC PIN Encipherment Public Key Remainder
9F32 Issuer Public Key Exponent
9F33 Terminal Capabilities
9F34 Cardholder Verification Method (CVM) Results
9F35 Terminal Type
9F36 Application Transaction Counter (ATC)
9F37 Unpredictable Number
9F38 Processing Options Data Object List (PDOL)
9F39 Point-of-Service (POS) Entry Mode
9F3A Amount, Reference Currency
9F3B Application Reference Currency
9F3C Transaction Reference Currency Code
9F3D Transaction Reference Currency Exponent
9F40 Additional Terminal Capabilities
9F41 Transaction Sequence Counter
9F42 Application Currency Code
9F43 Application Reference Currency Exponent
9F44 Application Currency Exponent
9F45 Data Authentication Code
9F46 ICC Public Key Certificate
9F47 ICC Public Key Exponent
9F48 ICC Public Key Remainder
9F49 Dynamic Data Authentication Data Object List (DDOL)
9F4A Static Data Authentication Tag List
9F4B Signed Dynamic Application Data
9F4C ICC Dynamic Number
9F4D Log Entry
9F4E Merchant Name and Location
9F4F Log Format
9F50 Offline Accumulator Balance
9F51 DRDOL
9F52 Application Default Action
9F53 Transaction Category Code
9F54 DS ODS Card
9F5A Application Program Identifier
9F5B DSDOL
9F5C DS Requested Operator ID
9F5D Application Capabilities Information
9F5E DS ID
9F5F DS Slot Availability
9F60 CVC3 (Track 1)
9F61 CVC3 (Track 2)
9F62 PCVC3 (Track 1)
9F63 PUNATC (Track 1)
9F64 NATC (Track 1)
9F65 PCVC3 (Track 2)
9F66 Terminal Transaction Qualifiers (TTQ), or PUNATC (Track 2)
9F67 NATC (Track 2)
9F69 Card Authentication Related Data, or UDOL
9F6A Unpredictable Number (Numeric)
9F6B Track 2 Data, or Card CVM Limit
9F6C Card Transaction Qualifiers (CTQ)
9F6D Mag-stripe Application Version Number (Reader)
9F6E Form Factor Indicator, or Third Party Data
9F6F DS Slot Management Control
9F70 Protected Data Envelope 1
9F71 Protected Data Envelope 2
9F72 Protected Data Envelope 3
9F73 Protected Data Envelope 4
9F74 Protected Data Envelope 5
9F7C Customer Exclusive Data, or Merchant Custom Data
9F7D DS Summary 1
9F7E Mobile Support Indicator
9F7F DS Unpredictable Number
A5 File Control Information (FCI) Proprietary Template
BF0C File Control Information (FCI) Issuer Discretionary Data
"""

NAMES: Final = dict(line.split(" ", 1) for line in _NAMES.strip().splitlines())

#: Values that are text (formats an, ans of Book 3 annex A) and may be shown.
TEXT: Final = frozenset(
    ("50", "5F2D", "5F50", "5F55", "5F56", "8A", "89", "9F12", "9F16", "9F1C", "9F1E", "9F4E")
)

#: The PAN itself, in BCD (5A), or first in a track (57, 9F6B in BCD, 56 in ASCII): shown truncated.
PAN: Final = "5A"
TRACKS_BCD: Final = frozenset(("57", "9F6B"))
TRACK_ASCII: Final = "56"

#: Never shown, with the lengths in bytes that they can have. 9F46 and 9F2D are certificates from which the
#: PAN is recovered with public keys (Book 2, tables 14 and 23); 9F5E is made of it (Book C-2, DS ID). 5F53 is
#: an account number of its own.
SECRET: Final = {
    PAN: range(1, 11),
    "57": range(1, 20),
    "9F6B": range(1, 20),
    TRACK_ASCII: range(1, 77),
    "5F20": range(2, 27),
    "5F21": range(1, 80),
    "5F22": range(1, 41),
    "5F30": range(2, 3),
    "5F53": range(1, 35),
    "99": range(1, 33),
    "9F0B": range(1, 46),
    "9F1F": range(1, 80),
    "9F20": range(1, 41),
    "9F2D": range(32, 249),
    "9F46": range(32, 249),
    "9F5A": range(1, 17),
    "9F5E": range(8, 12),
}
