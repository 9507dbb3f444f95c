"""Which builds of ONNX Runtime are installed; imports none of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from cellwire.server.errors import TwoRuntimes

_BUILDS = ("onnxruntime", "onnxruntime-gpu")


def check_one_build(version_of: Callable[[str], str] = version) -> None:
    """Raise TwoRuntimes if two builds are installed: each has overwritten files of the other."""
    installed = [f"{name} {found}" for name in _BUILDS if (found := _found(name, version_of))]
    if len(installed) > 1:
        names = " ".join(_BUILDS)
        raise TwoRuntimes(
            f"{' and '.join(installed)} are both installed, into the same folder, so neither is "
            f"whole; remove both (pip uninstall -y {names}), then install one: 'cellwire[server]', "
            "or 'cellwire[cpu]' for a machine without a GPU"
        )


def _found(name: str, version_of: Callable[[str], str]) -> str:
    try:
        return version_of(name)
    except PackageNotFoundError:
        return ""
