"""The settings of a session: their ranges, and their form in a snapshot."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest

from cellwire.model_file.manifest import VocabularyFacts
from cellwire.model_file.vocabulary import Unknown, Vocabulary
from cellwire.server.errors import InvalidArgument
from cellwire.server.host.settings import (
    Durability,
    OnDisconnect,
    Settings,
    check_session_id,
    new_seed,
    new_session_id,
)


@pytest.mark.parametrize(
    ("unknown_symbols", "on_disconnect"), list(itertools.product(Unknown, OnDisconnect))
)
def test_settings_are_restored_as_they_were_stored(
    unknown_symbols: Unknown, on_disconnect: OnDisconnect
) -> None:
    settings = Settings(7, unknown_symbols, on_disconnect, 1.5)
    assert Settings.restored(settings.stored(), rewind_window=7) == settings


def test_settings_are_stored_under_names() -> None:
    assert Settings().stored() == {
        "unknown_symbols": "reject",
        "on_disconnect": "delete",
        "idle_timeout_s": 600,
        "durability": "none",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"on_disconnect": "stop"},
        {"unknown_symbols": 1},
        {"idle_timeout_s": "soon"},
        {"idle_timeout_s": 0},
        {"idle_timeout_s": math.nan},
    ],
)
def test_stored_settings_that_are_wrong_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        Settings.restored({**Settings().stored(), **change}, rewind_window=64)


@pytest.mark.parametrize("name", ["unknown_symbols", "on_disconnect", "idle_timeout_s"])
def test_stored_settings_that_lack_one_are_refused(name: str) -> None:
    stored = Settings().stored()
    del stored[name]
    with pytest.raises(InvalidArgument, match=name):
        Settings.restored(stored, rewind_window=64)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("rewind_window", {"rewind_window": -1}),
        ("rewind_window", {"rewind_window": 1_025}),
        ("idle_timeout", {"idle_timeout_s": 0.999}),
        ("idle_timeout", {"idle_timeout_s": 604_800.5}),
    ],
)
def test_a_setting_out_of_its_range_is_named(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=f"{field} is") as refused:
        Settings(**values)
    assert refused.value.field == field


def test_replacing_needs_a_symbol_to_replace_with() -> None:
    settings = Settings(unknown_symbols=Unknown.REPLACE)
    with_unknown = VocabularyFacts("words", ("a", "<?>"), unknown="<?>")
    assert settings.fitted_to(Vocabulary.of(with_unknown)) == settings
    with pytest.raises(InvalidArgument, match="no symbol to put"):
        settings.fitted_to(Vocabulary.of(VocabularyFacts("bytes")))


def test_a_model_that_reads_again_has_a_window_for_that() -> None:
    composing = VocabularyFacts("characters", ("e", "é"), unicode_form="NFC")
    narrow, wide = Settings(rewind_window=3), Settings(rewind_window=100)
    assert narrow.fitted_to(Vocabulary.of(composing)).rewind_window == 64
    assert wide.fitted_to(Vocabulary.of(composing)) == wide
    assert narrow.fitted_to(Vocabulary.of(VocabularyFacts("bytes"))) == narrow


def test_drawn_seeds_fit_a_double_and_ids_differ() -> None:
    seeds = [new_seed() for _ in range(1_000)]
    assert max(seeds) < 2**53
    assert all(int(float(seed)) == seed for seed in seeds)
    assert len(set(seeds)) == len({new_session_id() for _ in seeds}) == len(seeds)


def test_the_durability_is_stored() -> None:
    settings = Settings(durability=Durability.SAFE_FIRST)
    stored = settings.stored()
    assert Settings.restored(stored, 64) == settings
    del stored["durability"]  # as snapshots were before there was any
    assert Settings.restored(stored, 64) == replace(settings, durability=Durability.NONE)
    with pytest.raises(InvalidArgument, match="not those of a session"):
        Settings.restored(stored | {"durability": "for ever"}, 64)


def test_only_a_kept_session_is_durable() -> None:
    assert [d for d in Durability if Settings(durability=d).durable] == [
        Durability.SAFE_LATER,
        Durability.SAFE_FIRST,
    ]


@pytest.mark.parametrize("session_id", ["", "0" * 31, "0" * 33, "F" * 32, "0" * 31 + "\n"])
def test_an_id_has_32_hexadecimal_digits(session_id: str) -> None:
    with pytest.raises(InvalidArgument, match="32 hexadecimal digits") as refused:
        check_session_id(session_id, "session_id")
    assert refused.value.field == "session_id"
    check_session_id(new_session_id(), "session_id")


def test_durable_sessions_wait_longer_for_their_clients() -> None:
    month_s, week_s, year_s = 30 * 86_400, 7 * 86_400, 365 * 86_400
    plain, durable = Settings(), Settings.default_of(Durability.SAFE_LATER)
    assert Settings.default_of(Durability.NONE) == plain
    assert durable.idle_timeout_s == month_s
    assert durable.on_disconnect is OnDisconnect.PAUSE
    longer = replace(durable, idle_timeout_s=year_s)
    with pytest.raises(InvalidArgument, match="idle_timeout is 31536000"):
        replace(longer, durability=Durability.NONE)
    # What changes is kept as long as it may be, and at least as long as others of its kind.
    assert longer.with_durability(Durability.NONE).idle_timeout_s == week_s
    assert plain.with_durability(Durability.SAFE_FIRST).idle_timeout_s == month_s
    assert longer.with_durability(Durability.SAFE_FIRST).idle_timeout_s == year_s
    short = replace(durable, idle_timeout_s=5)
    assert short.with_durability(Durability.SAFE_FIRST).idle_timeout_s == 5
