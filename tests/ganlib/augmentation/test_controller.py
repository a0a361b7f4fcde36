import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ganlib.augmentation import ProbabilityControl
from ganlib.config import (
    AdaOptions,
    AdaptiveControl,
    CriticAugmentation,
    DiffAugmentOptions,
    NoAugmentationOptions,
    Schedule,
    ScheduledControl,
)

CPU = torch.device("cpu")


def ada(control: AdaptiveControl | ScheduledControl) -> AdaOptions:
    return AdaOptions(policy="ada", control=control, blit=1, geometry=1, colour=1, noise=0, cutout=0)


def adaptive(*, full_range: int = 1000, every: int = 100, target: float = 0.6) -> AdaOptions:
    return ada(AdaptiveControl(kind="adaptive", target=target, full_range_images=full_range, every_images=every))


def alone(sums: Tensor) -> Tensor:
    return sums


def logits(share_positive: float, count: int = 20) -> Tensor:
    positive = round(share_positive * count)
    return torch.tensor([0.1] * positive + [-7.0] * (count - positive), requires_grad=True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (NoAugmentationOptions(policy="none"), 0.0),
        (DiffAugmentOptions(policy="diffaugment", colour=True, translation=0.1, cutout=0.5), 1.0),
        (ada(ScheduledControl(kind="scheduled", probability=0.25)), 0.25),
    ],
)
def test_constant_policies(options: CriticAugmentation, expected):
    control = ProbabilityControl(options, CPU, 1000)
    assert control.probability.item() == expected
    control.begin(5000)
    control.observe(logits(1))
    control.adjust(0, 5000, alone)
    assert control.probability.item() == expected
    assert control.probability.shape == ()


def test_schedule_moves_the_same_tensor():
    schedule = Schedule(shape="cosine", start=0, end=0.5, over_images=100, warmup_images=0)
    control = ProbabilityControl(ada(ScheduledControl(kind="scheduled", probability=schedule)), CPU, 1000)
    seen = control.probability
    values = []
    for images in (0, 50, 100, 200):
        control.begin(images)
        values.append(seen.item())
    assert values == pytest.approx([0, 0.25, 0.5, 0.5])


def test_trajectory_is_the_closed_form():
    # Up a tenth at each hundred images while four fifths and more of the logits are positive, else down.
    control = ProbabilityControl(adaptive(), CPU, 1000)
    shares = [1, 1, 0.9, 0.5, 0.8, 0.5, 0.5, 0.5] + [1] * 12
    expected, probability = [], 0.0
    found = []
    for step, share in enumerate(shares):
        for half in (0, 1):  # two steps an interval: only the second ends it
            control.begin(step * 100 + half * 50)
            control.observe(logits(share))
            control.adjust(step * 100 + half * 50, step * 100 + half * 50 + 50, alone)
        move = (2 * share - 1 > 0.6 + 1e-6) - (2 * share - 1 < 0.6 - 1e-6)
        probability = min(max(probability + 0.1 * move, 0), 1)
        expected.append(probability)
        found.append(control.probability.item())
    assert found == pytest.approx(expected, abs=1e-5)
    assert max(found) == 1
    assert control.probability.dtype == torch.float32


@given(batch=st.integers(1, 700), every=st.integers(1, 300))
def test_speed_counts_images_whatever_the_batch(batch, every):
    control = ProbabilityControl(adaptive(full_range=10_000, every=every), CPU, 1000)
    shown = 0
    while shown + batch <= 3000:
        control.observe(logits(1))
        control.adjust(shown, shown + batch, alone)
        shown += batch
    assert control.probability.item() == pytest.approx(shown // every * every / 10_000, abs=1e-4)


def test_zero_logits_count_as_neither():
    control = ProbabilityControl(adaptive(target=0.4), CPU, 1000)
    control.observe(torch.tensor([0.0, 1.0]))  # mean sign 1/2
    control.adjust(0, 100, alone)
    assert control.probability.item() == pytest.approx(0.1)


def test_signs_of_half_precision_are_counted_exactly():
    control = ProbabilityControl(adaptive(), CPU, 1000)
    control.observe(torch.ones(1027, dtype=torch.bfloat16))
    assert control.state_dict()["sums"].tolist() == [1027, 1027]


def test_nothing_observed_moves_nothing():
    control = ProbabilityControl(adaptive(target=-0.5), CPU, 1000)
    control.adjust(0, 100, alone)
    assert control.probability.item() == 0


def test_resumed_goes_on_as_if_never_stopped():
    torch.manual_seed(0)
    batches = torch.randn(12, 16) + 0.5
    whole, first, second = (ProbabilityControl(adaptive(every=48, target=0.3), CPU, 1000) for _ in range(3))

    def play(control: ProbabilityControl, steps: range) -> None:
        for step in steps:
            control.begin(step * 16)
            control.observe(batches[step])
            control.adjust(step * 16, step * 16 + 16, alone)

    play(whole, range(12))
    play(first, range(7))  # in the middle of an interval
    second.load_state_dict(first.state_dict())
    play(second, range(7, 12))
    for key, value in whole.state_dict().items():
        assert torch.equal(second.state_dict()[key], value)
    assert whole.probability > 0


def test_state_is_a_copy():
    control = ProbabilityControl(adaptive(), CPU, 1000)
    state = control.state_dict()
    control.observe(logits(1))
    control.adjust(0, 100, alone)
    assert state["probability"].item() == 0
    assert not state["sums"].any()


def test_two_ranks_are_one():
    torch.manual_seed(0)
    batches = torch.randn(9, 16) + 0.8
    single = ProbabilityControl(adaptive(every=48), CPU, 1000)
    ranks = [ProbabilityControl(adaptive(every=48), CPU, 1000) for _ in range(2)]

    def total(_: Tensor) -> Tensor:
        return sum((rank.state_dict()["sums"] for rank in ranks), torch.zeros(2))

    for step, batch in enumerate(batches):
        if step == 4:  # stopped, and gone on from one checkpoint, in the middle of an interval
            state = ranks[0].state_dict(total)
            assert torch.equal(state["sums"], single.state_dict()["sums"])
            ranks = [ProbabilityControl(adaptive(every=48), CPU, 1000) for _ in range(2)]
            for rank in ranks:
                rank.load_state_dict(state, ranks=2)
        for rank, part in zip((single, *ranks), (batch, *batch.chunk(2)), strict=True):
            rank.observe(part)
        summed = total(torch.empty(0))  # before any of them forgets
        single.adjust(step * 16, step * 16 + 16, alone)
        for rank in ranks:
            rank.adjust(step * 16, step * 16 + 16, lambda _, summed=summed: summed)
        assert torch.equal(ranks[0].probability, single.probability)
        assert torch.equal(ranks[1].probability, single.probability)
