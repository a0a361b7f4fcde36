"""Who evaluates: the best network at hand that the critic does not learn from."""

from pathlib import Path

import pytest

from pipelines.advice import weights
from pipelines.advice.choosing import network_choices
from pipelines.presets import find_preset, known_presets, load_parameters
from tests.configs import ROOT, tiny_config

NAME = weights.PACKAGED_NETWORK


@pytest.mark.parametrize(
    ("inception", "installed", "critic_sees", "expected"),
    [
        (True, True, NAME, "inception"),
        (False, True, None, NAME),
        (False, True, NAME, "random"),
        (False, False, None, "random"),
    ],
)
def test_the_best_that_the_critic_does_not_see(
    inception: bool, installed: bool, critic_sees: object, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_inception_is_to_be_had", lambda *_: inception)
    monkeypatch.setattr(weights, "is_installed", lambda _name: installed)
    chosen, why = weights.choose_evaluator(Path(), tiny_config({}), labelled=False, critic_sees=critic_sees)
    assert chosen == expected
    assert ("flatter" in why) == (critic_sees == NAME and expected == "random")
    assert weights.choose_evaluator(Path(), tiny_config({}), labelled=True, critic_sees=critic_sees)[0] == "domain"


def test_without_the_weights_the_critic_sees_pixels() -> None:
    network = load_parameters(find_preset("photos-32-cpu", known_presets(ROOT)).path).network.model_dump()
    assert not list(network_choices("photos-32-cpu", 32, network, labelled=False, has_weights=True))
    (choice,) = network_choices("photos-32-cpu", 32, network, labelled=False, has_weights=False)
    assert (choice.name, choice.value) == ("network.critic_pretrained", None)
    assert "pip install 'ganlib[pretrained]'" in choice.reason
