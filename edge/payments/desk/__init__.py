"""The terminal desk: one arbiter per certified terminal, for all EVSEs that take cards through it.

    desk = TerminalDesk(terminal, journal, currency="EUR", clock=clock, wanted=lambda: somebody_may_buy)
    tasks.create_task(desk.run())                  # owns the terminal; ends when cancelled
    async for card in desk.presented():            # BankCard, MemberCard, or NoCard with the reason
        ...
    await desk.preauthorize(ref, amount_minor=5000, currency="EUR", token=token)   # edge.ports.PaymentMethod

See README.md beside this file.
"""

from edge.payments.desk.desk import Options, TerminalDesk

__all__ = ["Options", "TerminalDesk"]
