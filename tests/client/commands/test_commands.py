"""The commands as a shell runs them: each test starts a process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass

from tests.client.fake.daemon import FakeDaemon

from cellwire.v1 import operations_pb2

GUARD_S = 60
UNKNOWN_B = "the model does not know the symbol 'B' (U+0042) at offset {} of the text"
HINT = "--unknown skip leaves out what the model does not know"
SCRIPT = "from cellwire.client.commands.cli import main; main()"


@dataclass
class Ended:
    code: int | None
    out: str
    err: str


async def start(*arguments: str) -> Process:
    command = (sys.executable, "-W", "error", "-c", SCRIPT, *arguments)
    environment = os.environ | {"PYTHONUTF8": "1", "COLUMNS": "100"}
    return await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment
    )


async def end(process: Process, stdin: str | None = None) -> Ended:
    out, err = await asyncio.wait_for(
        process.communicate(None if stdin is None else stdin.encode()), GUARD_S
    )
    return Ended(process.returncode, out.decode(), err.decode())


async def run(*arguments: str, stdin: str | None = None) -> Ended:
    return await end(await start(*arguments), stdin)


async def read(process: Process, count: int) -> bytes:
    assert process.stdout is not None
    return await asyncio.wait_for(process.stdout.readexactly(count), GUARD_S)


async def test_generate_prints_the_text_and_nothing_else(target: str) -> None:
    options = [
        "--max-tokens",
        "5",
        "--temperature",
        "0.5",
        "--top-k",
        "3",
        "--seed",
        "1",
        "--model",
        "alphabet",
    ]
    ended = await run("generate", "--prompt", "ab", *options, "--target", target)
    assert ended == Ended(0, "cdefg", "")


async def test_generate_says_how_to_draw_and_where_to_stop(fake: FakeDaemon) -> None:
    drawing = ["--top-p", "0.5", "--min-p", "0.25", "--repetition-penalty", "1.5"]
    stops = ["--stop", "xyz", "--stop", "e"]
    ended = await run("generate", "--prompt", "a", *drawing, *stops, "--target", fake.target)
    assert ended == Ended(0, "bcd", "")
    message = fake.sent("generate")
    sampling = message.sampling
    assert (sampling.top_p, sampling.min_p, sampling.repetition_penalty) == (0.5, 0.25, 1.5)
    assert message.stop_strings == ["xyz", "e"]


async def test_complete_shows_the_best_first_one_a_line(fake: FakeDaemon) -> None:
    fake.continuations = ["b\n", "b\\n", "é ", "d"]
    ended = await run("complete", "--prompt", "a", "--target", fake.target)
    assert ended == Ended(0, "b\\n\nb\\\\n\né \nd\n", "")
    message = fake.sent("complete")
    assert (message.beam_width, message.completion_count, message.max_tokens) == (5, 5, 32)
    assert message.end == operations_pb2.COMPLETION_END_LENGTH


async def test_complete_shows_scores(fake: FakeDaemon) -> None:
    options = ["--beam-width", "3", "--completions", "2", "--max-tokens", "2", "--end", "word"]
    more = ["--length-penalty", "0.5", "--scores", "--model", "alphabet"]
    ended = await run(
        "complete", "--prompt", "-", *options, *more, "--target", fake.target, stdin="x\n"
    )
    assert ended == Ended(0, "0.000\tyz\n-30.000\tza\n", "")
    message = fake.sent("complete")
    assert (message.beam_width, message.completion_count, message.length_penalty) == (3, 2, 0.5)
    assert message.end == operations_pb2.COMPLETION_END_WORD


async def test_classify_shows_the_scores_of_every_label(target: str) -> None:
    ended = await run("classify", "-", "--model", "judge", "--target", target, stdin="abc\n")
    assert ended == Ended(0, "good 0.7500  bad 0.2500\n", "")


async def test_classify_shows_them_word_by_word(fake: FakeDaemon) -> None:
    ended = await run(
        "classify", "ab  c\nd", "--as-it-grows", "--model", "judge", "--target", fake.target
    )
    line = "good 0.7500  bad 0.2500"
    assert ended == Ended(0, f"{line}\tab\n{line}\tc\n{line}\td\n", "")
    assert [r.append.text for r in fake.requests if r.HasField("append")] == ["ab", "  c", "\nd"]


async def test_complete_says_what_the_daemon_refuses(target: str) -> None:
    ended = await run("complete", "--prompt", "B", "--target", target)
    assert ended == Ended(1, "", f"cellwire: {UNKNOWN_B.format(0)}; {HINT}\n")


async def test_generate_reads_the_prompt_from_stdin(target: str) -> None:
    arguments = ("generate", "--prompt", "-", "--max-tokens", "2", "--target", target)
    assert await run(*arguments, stdin="x\n") == Ended(0, "yz", "")


async def test_generate_says_what_the_daemon_refuses_in_one_line(target: str) -> None:
    ended = await run("generate", "--prompt", "aB", "--target", target)
    assert ended == Ended(1, "", f"cellwire: {UNKNOWN_B.format(1)}; {HINT}\n")


async def test_bad_arguments_exit_with_2(target: str) -> None:
    ended = await run("generate", "--max-tokens", "none", "--target", target)
    assert (ended.code, ended.out) == (2, "")
    assert "--max-tokens" in ended.err


async def test_no_daemon_is_said_plainly(fake: FakeDaemon) -> None:
    await fake.stop()
    for command in ("generate", "complete", "models", "chat"):
        ended = await run(command, "--target", fake.target)
        assert ended == Ended(
            1,
            "",
            f"cellwire: cannot reach a daemon at {fake.target}: nothing listens there; start one "
            "with: cellwire serve\n",
        )


async def test_a_lost_daemon_is_said_plainly(fake: FakeDaemon) -> None:
    fake.pause_at = 2
    process = await start("generate", "--prompt", "a", "--target", fake.target)
    assert await read(process, 2) == b"bc"
    await fake.stop()
    ended = await end(process)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"cellwire: lost the daemon at {fake.target}: ")
    assert ended.err.count("\n") == 1


async def test_ctrl_c_ends_generate_quietly(fake: FakeDaemon) -> None:
    fake.pause_at = 2
    process = await start("generate", "--prompt", "a", "--target", fake.target)
    assert await read(process, 2) == b"bc"
    process.send_signal(signal.SIGINT)
    assert await end(process) == Ended(130, "", "")
    await asyncio.wait_for(fake.gone.wait(), GUARD_S)


async def test_a_closed_pipe_ends_generate_quietly(target: str) -> None:
    process = await start(
        "generate", "--prompt", "a", "--max-tokens", "1000000", "--target", target
    )
    await read(process, 10)
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    ended = await end(process)
    assert (ended.code, ended.err) == (0, "")


async def test_models_lists_what_is_served(target: str) -> None:
    ended = await run("models", "--target", target)
    assert (ended.code, ended.err) == (0, "")
    header, alphabet, judge, words = ended.out.splitlines()
    assert header.split() == ["model", "cell", "size", "symbols", "bits/char", "provider"]
    assert alphabet.split() == [
        "alphabet",
        "(default)",
        "lstm",
        "2",
        "x",
        "26",
        "27",
        "0.125",
        "CPU",
    ]
    assert judge.split() == ["judge", "gru", "1", "x", "4", "256", "-", "CPU"]
    assert words.split()[0] == "words"


async def test_chat_remembers_and_survives_unknown_symbols(fake: FakeDaemon) -> None:
    ended = await run(
        "chat", "--max-tokens", "2", "--seed", "7", "--target", fake.target, stdin="a\n\nB\nx\n"
    )
    assert (ended.code, ended.out) == (0, "bc\nde\nyz\n")
    greeting, keys, complaint = ended.err.splitlines()
    assert greeting == "cellwire: alphabet, 2 x 26 lstm, 27 symbols, seed 7"
    assert "Ctrl-C" in keys
    assert (
        complaint
        == "cellwire: the model does not know the symbol 'B' (U+0042) at offset 0 of the text"
    )
    assert fake.log.count("open") == 1
    assert fake.log[-1] == "close"


async def test_quit_leaves_the_chat(target: str) -> None:
    ended = await run("chat", "--max-tokens", "1", "--target", target, stdin="a\n/quit\nb\n")
    assert (ended.code, ended.out) == (0, "b\n")


async def test_ctrl_c_stops_the_model_and_not_the_chat(fake: FakeDaemon) -> None:
    fake.pause_at = 3
    process = await start("chat", "--max-tokens", "9", "--target", fake.target)
    assert process.stdin is not None
    process.stdin.write(b"a\n")
    assert await read(process, 3) == b"bcd"
    process.send_signal(signal.SIGINT)
    assert await read(process, 1) == b"\n"
    fake.pause_at = None
    ended = await end(process, stdin="\n")
    assert (ended.code, ended.out) == (0, "efghijklm\n")


async def test_ctrl_c_between_turns_leaves_the_chat(target: str) -> None:
    process = await start("chat", "--max-tokens", "1", "--target", target)
    assert process.stdin is not None
    process.stdin.write(b"a\n")
    assert await read(process, 2) == b"b\n"
    process.send_signal(signal.SIGINT)
    assert (await end(process)).code == 130
