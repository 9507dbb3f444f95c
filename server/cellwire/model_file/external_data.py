"""Weights that lie in a file beside the model, taken into the model.

Exporters write them so by default. The file is looked for in the model's own folder and nowhere
else: a model from elsewhere must not read other files of this machine, and the same model must not
have other weights when the daemon is started in another folder.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from onnx.external_data_helper import ExternalDataInfo

from cellwire.model_file.stored_file import MAX_MODEL_BYTES, read_file
from cellwire.model_file.tensors import all_tensors

_MEND = (
    "export with torch.onnx.export(..., external_data=False), or put the weights into the file: "
    "onnx.save(onnx.load(PATH), PATH)"
)


def embed_external_data(model: onnx.ModelProto, folder: Path) -> list[bytes]:
    """Take in the weights that lie in files of `folder`; return those files, in order of name.

    ValueError names the file that cannot be taken, and says why.
    """
    tensors: dict[str, list[onnx.TensorProto]] = {}
    for tensor in all_tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            tensors.setdefault(ExternalDataInfo(tensor).location, []).append(tensor)
    room = MAX_MODEL_BYTES - (model.ByteSize() if tensors else 0)
    files = []
    for name in sorted(tensors):
        data = _read(folder, name, room)
        room -= len(data)
        files.append(data)
        for tensor in tensors[name]:
            _embed(tensor, data, name)
    return files


def _read(folder: Path, name: str, max_bytes: int) -> bytes:
    plain = PurePosixPath(name).name == name == PureWindowsPath(name).name
    if not plain or name in {"", ".", ".."} or "\0" in name:
        raise ValueError(
            f"its weights are in {_shown(name)}, and not beside it; put that file beside the "
            f"model under a plain name, or {_MEND}"
        )
    try:
        return read_file(folder / name, max_bytes, links=False)
    except ValueError as error:
        raise ValueError(
            f"its weights are in {_shown(name)} beside it, which cannot be read ({error}); "
            f"keep the two files together, or {_MEND}"
        ) from error


def _shown(name: str) -> str:
    """Return a file's name alone: clients do not learn its folder."""
    return repr(PureWindowsPath(PurePosixPath(name).name).name[:80] or name[:80])


def _embed(tensor: onnx.TensorProto, data: bytes, name: str) -> None:
    info = ExternalDataInfo(tensor)
    start = info.offset or 0
    end = len(data) if info.length is None else start + info.length
    if not 0 <= start <= end <= len(data):
        raise ValueError(
            f"{name!r} beside it has {len(data):,} bytes, and {tensor.name!r} is said to be at "
            f"bytes {start:,} to {end:,}; the two files do not belong together, or one was cut: "
            "copy both again"
        )
    tensor.raw_data = data[start:end]
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
