"""Networks without weights cost nothing, and become those that they are given."""

import pytest
import torch
from torch import nn

from ganlib.config import ImageSpec
from ganlib.networks import build_critic, build_generator
from ganlib.weightless import weightless
from tests.configs import NETWORKS, PAIRED, STYLES, UNPAIRED, tiny_config

IMAGE_OF = {"channels": 3, "size": 16, "classes": ("a", "b")}


@pytest.mark.parametrize("family", ["dcgan", *sorted(NETWORKS)])
def test_every_family_takes_the_weights_of_another_network(family: str) -> None:
    image = ImageSpec.model_validate(IMAGE_OF)
    changes = {"unet": PAIRED, "cyclegan": UNPAIRED, "stargan": STYLES, "dcgan": {}}.get(family, {"network": family})
    options = tiny_config(changes).network
    for build in (build_generator, build_critic):
        made = build(options, image)
        with weightless():
            empty = build(options, image)
        assert all(parameter.is_meta for parameter in empty.parameters())
        empty.load_state_dict(made.state_dict(), assign=True)
        # Nothing is left without content, buffers that no file holds included.
        tensors = dict([*empty.named_parameters(), *empty.named_buffers()])
        assert not any(tensor.is_meta for tensor in tensors.values())
        for name, tensor in [*made.named_parameters(), *made.named_buffers()]:
            assert torch.equal(tensors[name], tensor)


def test_initialisation_works_again_afterwards() -> None:
    with weightless():
        nn.Linear(3, 3)
    torch.manual_seed(0)
    one = nn.Linear(3, 3).weight
    torch.manual_seed(0)
    assert torch.equal(one, nn.Linear(3, 3).weight)
    assert one.std() > 0
