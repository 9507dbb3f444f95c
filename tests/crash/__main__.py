"""Many kills by hand: python -m tests.crash --kills 1000 --out runs/crash.json."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.crash.disk import small_disk
from tests.crash.real_trial import run
from tests.crash.trial import KILLS, Kind, draw_outages
from tests.server.tiny_cell import lstm_cell, write_cell

_KINDS = {**KILLS, Kind.FULL_DISK: 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--out", type=Path, default=Path("runs/crash.json"))
    parser.add_argument("arguments", nargs="*", help="further arguments of `cellwire serve`")
    options = parser.parse_args()
    _say(f"seed {options.seed}")
    begun = time.monotonic()
    outages = draw_outages(options.seed, options.kills, _KINDS)
    with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder) / "disk") as disk:
        model = write_cell(Path(folder) / "tiny.onnx", lstm_cell(16))
        state = disk.folder / "state"
        arguments = (model, state, options.seed, outages, options.clients, *options.arguments)
        summary, _ = asyncio.run(run(*arguments, disk=disk))
        sizes = {path.name: path.stat().st_size for path in state.iterdir()}
    seconds = round(time.monotonic() - begun, 1)
    text = json.dumps({**asdict(summary), "seconds": seconds, "store_bytes": sizes}, indent=2)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text + "\n")
    _say(text)


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201  # its purpose


if __name__ == "__main__":
    main()
