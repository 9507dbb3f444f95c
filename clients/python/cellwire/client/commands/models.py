"""`cellwire models`."""

from __future__ import annotations

from cellwire.client.client import DEFAULT_TARGET, connect
from cellwire.client.commands.parameters import Target
from cellwire.client.commands.terminal import run


def models(*, target: Target = DEFAULT_TARGET) -> None:
    """List the models that the daemon serves."""

    async def show() -> None:
        from rich.console import Console

        from cellwire.client.commands.table import table_of

        async with connect(target) as daemon:
            Console().print(table_of(await daemon.models()))

    run(show(), target)
