"""The arena's reserved slots.

TRASH   written by padding rows, and by rows whose next state is not needed
ZERO    all zeros and never written; a session's first step reads it
"""

TRASH = 0
ZERO = 1
RESERVED_SLOTS = 2
