"""Many kills by hand: python -m tests.crash --kills 1000 --out runs/crash.json.

A share of them hits two daemons on one Redis server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.crash.disk import small_disk
from tests.crash.real_trial import DAEMONS, run, run_shared
from tests.crash.trial import KILLS, SHARED, Kind, draw_outages
from tests.server.tiny_cell import lstm_cell, write_cell

_KINDS = {**KILLS, Kind.FULL_DISK: 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument(
        "--shared", type=float, default=0.25, help="share of the kills of two daemons"
    )
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--out", type=Path, default=Path("runs/crash.json"))
    parser.add_argument("arguments", nargs="*", help="further arguments of `cellwire serve`")
    options = parser.parse_args()
    _say(f"seed {options.seed}")
    shared_kills = round(options.kills * options.shared)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = write_cell(folder / "tiny.onnx", lstm_cell(16))
        result: dict[str, Any] = {}
        if options.kills > shared_kills:
            result |= _kill_one(options, model, folder, options.kills - shared_kills)
        if shared_kills:
            result["shared"] = _kill_two(options, model, folder, shared_kills)
    text = json.dumps(result, indent=2)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text + "\n")
    _say(text)


def _kill_one(options: argparse.Namespace, model: Path, folder: Path, kills: int) -> dict[str, Any]:
    """Kill one daemon after the other, on the same folder."""
    begun = time.monotonic()
    outages = draw_outages(options.seed, kills, _KINDS)
    with small_disk(folder / "disk") as disk:
        state = disk.folder / "state"
        arguments = (model, state, options.seed, outages, options.clients, *options.arguments)
        summary, _ = asyncio.run(run(*arguments, disk=disk))
        sizes = {path.name: path.stat().st_size for path in state.iterdir()}
    return {**asdict(summary), "seconds": _since(begun), "store_bytes": sizes}


def _kill_two(options: argparse.Namespace, model: Path, folder: Path, kills: int) -> dict[str, Any]:
    """Kill two daemons that share a Redis server."""
    begun = time.monotonic()
    outages = draw_outages(options.seed, kills, SHARED, most_messages=600, daemons=DAEMONS)
    arguments = (model, folder / "redis", options.seed, outages, options.clients)
    summary, _ = asyncio.run(run_shared(*arguments, *options.arguments))
    return {**asdict(summary), "seconds": _since(begun)}


def _since(begun: float) -> float:
    return round(time.monotonic() - begun, 1)


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201  # its purpose


if __name__ == "__main__":
    main()
