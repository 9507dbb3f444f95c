"""What the tests of the pages need."""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("torch") is None:
    # Some of the numbers are the exporter's, which needs the train extra.
    collect_ignore = ["test_numbers.py"]
