"""The payment terminal over ZVT (ZVT-Kassenschnittstelle 13.13): codec, transport, session, driver.

The terms are the protocol's: the till is the ECR, the terminal the PT, a data field a BMP.
"""
