"""One text that a person and the model write in turns; what `cellwire chat` is in a terminal."""

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
    """Keys go in, the session's operations come out, and so does what there is to show.

    It knows no terminal. The methods named for what a key does return at once; `run` carries them
    out in order. Whenever there is something else to show, it calls `changed`.

    Whenever the text rests, a search for its completion begins; the next key ends it.
    """

    def __init__(self, session: Session, options: GenerateOptions) -> None:
        self.text = ""
        """The session's text."""
        self.completion = ""
        """How it could go on."""
        self.notice = ""
        """What was wrong with the last key."""
        self.changed: Callable[[], None] = lambda: None
        self._session = session
        self._options = options
        self._actions: asyncio.Queue[_Action | None] = asyncio.Queue()
        self._generations: list[Generation] = []
        self._search: asyncio.Task[None] | None = None
        # Places to go back to: how much text is shown there, and the session's offset.
        self._places = [(0, session.offset)]

    @property
    def writing(self) -> bool:
        """Whether the model is writing."""
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
        """Take back the last character, whoever wrote it."""
        self._queue(self._rewind)

    def go_on(self) -> None:
        """Let the model write."""
        generation = self._session.generate(**self._options)
        self._generations.append(generation)
        self._queue(partial(self._write, generation))

    def interrupt(self) -> None:
        """Stop the model; if it does not write, leave."""
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
        # What is shown must be what accept accepts, and that is over with any other key.
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

    async def _write(self, generation: Generation) -> None:
        try:
            async for piece in generation.pieces():
                self._show(piece.text, piece.end_offset)
                self.changed()
        finally:
            self._generations.remove(generation)

    async def _complete(self) -> None:
        # It may be superseded, or there is no room for it. Worse is told by the next key.
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
        # A character is one symbol of the model's, or as many as it has bytes.
        for sizes in ([1] * len(text), [len(character.encode()) for character in text]):
            if sum(sizes) == end_offset - offset:
                places = enumerate(accumulate(sizes, initial=offset), shown)
                self._places.extend(list(places)[1:])
                break
        else:
            self._places.append((shown + len(text), end_offset))
        self.text += text
