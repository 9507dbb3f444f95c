"""The arena's reserved slots.

TRASH   receives the states of padding rows and of rows whose next state is not needed
ZERO    all zeros, never written: the first step of a session reads it
"""

TRASH = 0
ZERO = 1
RESERVED_SLOTS = 2
