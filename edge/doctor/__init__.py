"""What an installer asks first: is everything that this till needs there, and if not, what is to be done?

Nothing here changes anything: no register is written, no contactor moved, no file made that stays.
"""
