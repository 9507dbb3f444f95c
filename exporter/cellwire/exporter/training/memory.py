"""The memory that a training needs at least, compared with the machine's before it is taken."""

from __future__ import annotations

import os
from dataclasses import replace

import torch

from cellwire.exporter.errors import TrainingError
from cellwire.exporter.network.network import Network, NetworkShape

# Of each parameter: its weight, its gradient, and the optimizer's two means; float32.
_PARAMETER_BYTES = 4 * 4
_LAYER_BYTES = 10_000  # of the objects in Python and torch that a layer consists of


def check_memory(shape: NetworkShape, device: torch.device) -> None:
    """Raise TrainingError if a network cannot be trained in the memory of the machine or the GPU.

    Linux lets a process take more memory than there is, and kills it later, without a word.
    """
    needed, total = training_bytes(shape), _total_bytes(device)
    if total is not None and needed > total:
        raise TrainingError(
            f"a network of {shape.layers:,} x {shape.hidden:,} units needs at least "
            f"{needed / 2**30:,.1f} GiB to be trained, and there are {total / 2**30:,.1f} GiB of "
            "memory; train with a lower --hidden or fewer --layers"
        )


def training_bytes(shape: NetworkShape) -> int:
    """Return the bytes that the parameters of a network take in training."""
    parameters = _parameters(replace(shape, layers=1))
    if shape.layers > 1:
        parameters += (shape.layers - 1) * (_parameters(replace(shape, layers=2)) - parameters)
    return parameters * _PARAMETER_BYTES + shape.layers * _LAYER_BYTES


def _parameters(shape: NetworkShape) -> int:
    with torch.device("meta"):
        return Network(shape).parameter_count


def _total_bytes(device: torch.device) -> int | None:
    """Return the memory of a device; None if the operating system does not tell."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # AttributeError: Windows has no sysconf
        return None
