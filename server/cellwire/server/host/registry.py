"""The models that a daemon serves, each with its engine and the engine's thread."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cellwire.model_file.cell import Cell, read_cell
from cellwire.model_file.errors import BadModel
from cellwire.model_file.vocabulary import Vocabulary
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from cellwire.server.host.config import Config
from cellwire.server.host.loop import EngineLoop
from cellwire.server.host.placement import Placement
from cellwire.server.runtime.device import CPU, Device, Execution
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.session.events import Event
from cellwire.server.state.arena import Arena

_SUFFIX = ".onnx"


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """A model with the thread that runs it."""

    cell: Cell
    provider: str
    note: str  # why it does not run on the daemon's device; empty if it does
    vocabulary: Vocabulary
    loop: EngineLoop

    @property
    def name(self) -> str:
        """The model's name: its file's stem."""
        return self.cell.name


class Registry:
    """Models by name. The first is the default, and is never unloaded."""

    def __init__(
        self,
        config: Config,
        placement: Placement,
        deliver: Callable[[EngineLoop, list[Event]], None],
        on_crash: Callable[[BaseException], None],
    ) -> None:
        """Load every model of the configuration; BadModel if one cannot be served."""
        self._config = config
        self._placement = placement
        self._deliver = deliver
        self._on_crash = on_crash
        self._models: dict[str, ServedModel] = {}
        self.edition = _new_edition()  # changes with the list of models
        for path in config.models:
            if path.stem in self._models:
                raise BadModel(
                    f"{self._models[path.stem].cell.path} and {path} would both be named "
                    f"{path.stem!r}; rename one"
                )
            self._models[path.stem] = self._serve(path)

    def __iter__(self) -> Iterator[ServedModel]:
        """Iterate over the models, the default first."""
        return iter(list(self._models.values()))

    def find(self, name: str) -> ServedModel:
        """Return the model of that name, or the default for an empty name; NotFound."""
        if not name:
            return next(iter(self))
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

    def load(self, name: str) -> ServedModel:
        """Compile a model of the model folder, in the calling thread; `add` then serves it.

        PermissionDenied without a model folder, AlreadyExists, NotFound; InvalidArgument if the
        file cannot be served.
        """
        folder = self._folder()
        if name in self._models:
            raise AlreadyExists(f"a model named {name!r} is being served; unload it first")
        # A name with slashes or dots finds nothing outside the folder.
        paths = {path.stem: path for path in folder.glob(f"*{_SUFFIX}")}
        if name not in paths:
            raise NotFound(f"there is no {name}{_SUFFIX} in the daemon's model folder")
        try:
            return self._serve(paths[name])
        except BadModel as error:
            raise InvalidArgument(str(error)) from error

    def add(self, model: ServedModel) -> None:
        """Serve a loaded model; AlreadyExists if another of its name was added meanwhile."""
        if model.name in self._models:
            raise AlreadyExists(f"a model named {model.name!r} is being served; unload it first")
        model.loop.start()
        self._models[model.name] = model
        self.edition = _new_edition()

    def remove(self, name: str) -> ServedModel:
        """Serve a model no longer; the caller must end its sessions and stop its thread.

        PermissionDenied without a model folder, NotFound; FailedPrecondition for the default.
        """
        self._folder()
        model = self.find(name)
        if not name or model is self.find(""):
            raise FailedPrecondition(f"{model.name!r} is the default model, and stays")
        self.edition = _new_edition()
        return self._models.pop(name)

    def _folder(self) -> Path:
        if self._config.model_folder is None:
            raise PermissionDenied(
                "the daemon was started without a folder to load models from; start it with "
                "--model-folder"
            )
        return self._config.model_folder

    def _serve(self, path: Path) -> ServedModel:
        config = self._config
        cell = read_cell(path)
        slots = self._placement.slots(config.slots, cell.state_bytes, len(config.models))
        arena = Arena(slots)
        device, note = self._placement.device, ""
        try:
            runtime = self._runtime(cell, arena.slots, device)
        except BadModel as error:
            if device.is_host or config.provider != "auto":
                raise
            runtime, note = self._runtime(cell, arena.slots, CPU), f"not on CUDA: {error}"
        engine = Engine(
            runtime,
            arena,
            config.limits,
            max_sessions=config.sessions,
            max_batch=config.max_batch,
        )
        return ServedModel(
            cell=cell,
            provider=runtime.provider,
            note=note,
            vocabulary=Vocabulary.of(cell.manifest.vocabulary),
            loop=EngineLoop(engine, self._deliver, self._on_crash, cell.name),
        )

    def _runtime(self, cell: Cell, slots: int, device: Device) -> Runtime:
        """Compile a cell for a device; BadModel if that is impossible."""
        config = self._config
        execution = Execution.on(device, config.threads, fixed_batch=config.fixed_batch)
        return Runtime(cell, slots, config.max_batch, execution)


def _new_edition() -> str:
    return secrets.token_hex(8)
