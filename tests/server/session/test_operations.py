"""Operations: the ranges of their fields, and the target of a rewind."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from cellwire.server.batch.limits import (
    MAX_ALTERNATIVES,
    MAX_BEAM_WIDTH,
    MAX_COMPLETE_TOKENS,
    MAX_GENERATE_TOKENS,
    MAX_LENGTH_PENALTY,
    MAX_STOP_STRINGS,
)
from cellwire.server.batch.sampling import Sampling
from cellwire.server.errors import InvalidArgument
from cellwire.server.session.operations import (
    Complete,
    Generate,
    Rewind,
    check_stop_strings,
)

COMPLETE = Complete(1, beam_width=2, completion_count=1, max_tokens=1)


def check_range(operation: Generate | Complete, field: str, least: int, most: int) -> None:
    """Check that a field takes the values from `least` to `most`, and no others."""
    for value in (least, most):
        fields: dict[str, Any] = {field: value}
        assert getattr(replace(operation, **fields), field) == value
    for value in (least - 1, most + 1):
        fields = {field: value}
        with pytest.raises(InvalidArgument, match=f" is {value}; it must be from {least} to "):
            replace(operation, **fields)


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [("max_tokens", 1, MAX_GENERATE_TOKENS), ("alternatives", 0, MAX_ALTERNATIVES)],
)
def test_a_generate_checks_its_ranges(field: str, least: int, most: int) -> None:
    check_range(Generate(1, 1, Sampling()), field, least, most)


def test_an_error_names_the_field_of_the_contract() -> None:
    with pytest.raises(InvalidArgument, match="top_alternatives is -1"):
        replace(Generate(1, 1, Sampling()), alternatives=-1)


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("beam_width", 1, MAX_BEAM_WIDTH),
        ("completion_count", 1, 2),
        ("max_tokens", 1, MAX_COMPLETE_TOKENS),
        ("length_penalty", 0, MAX_LENGTH_PENALTY),
    ],
)
def test_a_complete_checks_its_ranges(field: str, least: int, most: int) -> None:
    check_range(COMPLETE, field, least, most)


def test_a_length_penalty_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="length_penalty is nan"):
        replace(COMPLETE, length_penalty=math.nan)


def test_a_generate_has_a_limited_number_of_stop_strings() -> None:
    stop_strings = ["stop"] * (MAX_STOP_STRINGS + 1)
    check_stop_strings(stop_strings[1:])
    with pytest.raises(InvalidArgument, match=f"{MAX_STOP_STRINGS} are the most"):
        check_stop_strings(stop_strings)


def test_a_stop_string_is_not_empty() -> None:
    with pytest.raises(InvalidArgument, match="stop_strings has an empty string"):
        check_stop_strings(["stop", ""])


@pytest.mark.parametrize(
    ("rewind", "target"),
    [
        (Rewind(1, tokens=3), 7),
        (Rewind(1, tokens=0), 10),
        (Rewind(1, tokens=10), 0),
        (Rewind(1, tokens=12), -2),  # out of range; the session refuses it
        (Rewind(1, offset=3), 3),
        (Rewind(1, offset=0), 0),
        (Rewind(1, offset=12), 12),
        (Rewind(1), 10),
    ],
)
def test_a_rewind_cuts_a_number_of_tokens_or_at_an_offset(rewind: Rewind, target: int) -> None:
    assert rewind.target(10) == target


def test_equal_operations_are_two_operations() -> None:
    assert Rewind(1, tokens=2) != Rewind(1, tokens=2)
    assert len({Generate(1, 1, Sampling()), Generate(1, 1, Sampling())}) == 2
