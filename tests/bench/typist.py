"""A typist in a separate process: every keystroke requests a completion.

    python -m tests.bench.typist ADDRESS --keystrokes 300 --pause-s 0

A keystroke is an append of one character and a complete directly after it. Prints, as JSON, the
seconds of each keystroke from sending the append to receiving the completed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import cast

from tests.bench.child import module, told_by
from tests.bench.durability import DURABILITIES, NONE, open_request
from tests.bench.texts import text_of
from tests.bench.wire import Wire, opened

from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import StreamSessionRequest

BEAM_WIDTH = 5
TOKENS = 12
_UNTIMED = 10
_BEFORE = {"appended", "saved"}  # what comes before the completed

_COMPLETE = StreamSessionRequest(
    complete=operations_pb2.Complete(beam_width=BEAM_WIDTH, completion_count=1, max_tokens=TOKENS)
)


def keystrokes_s(
    address: str, keystrokes: int, pause_s: float = 0, durability: str = NONE
) -> list[float]:
    """Type in another process; return the seconds of each keystroke."""
    options = [address, "--keystrokes", keystrokes, "--pause-s", pause_s]
    command = module("typist", *options, "--durability", durability)
    return cast("list[float]", told_by(command))


def _append(text: str) -> StreamSessionRequest:
    return StreamSessionRequest(append=operations_pb2.Append(text=text))


def _keystroke_s(wire: Wire, letter: str) -> float:
    start = time.perf_counter()
    wire.send(_append(letter))
    wire.send(_COMPLETE)
    answer = wire.answer()
    while not answer.HasField("completed"):
        assert answer.WhichOneof("answer") in _BEFORE, answer
        answer = wire.answer()
    return time.perf_counter() - start


def _type(address: str, keystrokes: int, pause_s: float, durability: str) -> list[float]:
    times_s = []
    request = StreamSessionRequest(open=open_request(durability, seed=1))
    with opened(address, request) as wire:
        wire.ask(_append(text_of(20)))
        for letter in text_of(_UNTIMED + keystrokes):
            time.sleep(pause_s)
            times_s.append(_keystroke_s(wire, letter))
    return times_s[_UNTIMED:]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--keystrokes", type=int, required=True)
    parser.add_argument("--pause-s", type=float, default=0)
    parser.add_argument("--durability", choices=DURABILITIES, default=NONE)
    options = parser.parse_args()
    times_s = _type(options.address, options.keystrokes, options.pause_s, options.durability)
    sys.stdout.write(json.dumps(times_s))
