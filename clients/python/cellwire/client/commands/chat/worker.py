"""What a chat does between keys: it brings the session to the text, and the model's text in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from cellwire.client.commands.chat.editor import Editor, Request
from cellwire.client.commands.chat.known import Known, notice_of_unknown
from cellwire.client.commands.chat.link import Link
from cellwire.client.commands.chat.surprise import parts_of
from cellwire.client.errors import Aborted, CellwireError, Internal, Unavailable
from cellwire.client.options import GenerateOptions
from cellwire.client.values import Piece

COMPLETIONS = 5
"""How many completions there are to choose from."""
RETRY_DELAYS_S = (0.2, 0.5, 1.0, 2.0)
"""How long to wait before each attempt to reach a lost daemon; the last for all further ones."""
_SEEDS = 2**53
_LOSSES = (Unavailable, Aborted, Internal)


class Worker:
    """Does what an editor's text and its requests ask for, one operation at a time."""

    def __init__(
        self,
        editor: Editor,
        link: Link,
        options: GenerateOptions,
        *,
        retry_delays_s: Sequence[float] = RETRY_DELAYS_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tokens_per_s = 0.0
        """How quickly the model wrote last; 0 before it has written."""
        self.known = Known(link.model)
        self.link = link
        self._editor = editor
        self._options = options.copy()
        self._retry_delays_s = retry_delays_s
        self._clock = clock
        self._refused: str | None = None
        self._checked = ""
        self._noticed: set[str] = set()

    async def run(self) -> None:
        """Work until the user leaves, then leave the session."""
        try:
            while not self._editor.leaving:
                self._editor.news.clear()
                try:
                    if not await self._work():
                        await self._rest()
                except _LOSSES as error:
                    await self._restore(error)
                except CellwireError as error:
                    self._refuse(error)
        finally:
            await self.link.close()

    async def _work(self) -> bool:
        """Do one thing; False if there is nothing to do."""
        text = self._editor.buffer.before
        if text == self._refused and self._editor.request is None:
            return False
        self._refused = None
        if not self.link.is_open:
            await self.link.open()
        self._notice_unknown(text)
        if await self.link.step(text):
            self._editor.changed()  # the offset
            return True
        if self._editor.request is None:
            return False
        await self._generate(self._editor.request)
        return True

    async def _generate(self, request: Request) -> None:
        editor = self._editor
        if not self.link.model.generates:
            editor.stop()
            editor.say(f"the model {self.link.model.name!r} only classifies; it cannot write")
            return
        if not self.link.mirror.offset and not await self._begin_text():
            return
        seed = (self.link.session.seed + request.again) % _SEEDS if request.again else None
        self._options["temperature"] = editor.temperature
        self._options["log_probabilities"] = True
        generation = self.link.session.generate(seed=seed, **self._options)
        editor.generation, editor.request = generation, None
        self.link.completed = None
        began, start = self._clock(), self.link.mirror.offset
        try:
            async for piece in generation.pieces():
                self.link.mirror.added(piece.text, piece.end_offset)
                if editor.generation is generation:
                    self.tokens_per_s = _speed(piece.end_offset - start, self._clock() - began)
                    self._write(piece)
        finally:
            editor.finish(generation)

    async def _begin_text(self) -> bool:
        """Give the model something to continue; it cannot write without any text."""
        start = self.link.model.vocabulary.beginning
        if not start or self._editor.buffer.before:
            self._editor.stop()
            self._editor.say("the model has read nothing yet; write something that it knows")
            return False
        self._editor.write(start)
        await self.link.step(start)
        return True

    def _write(self, piece: Piece) -> None:
        before = self._editor.buffer.before
        parts = parts_of(piece.text, piece.log_probabilities, self.known)
        self._editor.surprise.add(before, parts)
        self._editor.write(piece.text)

    async def _rest(self) -> None:
        """Wait for a key, and look meanwhile what the model makes of the text."""
        looking = asyncio.create_task(self._look(self._editor.buffer.before))
        waiting = asyncio.create_task(self._editor.news.wait())
        try:
            await asyncio.wait([looking, waiting], return_when=asyncio.FIRST_COMPLETED)
            if looking.done():
                looking.result()
                await waiting
        finally:
            for task in (looking, waiting):
                task.cancel()
            await asyncio.wait([looking, waiting])

    async def _look(self, text: str) -> None:
        if not text or text == self._refused or not self.link.mirror.offset:
            return
        try:
            if self.link.model.labels:
                classified = await self.link.session.classify()
                self._editor.show_labels(text, classified.scores)
            if self.link.model.generates:
                if self.link.completed is None:
                    await self._complete(text)
                if self._editor.colours:
                    await self._score(text)
        except _LOSSES:
            raise
        except CellwireError:
            return  # out of date, or no room: the text is not at risk

    async def _complete(self, text: str) -> None:
        words = self.link.model.vocabulary.kind == "words"
        session = self.link.session
        if words:
            completed = await session.complete(completion_count=COMPLETIONS, max_tokens=2)
        else:
            completed = await session.complete(completion_count=COMPLETIONS, end="word")
        self.link.completed = completed
        self._editor.show_completions(text, completed.completions)

    async def _score(self, text: str) -> None:
        start = self._editor.surprise.known_length(text)
        if start == len(text):
            return
        while not self.link.reading.may_cut(text, start):
            start -= 1
        scored = await self.link.client.score(
            text[start:],
            prompt=text[:start] or None,
            model=self.link.model.name,
            unknown_symbols=self.link.unknown_symbols,
            log_probabilities=True,
        )
        parts = parts_of(text[start:], scored.log_probabilities, self.known)
        self._editor.surprise.add(text[:start], parts)
        self._editor.changed()

    async def _restore(self, error: CellwireError) -> None:
        """Open the session anew, as soon as the daemon answers."""
        editor = self._editor
        editor.stop()
        text = editor.buffer.before
        await self.link.close(error)
        lost = f"the session is lost: {error.message}; your text is kept"
        delays_s = iter(self._retry_delays_s)
        delay_s = 0.0
        while not editor.leaving:
            editor.say(lost)
            try:
                await self.link.open()
            except CellwireError as failure:
                lost = f"{failure.message}; your text is kept, and I keep trying"
                delay_s = next(delays_s, delay_s)
                await self._pause(delay_s)
            else:
                self.known = Known(self.link.model)
                self._refused = text if isinstance(error, Internal) else None
                editor.say(f"the session was lost ({error.message}); a new one has your text")
                return

    async def _pause(self, delay_s: float) -> None:
        """Wait, but not if the user leaves."""
        editor = self._editor
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                while not editor.leaving:
                    editor.news.clear()
                    await editor.news.wait()

    def _refuse(self, error: CellwireError) -> None:
        self._refused = self._editor.buffer.before
        self._editor.stop()
        self._editor.say(error.message)

    def _notice_unknown(self, text: str) -> None:
        """Name the characters or words that the model does not know, each once."""
        if text == self._checked:
            return
        self._checked = text
        start = len(self.link.mirror.text)
        if self.link.mirror.missing(text):
            unknown = self.known.unknown_in(text, start)
            names = [one for one in unknown if one not in self._noticed]
            if names:
                self._noticed.update(names)
                self._editor.say(notice_of_unknown(names))


def _speed(tokens: int, seconds: float) -> float:
    return tokens / seconds if seconds > 0 else 0.0
