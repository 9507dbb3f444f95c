"""Load a model, use it and unload it, several times; print the process's memory after each time.

Arguments: the default model, and a folder with the model `great`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.commands import OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.host.config import Config
from cellwire.server.host.placement import Placement
from cellwire.server.host.registry import Registry
from cellwire.server.runtime.device import CPU
from cellwire.server.session.operations import Append, Complete, Generate

ROUNDS = 4


def resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (size,) = (line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(size) * 1024


def use(engine: Engine) -> None:
    """Open a session that appends, generates in three programs, and searches."""
    engine.handle(OpenSession("one", 0, 1, 0))
    for operation in (
        Append(1, np.array([1, 2, 3], np.uint32)),
        Generate(2, 4, Sampling(seed=1)),
        Generate(3, 4, Sampling(seed=1, top_k=3)),
        Complete(4, 3, 2, 4),
    ):
        engine.handle(SubmitOperation("one", operation))
        while not engine.idle:
            engine.step()


def main(default: Path, folder: Path) -> None:
    config = Config(models=(default,), model_folder=folder, sessions=8, threads=1)
    registry = Registry(config, Placement(CPU, ""), lambda *_: None, lambda _: None)
    registry.start()
    sys.stdout.write(f"{resident_bytes()}\n")
    for _ in range(ROUNDS):
        model = registry.load("great")
        registry.add(model)
        model.loop.call(use).result()
        loaded = resident_bytes()
        registry.remove("great").loop.stop()
        del model
        sys.stdout.write(f"{loaded} {resident_bytes()}\n")
    registry.stop()


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
