"""A stand-in for the module onnxruntime on a machine with a card.

Sessions on the CPU are onnxruntime's own. Those on CUDA are made by a second copy of onnxruntime's
Python files, above a native library that is replaced by native_*.py.
"""

from __future__ import annotations

import importlib.util
from types import ModuleType

import onnxruntime
from onnxruntime.capi import onnxruntime_inference_collection as original
from tests.server.card.card import Card
from tests.server.card.native_binding import NativeBinding
from tests.server.card.native_session import NativeSession
from tests.server.card.native_value import NativeValue
from tests.server.card.options import Ort, SessionOptions

_CUDA = "CUDAExecutionProvider"


class _Native:
    """The native library; what has nothing to do with a card is the real one's."""

    def __init__(self, card: Card) -> None:
        self.OrtValue = type("OrtValue", (NativeValue,), {"card": card})
        self.InferenceSession = type("InferenceSession", (NativeSession,), {"card": card})
        self.SessionIOBinding = NativeBinding
        card.value = self.OrtValue

    def get_available_providers(self) -> list[str]:
        return [_CUDA, "CPUExecutionProvider"]

    def __getattr__(self, name: str) -> Ort:
        return getattr(original.C, name)


class StandIn:
    """The names of onnxruntime that the server uses; others are missing on purpose."""

    __version__ = onnxruntime.__version__
    cuda_version = "13.0"
    SessionOptions = SessionOptions
    RunOptions = onnxruntime.RunOptions
    GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel
    ExecutionMode = onnxruntime.ExecutionMode

    def __init__(self, card: Card) -> None:
        native = _Native(card)
        self.card = card
        self._on_card = _python_files(native)
        self.get_available_providers = native.get_available_providers
        self.preloaded: list[str | None] = []
        self.OrtValue = _values(self._on_card.OrtValue)

    def InferenceSession(  # noqa: N802  # onnxruntime's name
        self,
        model: bytes,
        sess_options: Ort = None,
        providers: Ort = (),
        **rest: Ort,
    ) -> Ort:
        on_card = any(_CUDA in provider for provider in providers)
        make = self._on_card.InferenceSession if on_card else onnxruntime.InferenceSession
        return make(model, sess_options, providers=providers, **rest)

    def preload_dlls(
        self,
        cuda: bool = True,  # noqa: FBT001, FBT002
        cudnn: bool = True,  # noqa: FBT001, FBT002
        msvc: bool = True,  # noqa: FBT001, FBT002
        directory: str | None = None,
    ) -> None:
        del cuda, cudnn, msvc
        self.preloaded.append(directory)

    def set_default_logger_severity(self, _severity: int) -> None:
        pass


def _python_files(native: _Native) -> Ort:
    """Load onnxruntime's Python files again, above another native library."""
    spec = importlib.util.spec_from_file_location("onnxruntime_on_card", original.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = ModuleType(spec.name)
    module.__spec__ = spec
    spec.loader.exec_module(module)
    module.C = native  # type: ignore[attr-defined]
    return module


def _values(on_card: Ort) -> Ort:
    """Return a class whose methods make values of the host, or of the card."""

    def kind(device: str) -> Ort:
        return onnxruntime.OrtValue if device == "cpu" else on_card

    class OrtValue:
        @staticmethod
        def ortvalue_from_numpy(array: Ort, device: str = "cpu", number: int = 0) -> Ort:
            return kind(device).ortvalue_from_numpy(array, device, number)

        @staticmethod
        def ortvalue_from_shape_and_type(
            shape: Ort,
            element: Ort,
            device: str = "cpu",
            number: int = 0,
        ) -> Ort:
            return kind(device).ortvalue_from_shape_and_type(shape, element, device, number)

        @staticmethod
        def from_dlpack(data: Ort) -> Ort:
            device = "cuda" if isinstance(data, on_card) else "cpu"
            return kind(device).from_dlpack(data)

    return OrtValue
