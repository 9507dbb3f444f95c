"""gRPC's options for the daemon's server."""

from __future__ import annotations

from cellwire.server.batch.limits import MAX_MESSAGE_BYTES

# A client may open all sessions at once, on one connection, and take them over.
CALLS_FOR_A_SESSION = 2
OTHER_CALLS = 1_024
# Clients may ping every 5 s, also without calls. More than two pings that come sooner after the one
# before than this end the connection.
PINGS_APART_MS = 4_000


def max_calls(sessions: int) -> int:
    """Return how many calls a daemon of `sessions` sessions a model serves at a time."""
    return CALLS_FOR_A_SESSION * sessions + OTHER_CALLS


def of_server(sessions: int) -> list[tuple[str, int]]:
    """Return the options of a daemon of `sessions` sessions a model."""
    calls = max_calls(sessions)
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        # Otherwise a second daemon could listen on the same port.
        ("grpc.so_reuseport", 0),
        # A client whose machine fails does not close its connection; pings find out.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.ping_timeout_ms", 20_000),  # of pings that measure the connection
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", PINGS_APART_MS),
        # Without these, calls of a burst are refused with CANCELLED before any handler sees them.
        ("grpc.server.max_pending_requests", calls),
        ("grpc.server.max_pending_requests_hard_limit", calls),
        ("grpc.max_concurrent_streams", calls),  # of one connection; Calls bounds their sum
    ]
