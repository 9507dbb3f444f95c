"""The session behind a chat, which is opened anew when it is lost."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress

from cellwire.client.client import connect
from cellwire.client.commands.chat.mirror import Mirror
from cellwire.client.commands.chat.reading import reading_of
from cellwire.client.errors import CellwireError, InvalidArgument, OutOfRange
from cellwire.client.model import Model
from cellwire.client.options import UnknownSymbols
from cellwire.client.session import Session
from cellwire.client.values import Completed

REWIND_WINDOW = 1024
"""How many tokens of a chat can be taken back without reading it anew: the daemon's maximum."""


class Link:
    """A session, and the steps that give it the text which is wanted."""

    def __init__(self, target: str, model: str | None, seed: int | None) -> None:
        self.target = target
        self.completed: Completed | None = None
        """The completions of the session's text, if they have been searched for."""
        self._model_name = model
        self._seed = seed
        self._stack: AsyncExitStack | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a session."""
        return self._stack is not None

    async def open(self) -> None:
        """Connect, and open a session with an empty text; with the same model and seed as before.

        Raises Unreachable if nothing answers, and what opening a session raises.
        """
        await self.close()
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(connect(self.target))
            model = await client.model(self._model_name)
            has_unknown = model.vocabulary.unknown_symbol is not None
            self.unknown_symbols: UnknownSymbols = "replace" if has_unknown else "skip"
            session = client.session(
                model=model.name,
                seed=self._seed,
                rewind_window=REWIND_WINDOW,
                unknown_symbols=self.unknown_symbols,
            )
            self.session: Session = await stack.enter_async_context(session)
            self.client = client
            self.model: Model = model
            self.reading = reading_of(model.vocabulary)
            self.mirror = Mirror(self.reading)
            self._model_name, self._seed = model.name, self.session.seed
            self._stack = stack.pop_all()

    async def close(self, error: BaseException | None = None) -> None:
        """Leave the session; with an error, break its connection."""
        self.completed = None
        stack, self._stack = self._stack, None
        if stack is not None:
            with suppress(CellwireError):
                await stack.__aexit__(type(error) if error else None, error, None)

    async def step(self, wanted: str) -> bool:
        """Bring the session one step nearer to a text; False if it has that text.

        A text that ends as a completion does is accepted. What is beyond the rewind window is read
        anew in another session.
        """
        missing = self.mirror.missing(wanted)
        if missing == "":
            return False
        if missing is None:
            await self._go_back(wanted)
        elif not await self._accept(missing):
            await self._append(self.reading.next_piece(missing))
        return True

    async def _go_back(self, wanted: str) -> None:
        self.completed = None
        place = self.mirror.place_before(wanted)
        try:
            await self.session.rewind(to=place.offset)
        except OutOfRange:
            await self.open()
        else:
            self.mirror.rewound(place)

    async def _accept(self, text: str) -> bool:
        completed, self.completed = self.completed, None
        if completed is None or completed.offset != self.mirror.offset:
            return False
        texts = [completion.text for completion in completed.completions]
        if text not in texts:
            return False
        appended = await self.session.accept(texts.index(text))
        self.mirror.added(text, appended.offset)
        return True

    async def _append(self, piece: str) -> None:
        try:
            appended = await self.session.append(piece)
        except InvalidArgument:
            # Unknown symbols are left out; daemons may refuse a text that has no others.
            self.mirror.added(piece, self.mirror.offset)
        else:
            self.mirror.added(piece, appended.offset, appended.replaced_tokens)
