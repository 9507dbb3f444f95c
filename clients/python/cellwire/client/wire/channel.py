"""The connection to a daemon."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio

from cellwire.client.errors import Unreachable
from cellwire.client.wire.diagnosis import cause_of_failure
from cellwire.client.wire.target import Target

CONNECT_TIMEOUT_S = 5.0
"""How long to wait for a daemon before it counts as unreachable."""

_OPTIONS = (
    ("grpc.max_receive_message_length", 16 * 2**20),
    # By default channels to one target share their connection, and with it the back-off after a
    # failure. A pool for each client lets a program that waits for its daemon connect at once.
    ("grpc.use_local_subchannel_pool", 1),
    # A daemon whose machine has frozen, or has gone, does not close its connections. Its calls end
    # with UNAVAILABLE when a ping has no answer, and an attempt to connect again ends in time, too.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # of pings that measure the connection; else a minute
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    # A session that waits for its daemon is back soon after it; by default gRPC waits up to 2 min.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
)
# A proxy cannot reach what listens on this machine's loopback address.
_LOCAL_OPTIONS = (("grpc.enable_http_proxy", 0),)


async def open_channel(target: str) -> grpc.aio.Channel:
    """Return a connected channel.

    Raises InvalidArgument if the target is no address; Unreachable, whose message names the cause,
    after CONNECT_TIMEOUT_S at the latest.
    """
    parsed = Target.of(target)
    options = _OPTIONS + (_LOCAL_OPTIONS if parsed.is_local else ())
    channel = grpc.aio.insecure_channel(parsed.name, options=options)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await _connect(channel)
    except TimeoutError:
        await channel.close()
        cause = await cause_of_failure(parsed)
        raise Unreachable(f"cannot reach a daemon at {target}: {cause}") from None
    except BaseException:
        await channel.close()
        raise
    return channel


async def _connect(channel: grpc.aio.Channel) -> None:
    """Wait until the channel is connected; raise TimeoutError as soon as it is refused."""
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            raise TimeoutError
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)
