"""The client of a Cellwire daemon, for programs without an event loop.

    with cellwire.client.sync.connect("127.0.0.1:50051") as daemon:
        with daemon.session(model="austen", seed=7) as session:
            session.append("It is a truth ")
            for text in session.generate(max_tokens=200, temperature=0.8):
                print(text, end="", flush=True)

Names, arguments, values and errors are those of `cellwire.client`. Each client has one thread with
an event loop, and its calls wait for that thread. Ctrl-C during a call cancels its operation. Any
number of threads may share a client and its sessions.
"""

from cellwire.client.sync.client import Client, connect
from cellwire.client.sync.generation import Generation
from cellwire.client.sync.session import Session

__all__ = ["Client", "Generation", "Session", "connect"]
