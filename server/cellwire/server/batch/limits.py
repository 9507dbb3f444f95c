"""The limits and defaults of the contract, which every daemon has; tests compare them with it.

What one daemon may be configured to allow is in host/config.py.
"""

from __future__ import annotations

# Open
MAX_REWIND_WINDOW = 1_024  # tokens
DEFAULT_REWIND_WINDOW = 64
MIN_IDLE_TIMEOUT_S = 1
MAX_IDLE_TIMEOUT_S = 7 * 24 * 3600
DEFAULT_IDLE_TIMEOUT_S = 600
MAX_DURABLE_IDLE_TIMEOUT_S = 10 * 365 * 24 * 3600
DEFAULT_DURABLE_IDLE_TIMEOUT_S = 30 * 24 * 3600
SESSION_ID_DIGITS = 32  # hexadecimal
SAFE_FIRST_TIMEOUT_S = 30  # how long an answer may wait until it is safe

# Checkpoint
MAX_CHECKPOINTS = 64  # of a session
MAX_CHECKPOINT_NAME_CHARS = 64

# Append, Score
MAX_APPEND_TOKENS = 1_000_000

# Generate
MAX_GENERATE_TOKENS = 1_000_000
MAX_ALTERNATIVES = 20
MAX_STOP_STRINGS = 16

# Sampling
MAX_TEMPERATURE = 100.0
MAX_PENALTY = 100.0
MAX_REPETITION_WINDOW = 1_024  # tokens
DEFAULT_REPETITION_WINDOW = 64
MAX_BIAS = 100.0
MAX_BIASES = 256
MAX_TOP_K_ON_CARD = 4_096  # of a model with more symbols

# Complete
MAX_BEAM_WIDTH = 64
DEFAULT_BEAM_WIDTH = 5
MAX_COMPLETE_TOKENS = 1_024
DEFAULT_COMPLETE_TOKENS = 32
MAX_LENGTH_PENALTY = 10.0

# Attach, GetSession
REMEMBERED_TOKENS = 65_536  # of a session's text, at least
STORED_TOKENS = 4_000_000  # of a durable session's text, that one message can carry
TAIL_TOKENS = 1_024

# ListModels
MAX_PAGE_SIZE = 1_000
DEFAULT_PAGE_SIZE = 100

# Every message and stream
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
FIRST_MESSAGE_TIMEOUT_S = 60
