"""The file that an export writes, checked before the work: never another program's file."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from cellwire.exporter.errors import FileError
from cellwire.model_file.manifest import METADATA_KEY

SUFFIX = ".onnx"


def check_target(path: Path) -> None:
    """Raise FileError unless a model file can be made of this name; nothing is written."""
    if path.suffix.lower() != SUFFIX:
        raise FileError(
            f"{path} cannot be written: a model file ends in {SUFFIX}, such as "
            f"{path.with_suffix(SUFFIX) if path.name else f'model{SUFFIX}'}"
        )
    if path.is_dir():
        raise FileError(f"{path} cannot be written: it is a folder; name a file in it")
    if not path.parent.is_dir():
        raise FileError(f"{path} cannot be written: there is no folder {path.parent}")


def may_be_replaced(path: Path) -> bool:
    """Whether there is no file yet, or a model file that an export wrote."""
    if not path.exists():
        return True
    try:
        model = onnx.load_model(path, load_external_data=False)
    except (OSError, DecodeError):
        return False
    return any(entry.key == METADATA_KEY for entry in model.metadata_props)
