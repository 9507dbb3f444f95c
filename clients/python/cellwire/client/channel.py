"""The connection to a daemon, before anything is asked of it."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio

from cellwire.client.errors import Unreachable

CONNECT_TIMEOUT_S = 5.0
"""How long a daemon has to answer before it counts as unreachable."""

_OPTIONS = (
    ("grpc.max_receive_message_length", 16 * 2**20),
    # Connections are shared by target within a process, with their waits after a failure. A client
    # of its own tries at once, so a program can wait for its daemon.
    ("grpc.use_local_subchannel_pool", 1),
)


async def open_channel(target: str) -> grpc.aio.Channel:
    """Return a channel that stands. Raises Unreachable after CONNECT_TIMEOUT_S at the latest."""
    channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await _reach(channel)
    except TimeoutError:
        await channel.close()
        raise Unreachable(f"cannot reach a daemon at {target}") from None
    except BaseException:
        await channel.close()
        raise
    return channel


async def _reach(channel: grpc.aio.Channel) -> None:
    """Wait until the connection stands; raise TimeoutError as soon as it is refused."""
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            raise TimeoutError
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)
