"""One text that a person and the model write in turns: the editor behind `cellwire chat`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import accumulate

from cellwire.client.errors import Aborted, CellwireError, Unavailable
from cellwire.client.generation import Generation
from cellwire.client.options import GenerateOptions
from cellwire.client.session import Session

_Action = Callable[[], Awaitable[None]]


class Editor:
    """Turns keys into operations of a session, and keeps what is to be shown.

    It is independent of the terminal. The methods for keys return at once; `run` carries them out
    in order. It calls `changed` whenever there is something else to show.

    Whenever the text rests, a search for its completion begins; the next key ends the search.
    """

    def __init__(self, session: Session, options: GenerateOptions) -> None:
        self.text = ""
        """The session's text."""
        self.completion = ""
        """The best completion of the text."""
        self.notice = ""
        """The error of the last key."""
        self.changed: Callable[[], None] = lambda: None
        self._session = session
        self._options = options
        self._actions: asyncio.Queue[_Action | None] = asyncio.Queue()
        self._generations: list[Generation] = []
        self._search: asyncio.Task[None] | None = None
        # Places to go back to: how many characters are shown there, and the session's offset.
        self._places = [(0, session.offset)]

    @property
    def generating(self) -> bool:
        """Whether the model is generating."""
        return bool(self._generations)

    async def run(self) -> None:
        """Carry out keys until `leave`. Raises Unavailable or Aborted if the session is lost."""
        try:
            while (action := await self._actions.get()) is not None:
                await self._carry_out(action)
        finally:
            self._end_search()

    def type(self, text: str) -> None:
        """Add text."""
        self._queue(partial(self._append, text))

    def accept(self) -> None:
        """Add the completion that is shown, if there is one."""
        if self.completion:
            self._queue(partial(self._accept, self.completion))

    def go_back(self) -> None:
        """Remove the last character, typed or generated."""
        self._queue(self._rewind)

    def go_on(self) -> None:
        """Let the model continue the text."""
        generation = self._session.generate(**self._options)
        self._generations.append(generation)
        self._queue(partial(self._generate, generation))

    def interrupt(self) -> None:
        """Stop the model; leave if it is not generating."""
        if not self._generations:
            self.leave()
        for generation in self._generations:
            generation.cancel()

    def leave(self) -> None:
        """End, after the keys before."""
        for generation in self._generations:
            generation.cancel()
        self._actions.put_nowait(None)

    def _queue(self, action: _Action) -> None:
        # Accept takes the completion that is shown, and any key makes that one out of date.
        self.completion = ""
        self._actions.put_nowait(action)

    async def _carry_out(self, action: _Action) -> None:
        self._end_search()
        self.notice = ""
        try:
            await action()
        except (Unavailable, Aborted):
            raise
        except CellwireError as error:
            self.notice = error.message
        self.changed()
        if self.text and self._actions.empty():
            self._search = asyncio.create_task(self._complete())

    async def _append(self, text: str) -> None:
        appended = await self._session.append(text)
        self._show(text, appended.offset)

    async def _accept(self, text: str) -> None:
        appended = await self._session.accept()
        self._show(text, appended.offset)

    async def _rewind(self) -> None:
        if len(self._places) == 1:
            return
        shown, offset = self._places[-2]
        await self._session.rewind(to=offset)
        self._places.pop()
        self.text = self.text[:shown]

    async def _generate(self, generation: Generation) -> None:
        try:
            async for piece in generation.pieces():
                self._show(piece.text, piece.end_offset)
                self.changed()
        finally:
            self._generations.remove(generation)

    async def _complete(self) -> None:
        # It may be superseded, or the daemon has no room. The next key shows anything worse.
        with suppress(CellwireError):
            completed = await self._session.complete(end="word")
            if completed.completions:
                self.completion = completed.completions[0].text
                self.changed()

    def _end_search(self) -> None:
        if self._search is not None:
            self._search.cancel()

    def _show(self, text: str, end_offset: int) -> None:
        """Add text that has taken the session to an offset."""
        shown, offset = self._places[-1]
        # A character is one token, or one for each of its bytes.
        for token_counts in ([1] * len(text), [len(character.encode()) for character in text]):
            if sum(token_counts) == end_offset - offset:
                places = enumerate(accumulate(token_counts, initial=offset), shown)
                self._places.extend(list(places)[1:])
                break
        else:
            self._places.append((shown + len(text), end_offset))
        self.text += text
