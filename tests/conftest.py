"""What holds for every test."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# The same examples in every run, so that a change is not blamed for another's luck. To look for new
# ones: HYPOTHESIS_PROFILE=search. No deadline: how busy the machine is proves nothing.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("search", max_examples=1_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

# A shell lets what it starts in the background ignore Ctrl-C, and so would the programs under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
