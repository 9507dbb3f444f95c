"""The client's side of the wire: messages, calls, the channel and the streams of sessions."""
