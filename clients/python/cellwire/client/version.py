"""The version of Cellwire: of the client, the daemon and the trainer together."""

__version__ = "0.1.0"
