"""Text, from the command line and from the library, out of a daemon in another process."""

from __future__ import annotations

import asyncio
import subprocess

from tests.end_to_end.conftest import CELLWIRE, GUARD_S, Served, run

from cellwire.client import connect


def generate(daemon: Served, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("generate", "--target", daemon.address, *arguments)


def test_stdout_holds_the_generated_text_and_nothing_else(daemon: Served) -> None:
    options = ("--prompt", "hello", "--max-tokens", "70", "--seed", "4", "--temperature", "0.9")
    first, second = generate(daemon, *options), generate(daemon, *options)
    assert first.returncode == 0
    assert len(first.stdout) == 70
    assert first.stdout == second.stdout
    assert first.stderr == ""
    assert generate(daemon, *options[:-4], "--seed", "5").stdout != first.stdout


def test_greedy_needs_no_seed(daemon: Served) -> None:
    greedy = ("--prompt", "hello", "--max-tokens", "40", "--temperature", "0")
    top_1 = ("--prompt", "hello", "--max-tokens", "40", "--top-k", "1")
    assert generate(daemon, *greedy).stdout == generate(daemon, *top_1).stdout


def test_a_model_is_chosen_by_its_files_stem(daemon: Served) -> None:
    result = generate(daemon, "--model", "verse", "--prompt", "東風", "--max-tokens", "20")
    assert set(result.stdout) <= set("東風夜放花千樹")
    assert len(result.stdout) == 20


def test_refusals_are_one_line_and_an_exit_status(daemon: Served) -> None:
    unknown = generate(daemon, "--prompt", "HELLO")
    assert unknown.returncode == 1
    assert "'H'" in unknown.stderr
    nobody = generate(daemon, "--model", "nobody")
    assert nobody.returncode == 1
    assert "tiny, verse" in nobody.stderr
    assert nobody.stderr.count("\n") == 1
    assert unknown.stdout == nobody.stdout == ""


def test_no_daemon_is_said_plainly() -> None:
    result = run("generate", "--target", "127.0.0.1:1")
    assert result.returncode == 1
    assert "cellwire serve" in result.stderr


def test_chat_remembers(daemon: Served) -> None:
    """Two lines in one chat go on from each other: the text is that of one session."""
    options = ("--seed", "9", "--max-tokens", "30", "--temperature", "0.9", "--top-k", "5")
    result = run("chat", "--target", daemon.address, *options, text="hello\nworld\n")
    assert result.returncode == 0

    async def same() -> list[str]:
        async with connect(daemon.address) as client, client.session(seed=9) as session:
            texts = []
            for line in ("hello", "world"):
                await session.append(line)
                generation = session.generate(max_tokens=30, temperature=0.9, top_k=5)
                texts.append(await generation.text())
            return texts

    for text in asyncio.run(same()):
        assert text in result.stdout


def test_fifty_streams_are_fifty_one_after_another(daemon: Served) -> None:
    async def text(seed: int) -> str:
        async with connect(daemon.address) as client:
            generation = client.generate("hello", max_tokens=200, seed=seed, temperature=0.8)
            return await generation.text()

    async def at_once() -> list[str]:
        return await asyncio.gather(*(text(seed) for seed in range(50)))

    async def in_turn() -> list[str]:
        return [await text(seed) for seed in range(50)]

    together = asyncio.run(at_once())
    assert together == asyncio.run(in_turn())
    assert len(set(together)) == 50


def test_a_reader_that_goes_away_leaves_the_daemon_whole(daemon: Served) -> None:
    command = [str(CELLWIRE), "generate", "--target", daemon.address, "--max-tokens", "1000000"]
    for _ in range(3):
        process = subprocess.Popen([*command, "--prompt", "a"], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.read(10)
        process.kill()
        process.communicate(timeout=GUARD_S)
    assert len(generate(daemon, "--prompt", "b", "--max-tokens", "10").stdout) == 10
