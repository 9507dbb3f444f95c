"""The device that models run on, and the number of states it has room for."""

from __future__ import annotations

from dataclasses import dataclass

from cellwire.server.batch.limits import DEFAULT_REWIND_WINDOW
from cellwire.server.errors import NoCuda
from cellwire.server.host.machine import free_memory_bytes
from cellwire.server.runtime import cuda
from cellwire.server.runtime.cuda import Card, find_card
from cellwire.server.runtime.device import CPU, Device, Provider
from cellwire.server.state.rewind_window import slots_for

_GIB = 2**30
_MIB = 2**20
# Of the free memory. The rest is for weights, and on a card for CUDA graphs and the libraries' own
# buffers, in the host for parked sessions and texts.
_STATES_SHARE_OF_CARD = 0.5
_STATES_SHARE_OF_HOST = 0.25


@dataclass(frozen=True, slots=True)
class Placement:
    """A device, and why it was chosen."""

    device: Device
    why: str
    card: Card | None = None

    def slots(self, wanted: int, state_bytes: int, models: int) -> int:
        """Return how many states each of `models` models keeps ready: `wanted`, or fewer.

        That depends on the memory that is free now. ValueError if the states of a single session
        do not fit.
        """
        free_bytes = self._free_bytes()
        if free_bytes is None:
            return wanted
        least = slots_for(DEFAULT_REWIND_WINDOW)
        if least * state_bytes > free_bytes:
            raise ValueError(
                f"its state has {state_bytes / _MIB:,.1f} MiB, and a session {least} of them; "
                f"there are {free_bytes / _MIB:,.0f} MiB of memory"
            )
        share = _STATES_SHARE_OF_CARD if self.card else _STATES_SHARE_OF_HOST
        room = int(free_bytes * share / models) // state_bytes
        return max(least, min(wanted, room))

    def _free_bytes(self) -> int | None:
        if self.card is None:
            return free_memory_bytes()
        try:
            return cuda.free_bytes(self.card.number)
        except NoCuda as error:
            raise ValueError(str(error)) from error


def place(provider: Provider, number: int) -> Placement:
    """Choose a device; NoCuda if `provider` is "cuda" and no card can be used."""
    if provider == "cpu":
        return Placement(CPU, "on the CPU, as asked for")
    try:
        card = find_card(number)
    except NoCuda as error:
        if provider == "cuda":
            raise
        return Placement(CPU, f"on the CPU: {error}")
    memory = f"{card.free_bytes / _GIB:.1f} of {card.total_bytes / _GIB:.1f} GiB free"
    return Placement(
        Device("cuda", number), f"on CUDA device {number}: {card.name}, {memory}", card
    )
