"""A registry whose models run on one card, each in its engine's thread."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest
from tests.server.card.card import Card
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.model_file.errors import BadModel
from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.commands import OpenSession, SubmitOperation
from cellwire.server.host.config import Config
from cellwire.server.host.loop import EngineLoop
from cellwire.server.host.placement import Placement
from cellwire.server.host.registry import Registry
from cellwire.server.runtime.device import CPU, Device, Provider
from cellwire.server.session.events import Closed, Completed, Event, Rejected, Written
from cellwire.server.session.operations import Append, Complete, Generate

GUARD_S = 60


class Models:
    """A registry, and the texts that its models write."""

    def __init__(self, folder: Path, device: Device, provider: Provider) -> None:
        self.delivered: SimpleQueue[tuple[str, list[Event]]] = SimpleQueue()
        self.crashes: list[BaseException] = []
        config = Config(
            models=(folder / "first.onnx",),
            model_folder=folder,
            sessions=8,
            max_batch=8,
            provider=provider,
        )
        self.registry = Registry(config, Placement(device, ""), self._deliver, self.crashes.append)
        self.registry.start()
        self.texts: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self.finished = set[tuple[str, str]]()

    def _deliver(self, loop: EngineLoop, events: list[Event]) -> None:
        self.delivered.put((loop.name, events))

    def write(self, model: str, session_id: str, tokens: int) -> None:
        """Let a session of a model write."""
        loop = self.registry.find(model).loop
        for command in (
            OpenSession(session_id, 0, len(session_id), 20),
            SubmitOperation(session_id, Append(1, np.array([1, 2, 3], np.uint32))),
            SubmitOperation(session_id, Generate(2, tokens, Sampling())),
            SubmitOperation(session_id, Complete(3, 3, 2, 3)),
        ):
            assert loop.post(command)

    def wait(self, model: str, session_id: str) -> list[int]:
        """Return what a session has written, when it has its completions, too."""
        while (model, session_id) not in self.finished:
            name, events = self.delivered.get(timeout=GUARD_S)
            for event in events:
                assert not isinstance(event, Rejected | Closed), event
                if isinstance(event, Written):
                    self.texts[name, event.session_id] += event.tokens
                elif isinstance(event, Completed):
                    self.finished.add((name, event.session_id))
        return self.texts[model, session_id]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("first", "second", "third")):
        write_cell(tmp_path / f"{name}.onnx", lstm_cell(6 + seed, seed=seed))
    return tmp_path


@pytest.fixture
def models(folder: Path, cuda: Device) -> Iterator[Models]:
    models = Models(folder, cuda, "cuda")
    yield models
    models.registry.stop()
    assert models.crashes == []


def expected(folder: Path, model: str, session_id: str, tokens: int) -> list[int]:
    """What a session writes on the CPU."""
    models = Models(folder, CPU, "cpu")
    if model != "first":
        models.registry.add(models.registry.load(model))
    models.write(model, session_id, tokens)
    try:
        return models.wait(model, session_id)
    finally:
        models.registry.stop()


def test_a_model_is_served(folder: Path, models: Models) -> None:
    assert models.registry.find("").provider == "CUDAExecutionProvider"
    models.write("first", "a", 40)
    assert models.wait("first", "a") == expected(folder, "first", "a", 40)


def test_others_come_and_go_while_sessions_run(folder: Path, models: Models) -> None:
    models.write("first", "a", 900)
    for round_number in range(2):
        for name in ("second", "third"):
            models.registry.add(models.registry.load(name))
            models.write(name, "b", 30)
        for name in ("second", "third"):
            assert models.wait(name, "b") == expected(folder, name, "b", 30)
            assert models.registry.remove(name).loop.stop()
            models.finished.discard((name, "b"))
            del models.texts[name, "b"]
        models.write("first", f"c{round_number}", 30)
    assert models.wait("first", "a") == expected(folder, "first", "a", 900)
    assert models.wait("first", "c1") == expected(folder, "first", "c1", 30)


def test_a_model_that_has_gone_leaves_nothing_on_the_card(card: Card, models: Models) -> None:
    before = len(card.sessions), len(card.values), card.session_bytes
    models.registry.add(models.registry.load("second"))
    models.write("second", "b", 30)
    models.wait("second", "b")
    assert len(card.sessions) > before[0]
    models.registry.remove("second").loop.stop()
    assert (len(card.sessions), len(card.values), card.session_bytes) == before
    assert card.faults == []


def test_a_cell_that_cannot_run_on_the_card_as_a_whole_runs_on_the_cpu(
    folder: Path, cuda: Device
) -> None:
    """With `auto`; with `cuda` it is refused. No CUDA kernel has this operator."""
    cell = lstm_cell(6)
    (squash,) = (node for node in cell.nodes if node.output[0] == "squashed")
    squash.op_type = "Hardmax"
    write_cell(folder / "first.onnx", cell)
    models = Models(folder, cuda, "auto")
    assert models.registry.find("").provider == "CPUExecutionProvider"
    assert "not on CUDA" in models.registry.find("").note
    models.registry.stop()
    with pytest.raises(BadModel, match="cannot be run"):
        Models(folder, cuda, "cuda")
