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

from tests.crash.real import RealDaemon
from tests.crash.service import Service
from tests.crash.trial import Trial, draw_outages
from tests.crash.violation import Violation
from tests.server.tiny_cell import lstm_cell, write_cell


async def crash(
    model: Path, state: Path, seed: int, kills: int, clients: int, *arguments: str
) -> dict[str, object]:
    """Run a trial against real daemons; return its summary. Violation, with the daemon's log."""
    reference = RealDaemon(model)
    daemon = RealDaemon(model, "--state", str(state), *arguments)
    outages = draw_outages(seed, kills)
    begun = time.monotonic()
    try:
        trial = Trial(Service(daemon), await reference.start(), seed)
        summary = await trial.run(outages, clients)
    except Violation as violation:
        raise Violation(f"{violation}\n{''.join(daemon.lines)}") from violation
    finally:
        await daemon.stop()
        await reference.stop()
    return {**asdict(summary), "seconds": round(time.monotonic() - begun, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--out", type=Path, default=Path("runs/crash.json"))
    parser.add_argument("arguments", nargs="*", help="further arguments of `cellwire serve`")
    options = parser.parse_args()
    print(f"seed {options.seed}", file=sys.stderr)  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        model = write_cell(Path(folder) / "tiny.onnx", lstm_cell(16))
        state = Path(folder) / "state"
        summary = asyncio.run(
            crash(model, state, options.seed, options.kills, options.clients, *options.arguments)
        )
        sizes = {path.name: path.stat().st_size for path in state.iterdir()}
    text = json.dumps({**summary, "store_bytes": sizes}, indent=2)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text + "\n")
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
