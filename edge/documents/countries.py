"""ISO 3166-1: the three letters that belong to two. OCPI 2.x writes places with three, everything else with two.

Europe, and where else OCPI is spoken; a country that is not here is one more word.
"""

from __future__ import annotations

_CODES = (
    "AD=AND AE=ARE AL=ALB AM=ARM AR=ARG AT=AUT AU=AUS AZ=AZE BA=BIH BE=BEL BG=BGR BH=BHR BR=BRA BY=BLR CA=CAN "
    "CH=CHE CL=CHL CN=CHN CO=COL CR=CRI CY=CYP CZ=CZE DE=DEU DK=DNK DO=DOM EE=EST EG=EGY ES=ESP FI=FIN FO=FRO "
    "FR=FRA GB=GBR GE=GEO GG=GGY GI=GIB GR=GRC HK=HKG HR=HRV HU=HUN ID=IDN IE=IRL IL=ISR IM=IMN IN=IND IS=ISL "
    "IT=ITA JE=JEY JO=JOR JP=JPN KR=KOR KW=KWT KZ=KAZ LI=LIE LT=LTU LU=LUX LV=LVA MA=MAR MC=MCO MD=MDA ME=MNE "
    "MK=MKD MT=MLT MX=MEX MY=MYS NL=NLD NO=NOR NZ=NZL OM=OMN PE=PER PH=PHL PL=POL PT=PRT QA=QAT RO=ROU RS=SRB "
    "SA=SAU SE=SWE SG=SGP SI=SVN SK=SVK SM=SMR TH=THA TN=TUN TR=TUR TW=TWN UA=UKR US=USA UY=URY VA=VAT VN=VNM "
    "XK=XKX ZA=ZAF"
)
_ALPHA_3 = dict(code.split("=") for code in _CODES.split())


def alpha_3(alpha_2: str) -> str | None:
    """DEU for DE; None for a country that is not listed."""
    return _ALPHA_3.get(alpha_2)
