"""The models a daemon serves, each with an engine and a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cellwire.server.arena import Arena
from cellwire.server.cell import Cell, read_cell
from cellwire.server.config import Config
from cellwire.server.engine import Engine
from cellwire.server.errors import BadModel, NotFound
from cellwire.server.events import Event
from cellwire.server.loop import EngineLoop
from cellwire.server.runtime import Runtime
from cellwire.server.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model, and the thread that runs it."""

    cell: Cell
    provider: str
    vocabulary: Vocabulary
    loop: EngineLoop

    @property
    def name(self) -> str:
        """The model's name: its file's stem."""
        return self.cell.name


class Registry:
    """Models by name; the first is the default."""

    def __init__(self, models: list[ServedModel]) -> None:
        self._models = {model.name: model for model in models}
        self._default = models[0]

    @classmethod
    def load(
        cls,
        config: Config,
        deliver: Callable[[list[Event]], None],
        on_crash: Callable[[BaseException], None],
    ) -> Registry:
        """Load every model of the configuration; BadModel if one cannot be served."""
        paths: dict[str, Path] = {}
        for path in config.models:
            if path.stem in paths:
                raise BadModel(
                    f"{paths[path.stem]} and {path} would both be named {path.stem!r}; rename one"
                )
            paths[path.stem] = path
        return cls([_serve(path, config, deliver, on_crash) for path in paths.values()])

    def __iter__(self) -> Iterator[ServedModel]:
        """Iterate over the models, the default first."""
        return iter(self._models.values())

    def find(self, name: str) -> ServedModel:
        """Return the model of that name, or the default for an empty one; NotFound if none is."""
        if not name:
            return self._default
        if name not in self._models:
            known = ", ".join(self._models)
            raise NotFound(f"no model is named {name!r}; this daemon serves: {known}")
        return self._models[name]

    def start(self) -> None:
        """Start every model's thread."""
        for model in self:
            model.loop.start()

    def stop(self) -> None:
        """Stop every model's thread and wait for them."""
        for model in self:
            model.loop.stop()


def _serve(
    path: Path,
    config: Config,
    deliver: Callable[[list[Event]], None],
    on_crash: Callable[[BaseException], None],
) -> ServedModel:
    cell = read_cell(path)
    arena = Arena(config.slots)
    runtime = Runtime(cell, arena.slots, config.max_rows, config.threads)
    engine = Engine(runtime, arena, config.max_batch, config.limits)
    return ServedModel(
        cell=cell,
        provider=runtime.provider,
        vocabulary=Vocabulary(cell.manifest.vocabulary.symbols),
        loop=EngineLoop(engine, deliver, on_crash, cell.name),
    )
