"""The commands of the `cellwire` script that talk to a daemon."""
