"""Imports gRPC without its handlers of forks; the first import of this package.

At a fork these handlers stop and start gRPC's threads. grpc.aio does not survive that: some
children crash before they can be told that their connection stayed in the parent. gRPC reads the
variable once, when it is imported. A program that sets it, or imports gRPC before, has chosen.
"""

from __future__ import annotations

import os

_VARIABLE = "GRPC_ENABLE_FORK_SUPPORT"

if _VARIABLE in os.environ:
    import grpc
else:
    os.environ[_VARIABLE] = "0"
    import grpc

    del os.environ[_VARIABLE]  # the programs that this one starts choose for themselves

__all__ = ["grpc"]
