"""Durable sessions: what survives the loss of a connection, and of the daemon."""
