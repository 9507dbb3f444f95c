"""Which process had a session last, and so what may have become of it meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from tests.crash.service import Place, Service


@dataclass(frozen=True, slots=True)
class Move:
    """The way from the process that a client has heard last to the one that it hears now."""

    restarted: bool  # whether the session may have been in another process, or in none
    sure: bool  # whether it certainly has
    saved: bool  # whether everything that was told must have been safe before


class Whereabouts:
    """Follows the session of one client. Nobody but that client moves it."""

    def __init__(self, service: Service, reached: int = 0) -> None:
        self._service = service
        self.reached = reached  # the last process that has answered; 0 if none has
        self._lapses = service.ended_lapses(reached)
        self._elsewhere = False  # whether another process was asked for it since

    def ask(self, place: Place) -> None:
        """Note that a process is asked for the session, and may get it without an answer."""
        self._elsewhere = self._elsewhere or place.number != self.reached

    def move_to(self, place: Place) -> Move:
        """Return what its way to a process that answers now may have been."""
        service, reached = self._service, self.reached
        lost = service.lapses(reached) > self._lapses
        kept = service.runs(reached) and not lost
        sure = place.number != reached
        may_be = sure or self._elsewhere or lost
        return Move(may_be, sure, kept or (reached in service.saved and not lost))

    def arrive(self, place: Place) -> None:
        """Note that a process has answered."""
        self.reached = place.number
        self._lapses = self._service.ended_lapses(place.number)
        self._elsewhere = False
