"""The till's figures for Prometheus: on this machine only, and only when asked for (`[metrics] listen`).

No card, account, session or invoice number is among them.
"""
