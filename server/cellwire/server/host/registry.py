"""The models that a daemon serves, each with its engine and the engine's thread."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
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
from cellwire.server.host.machine import return_freed_memory
from cellwire.server.host.placement import Placement
from cellwire.server.runtime.cell_trial import check_cell
from cellwire.server.runtime.device import CPU, Device, Execution
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.session.events import Event
from cellwire.server.state.arena import Arena

_log = logging.getLogger(__name__)

_SUFFIX = ".onnx"
_SHOWN_NAME_CHARS = 64


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """A model with the thread that runs it."""

    cell: Cell
    provider: str
    max_top_k: int | None  # of a Sampling; None if it may be any
    note: str  # what its users should know; empty if there is nothing
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
        """Load every model of the configuration; BadModel if one cannot be served.

        Its maker stops it, whether it was started or not.
        """
        self._config = config
        self._placement = placement
        self._deliver = deliver
        self._on_crash = on_crash
        self._models: dict[str, ServedModel] = {}
        self.edition = _new_edition()  # changes with the list of models
        try:
            for path in config.models:
                self._models[path.stem] = self._serve_first(path)
        except BaseException:
            self.stop()
            raise

    def __iter__(self) -> Iterator[ServedModel]:
        """Iterate over the models, the default first."""
        return iter(list(self._models.values()))

    def find(self, name: str) -> ServedModel:
        """Return the model of that name, or the default for an empty name; NotFound."""
        if not name:
            return next(iter(self))
        if name not in self._models:
            known = ", ".join(self._models)
            raise NotFound(f"no model is named {_cut(name)!r}; this daemon serves: {known}")
        return self._models[name]

    def find_file(self, sha256: str) -> ServedModel:
        """Return the model of a file; FailedPrecondition if it is not served."""
        for model in self:
            if model.cell.sha256 == sha256:
                return model
        raise FailedPrecondition(
            f"the session belongs to a model this daemon does not serve (its file's SHA-256 begins "
            f"with {sha256[:12]}); serve it with --model"
        )

    def start(self) -> None:
        """Start every model's thread."""
        for model in self:
            model.loop.start()

    def stop(self) -> None:
        """Stop every model's thread and wait for them, as long as a step may take."""
        for model in self:
            model.loop.begin_to_stop()
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
            raise NotFound(f"there is no {_cut(name)}{_SUFFIX} in the daemon's model folder")
        try:
            model = self._serve(paths[name])
        except BadModel as error:
            # The error's traceback would hold the file's content.
            raise InvalidArgument(error.named(paths[name].name), field="name") from None
        if model.note:
            _log.warning("%s", model.note)
        return model

    def add(self, model: ServedModel) -> None:
        """Serve a loaded model; AlreadyExists if another of its name was added meanwhile.

        The caller must then stop the model.
        """
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

    def _serve_first(self, path: Path) -> ServedModel:
        """Serve a model of the configuration; BadModel, also for a name that is taken."""
        if path.stem in self._models:
            other = self._models[path.stem].cell.path
            raise BadModel(path, [f"it and {other} would both be named {path.stem!r}; rename one"])
        return self._serve(path)

    def _serve(self, path: Path) -> ServedModel:
        config = self._config
        cell = read_cell(path)
        vocabulary = Vocabulary.of(cell.manifest.vocabulary)
        arena = Arena(self._slots(cell))
        device, notes = self._placement.device, list[str]()
        try:
            runtime = self._runtime(cell, arena.slots, device, notes)
        except BadModel as error:
            if device.is_host or config.provider != "auto":
                raise
            notes = [f"not on CUDA: {error.reason}"]
            runtime = self._runtime(cell, arena.slots, CPU, notes)
        cell = runtime.cell  # without the weights, which the runtime has
        return_freed_memory()
        engine = Engine(
            runtime,
            arena,
            config.limits,
            max_sessions=config.sessions,
            max_batch=config.max_batch,
        )
        loop = EngineLoop(
            engine,
            self._deliver,
            self._on_crash,
            cell.name,
            runtime.abort,
            on_end=partial(_close, runtime),
        )
        return ServedModel(
            cell=cell,
            provider=runtime.provider,
            max_top_k=runtime.max_top_k,
            note="\n".join(f"{cell.path.name}: {note}" for note in notes),
            vocabulary=vocabulary,
            loop=loop,
        )

    def _slots(self, cell: Cell) -> int:
        """Return how many states of a cell are kept ready; BadModel without memory for a few."""
        config = self._config
        try:
            return self._placement.slots(config.slots, cell.state_bytes, len(config.models))
        except ValueError as error:
            raise BadModel(cell.path, [str(error)]) from error

    def _runtime(self, cell: Cell, slots: int, device: Device, notes: list[str]) -> Runtime:
        """Try a cell on a device and compile it; BadModel if that is impossible.

        Adds to `notes` what the cell's users should know.
        """
        config = self._config
        execution = Execution.on(device, config.threads, fixed_batch=config.fixed_batch)
        notes.extend(check_cell(cell, execution))
        return Runtime(cell, slots, config.max_batch, execution)


def _close(runtime: Runtime) -> None:
    runtime.close()
    return_freed_memory()


def _cut(name: str) -> str:
    """Return a name for a message, which travels in headers: they cannot hold a long one."""
    return name if len(name) <= _SHOWN_NAME_CHARS else f"{name[:_SHOWN_NAME_CHARS]}..."


def _new_edition() -> str:
    return secrets.token_hex(8)
