"""Bank cards and phones made of software, with a certification authority and an issuer of their own.

    from hw.virtual.bank_cards.bank import Bank

    bank = Bank()
    field.present(bank.card("visa"))
    host = Host(issuer=bank.issuer.approve)
    keys = bank.authority.capk()      # what `chargetill emv replay --capk` and the kernel's lab setting take

Nothing here is anybody's: the keys are drawn from a seed when they are asked for, the numbers are of ranges for tests.
"""
