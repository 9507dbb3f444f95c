"""Plans fit the text, and keep given settings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwire.exporter.data.plan import Plan, fit_to_examples, fit_to_text, total_steps
from cellwire.exporter.data.windows import Windows
from cellwire.exporter.recipe.recipe import RunSettings
from cellwire.exporter.recipe.recipe_file import read_recipe

sizes = st.integers(1, 40)


@given(st.integers(2, 10**7))
def test_any_text_gets_enough_steps(tokens: int) -> None:
    plan = Plan.fit(tokens)
    assert plan.steps >= 1_000
    assert plan.epochs >= 10


@given(st.integers(2, 2_000), sizes, sizes, sizes)
def test_given_settings_are_kept_except_lanes_that_do_not_fit(
    tokens: int, lanes: int, window: int, epochs: int
) -> None:
    window = min(window, tokens - 1)
    plan = Plan.fit(tokens, lanes, window, epochs)
    assert (plan.windows.window, plan.epochs) == (window, epochs)
    assert 1 <= plan.windows.lanes <= lanes
    assert plan.epoch_steps >= 1
    assert (
        plan.start_offsets - 1 + plan.epoch_tokens == tokens
    )  # the last start still has its whole epoch
    # A run keeps what was chosen, and resuming chooses again.
    assert Plan.fit(tokens, plan.windows.lanes, window, epochs) == plan


def test_the_built_in_model_keeps_its_recipe() -> None:
    plan = Plan.fit(3_823_786, 64, 128, 15)
    assert (plan.windows, plan.start_offsets, plan.steps) == (Windows(64, 128), 128, 6_990)


def test_short_texts_get_fewer_lanes_and_more_epochs() -> None:
    lyrics = Plan.fit(55_898)
    assert (lyrics.windows, lyrics.epochs) == (Windows(8, 128), 19)
    page = Plan.fit(475)
    assert (page.windows, page.steps) == (Windows(8, 29), 1_000)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        (RunSettings(epochs=3), 30),
        (RunSettings(steps=17), 17),
        (RunSettings(epochs=3, steps=17), 17),
        (RunSettings(epochs=1, steps=17), 10),
    ],
)
def test_a_training_ends_with_its_steps_or_its_epochs(settings: RunSettings, steps: int) -> None:
    assert total_steps(settings, epoch_steps=10) == steps


@given(st.integers(2, 10**6))
def test_fitting_chooses_everything_and_is_idempotent(tokens: int) -> None:
    recipe = fit_to_text(read_recipe(None), tokens)
    run, batches = recipe.run, recipe.batches
    assert None not in {run.epochs, run.validate_every, run.sample_every}
    assert None not in {batches.lanes, batches.window}
    assert fit_to_text(recipe, tokens) == recipe


def test_steps_determine_the_epochs() -> None:
    recipe = read_recipe(None, ["run.steps=25", "batches.lanes=4"])
    fitted = fit_to_examples(recipe, 41)
    assert (fitted.run.epochs, fitted.run.steps, fitted.run.sample_every) == (3, 25, 0)
    assert fit_to_examples(read_recipe(None), 5).batches.lanes == 5
