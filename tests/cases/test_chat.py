"""K: however a text in a chat is edited, the model has read the text before the cursor."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cases.served_models import VOCABULARIES
from tests.client.chat.desk import Desk, desk
from tests.server.rpc.conftest import running
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.client.commands.chat.link import Link
from cellwire.server.host.config import Config

Run = Callable[[Callable[[str], Awaitable[None]]], None]

PARTS = [  # those that look alike are meant to
    *("red", "roses", "don't", "the", "<unk>", "blue, ", "e", "é", "e\u0301", "\u0301"),
    *(
        "Σ",
        "ΟΔΥΣ",
        "\u03c3",
        " ",
        "  ",
        "\n",
        ",",
        "'",
        "&amp;",
        "&",
        "<br />",
        "世",
        "👨\u200d👩",
        "🇩🇪",
    ),
]


@pytest.fixture(scope="module")
def on_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Run a client with the address of a daemon that has a model of each kind."""
    folder = tmp_path_factory.mktemp("models")
    paths = [
        write_cell(folder / f"{name}.onnx", lstm_cell(8, seed=seed, vocabulary=vocabulary))
        for seed, (name, vocabulary) in enumerate(VOCABULARIES.items())
    ]
    config = Config(listen="127.0.0.1:0", models=tuple(paths), sessions=100, threads=1)
    with asyncio.Runner() as runner:
        daemon = running(config)
        address = runner.run(daemon.__aenter__()).address

        def run(client: Callable[[str], Awaitable[None]]) -> None:
            async def with_address() -> None:
                await client(address)

            runner.run(with_address())

        yield run
        runner.run(daemon.__aexit__(None, None, None))


async def reading(link: Link) -> tuple[int, float]:
    """Return how many tokens a session has, and what it makes of a letter."""
    return link.mirror.offset, (await link.session.score("e,e")).log_probability


async def read_whole(link: Link, text: str) -> tuple[int, float]:
    """Return what a session makes of a text that it gets whole."""
    other = Link(link.target, link.model.name, None)
    await other.open()
    try:
        while await other.step(text):
            pass
        return await reading(other)
    finally:
        await other.close()


def edits(at: Desk, part: str) -> dict[str, Callable[[], None]]:
    editor = at.editor
    return {
        "type": lambda: editor.type(part),
        "erase": editor.erase_character,
        "erase word": editor.erase_word,
        "delete": editor.erase_next_character,
        "left": editor.move_left,
        "right": editor.move_right,
        "word left": editor.move_word_left,
        "end": lambda: editor.move_to(len(editor.buffer.text)),
        "undo": editor.undo,
        "redo": editor.redo,
    }


steps = st.lists(
    st.tuples(
        st.sampled_from(["type", "type", "type", "erase", "erase word", "delete", "left", "right"])
        | st.sampled_from(["word left", "end", "undo", "redo"]),
        st.sampled_from(PARTS),
        st.booleans(),
    ),
    max_size=14,
)


@pytest.mark.parametrize("model", VOCABULARIES)
def test_edits_leave_what_the_whole_text_gives(on_daemon: Run, model: str) -> None:
    @settings(max_examples=50)
    @given(steps)
    def edited(taken: list[tuple[str, str, bool]]) -> None:
        async def client(address: str) -> None:
            async with desk(address, model) as at:
                for name, part, waits in taken:
                    edits(at, part)[name]()
                    if waits:
                        await at.until(lambda: at.read == at.editor.buffer.before)
                await at.until(lambda: at.read == at.editor.buffer.before)
                whole = await read_whole(at.worker.link, at.read)
                assert await reading(at.worker.link) == whole, at.read

        on_daemon(client)

    edited()


@pytest.mark.parametrize(
    "character", ["👨\u200d👩\u200d👧", "🇩🇪", "❤️", "👍🏽", "e\u0301", "각", "क्षि", "世"]
)
def test_one_backspace_removes_one_character_that_a_user_sees(
    on_daemon: Run, character: str
) -> None:
    async def client(address: str) -> None:
        async with desk(address, "bytes") as at:
            for key in f"a{character}":
                at.editor.type(key)
            await at.until(lambda: at.read == f"a{character}")
            at.editor.erase_character()
            await at.until(lambda: at.read == "a")
            assert at.worker.link.mirror.offset == 1

    on_daemon(client)


@pytest.mark.parametrize("model", VOCABULARIES)
def test_every_model_that_writes_writes_from_nothing(on_daemon: Run, model: str) -> None:
    async def client(address: str) -> None:
        async with desk(address, model, max_tokens=5) as at:
            at.editor.go_on()
            await at.until(lambda: not at.editor.generating)
            assert at.editor.buffer.text
            assert at.editor.notice == ""
            at.editor.undo()
            await at.until(lambda: at.read == "")

    on_daemon(client)
