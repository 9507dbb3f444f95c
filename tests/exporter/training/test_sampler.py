from __future__ import annotations

import torch
from tests.exporter.texts import vocabulary
from torch import nn

from cellwire.exporter.data.vocabulary import encode
from cellwire.exporter.network.network import Network, NetworkShape
from cellwire.exporter.recipe.data import Data
from cellwire.exporter.recipe.recipe import RunSettings
from cellwire.exporter.training.sampler import Sampler

CPU = torch.device("cpu")
LETTERS = vocabulary("abcd")


def sampler(temperature: float, chars: int = 12) -> Sampler:
    settings = RunSettings(sample_temperature=temperature, sample_tokens=chars)
    return Sampler(LETTERS, (encode(LETTERS, "ab"), encode(LETTERS, "c")), settings)


def network() -> Network:
    torch.manual_seed(2)
    model = Network(NetworkShape("gru", 4, 3, hidden=5, layers=1))
    nn.init.normal_(model.head.weight)
    return model


def test_at_temperature_0_each_token_is_the_most_likely() -> None:
    model = network()
    for text, prefix in zip(sampler(0).sample(model, 1, CPU), ("ab", "c"), strict=True):
        assert text.startswith(prefix)
        ids = torch.from_numpy(encode(LETTERS, text)).long()[None]
        likeliest = model(ids)[0][0].argmax(1).tolist()
        assert ids[0, len(prefix) :].tolist() == likeliest[len(prefix) - 1 : -1]


def test_samples_repeat_for_a_step_and_keep_the_random_state() -> None:
    model, draws = network(), sampler(1.0, chars=40)
    torch.manual_seed(1)
    first = draws.sample(model, 1, CPU)
    torch.manual_seed(2)
    expected = torch.rand(3)
    torch.manual_seed(2)
    assert draws.sample(model, 1, CPU) == first
    assert torch.equal(torch.rand(3), expected)
    assert draws.sample(model, 2, CPU) != first
    assert model.training


def test_tokens_have_the_networks_frequencies() -> None:
    model = network()
    nn.init.zeros_(model.head.weight)
    with torch.no_grad():
        model.head.bias.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]).log())
    text = sampler(1.0, chars=2_000).sample(model, 1, CPU)[0]
    for letter, share in zip("abcd", (0.1, 0.2, 0.3, 0.4), strict=True):
        assert abs(text.count(letter) / 2_000 - share) < 0.05


def test_what_is_unknown_is_read_in_a_prompt_and_never_written() -> None:
    words = vocabulary(["<unk>", "a", " a"], Data(symbols="words"))
    model = Network(NetworkShape("gru", len(words), 3, hidden=5, layers=1))
    with torch.no_grad():
        model.head.bias[0] = 10  # what is unknown is the likeliest, and yet never written
    text = Sampler(words, (encode(words, "a b a"),), RunSettings(sample_tokens=9)).sample(
        model, 1, CPU
    )[0]
    assert text.startswith("a<unk> a")
    assert text.count("<unk>") == 1
