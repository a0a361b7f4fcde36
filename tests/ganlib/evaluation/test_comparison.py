"""The comparison of two draws, in a world whose truth is known."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ganlib.config import GuardOptions, RegisterOptions
from ganlib.errors import UserError
from ganlib.evaluation.comparison import Compared, Comparison, Unseen, compare
from ganlib.evaluation.drawing import Draw, Reference, check_comparable, open_reference
from ganlib.metrics.estimates import difference_of_intervals
from ganlib.metrics.frechet_parts import class_distances
from tests.toy_evaluation import (
    CENTRES,
    CLASSES,
    draw_of,
    image_generator,
    options_of,
    packed,
    paint,
    real_images,
    reference_of,
)

EVALUATE = options_of(samples=600, interval_splits=20)
GUARDS = GuardOptions(coverage_drop=0.1, label_fidelity_drop=0.1, worst_class_rise=0.1, memorised_share=None)


def gate(metric: str = "domain/fid", guards: GuardOptions = GUARDS, confidence: float = 0.95) -> RegisterOptions:
    return RegisterOptions(model_name="m", metric=metric, margin=0.0, confidence=confidence, guards=guards)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return reference_of(packed(real_images(300, 0), real_images(300, 1)), tmp_path_factory.mktemp("features"))


def faint(latents: Tensor, labels: Tensor) -> Tensor:
    """All classes vary less than they should."""
    return paint(0.8 * latents, labels)


def without_cats(latents: Tensor, labels: Tensor) -> Tensor:
    """A cat is always the same one."""
    return torch.where((labels == 2)[:, None], CENTRES[labels], paint(latents, labels))


def confused(latents: Tensor, labels: Tensor) -> Tensor:
    """A third of the bees are ants."""
    return paint(latents, torch.where((labels == 1) & (latents[:, 0] > 0.43), 0, labels))


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (("ant", "cat", "dog"), "only the generator has bee; only the reference has dog"),
        (("ant", "bee", "cat", "dog"), "classes: only the reference has dog"),
        (("cat", "bee", "ant"), "they are in another order"),
    ],
)
def test_classes_that_changed_are_named(classes: tuple[str, ...], told: str, reference: Reference) -> None:
    image = reference.data.image.model_copy(update={"classes": classes})
    with pytest.raises(UserError, match=told):
        check_comparable(image_generator(), replace(reference.data, image=image))


def met(reference: Reference, challenger: Draw, champion: Draw, options: RegisterOptions | None = None) -> Comparison:
    return compare(challenger, champion, reference, options or gate(), EVALUATE)


def drawn(reference: Reference, painter: object = paint, seed: int = 0, **changes: bool) -> Draw:
    name = f"{getattr(painter, '__name__', '')} {changes}"
    generator = image_generator(painter, **changes)  # type: ignore[arg-type]
    return draw_of(generator, reference, EVALUATE.model_copy(update={"seed": seed}), name)


def guard(comparison: Comparison, name: str) -> Compared:
    found = dict(comparison.guards)[name]  # type: ignore[index]
    assert isinstance(found, Compared)
    return found


def test_a_better_generator_is_better_in_what_it_is_better_in(reference: Reference) -> None:
    found = met(reference, drawn(reference), drawn(reference, faint, seed=1))
    metric = found.metric
    assert metric.difference.high < 0
    assert metric.difference.estimate == pytest.approx(metric.challenger - metric.champion, abs=0.05)
    # sum over 6 directions of (1 - 0.8)² REACH²
    assert metric.difference.low < -6 * 0.04 * 0.49 < metric.difference.high
    back = met(reference, drawn(reference, faint, seed=1), drawn(reference))
    assert back.metric.difference.low == pytest.approx(-metric.difference.high, rel=0.05)


def test_confidence_is_that_of_one_end(reference: Reference) -> None:
    pair = drawn(reference), drawn(reference, seed=1)
    usual, sure = (met(reference, *pair, gate(confidence=level)).metric.difference for level in (0.95, 0.99))
    assert (usual.level, sure.level) == (pytest.approx(0.9), pytest.approx(0.98))
    assert (sure.high - sure.low) / (usual.high - usual.low) == pytest.approx(2.326 / 1.645, rel=0.01)


def test_each_guard_sees_its_own_fault(reference: Reference) -> None:
    champion = drawn(reference, seed=1)
    cats = met(reference, drawn(reference, without_cats), champion)
    assert guard(cats, "worst_class").of_class == "cat"
    assert guard(cats, "worst_class").difference.low > 1
    assert guard(cats, "coverage").difference.high < -0.2
    bees = met(reference, drawn(reference, confused), champion)
    assert guard(bees, "label_fidelity").difference.high < -0.05
    assert guard(bees, "worst_class").of_class == "bee"
    equal = met(reference, drawn(reference), champion)
    for name in ("coverage", "label_fidelity", "worst_class"):
        apart = guard(equal, name).difference
        assert apart.low <= 0 <= apart.high, name


def test_the_worst_class_is_surer_in_pairs_than_apart(reference: Reference) -> None:
    """The chance in the few real images of a class is common to both."""
    pair = drawn(reference, faint), drawn(reference, faint, seed=1)
    found = guard(met(reference, *pair), "worst_class")
    real, alone = reference.test_sample, []
    for each in pair:
        assert each.labels is not None
        assert real.labels is not None
        sides = each.features.values, each.labels, real.features.values, real.labels
        rows = class_distances(*sides, names=CLASSES, level=1 - 0.1 / 3, seed=0).worst_first
        alone += [row.interval for row in rows if row.name == found.of_class]
    apart = difference_of_intervals(*alone)
    assert found.difference.estimate == pytest.approx(apart.estimate)
    assert apart.low < found.difference.low < 0 < found.difference.high < apart.high


def test_a_challenger_without_the_classes_of_the_champion_has_lost_them(reference: Reference) -> None:
    found = met(reference, drawn(reference, conditional=False), drawn(reference, faint)).guards
    assert isinstance(found["coverage"], Compared)
    for name in ("label_fidelity", "worst_class"):
        unseen = dict(found)[name]  # type: ignore[index]
        assert unseen == Unseen("the champion can be asked for a class, the challenger cannot", lost=True)


def test_what_does_not_apply_is_a_note(reference: Reference, tmp_path: Path) -> None:
    plain = drawn(reference, conditional=False)
    mixed = met(reference, drawn(reference), plain)
    for name in ("label_fidelity", "worst_class"):
        assert "conditional generator" in str(dict(mixed.guards)[name])  # type: ignore[index]
    assert isinstance(dict(mixed.guards)["coverage"], Compared)
    assert not any(found.lost for found in mixed.guards.values() if isinstance(found, Unseen))
    few = reference_of(packed(real_images(300, 0), real_images(90, 1)), tmp_path)
    found = met(few, drawn(few), drawn(few, seed=1))
    assert "at least 100 real images, found 90" in str(found.guards["coverage"])
    assert "needs 40 images of a class" in str(found.guards["worst_class"])
    off = GuardOptions(coverage_drop=None, label_fidelity_drop=None, worst_class_rise=None, memorised_share=None)
    assert met(reference, plain, plain, gate(guards=off)).guards == {}


@pytest.mark.parametrize("metric", ["domain/label_fidelity", "domain/diversity", "domain/coverage", "domain/is"])
def test_any_figure_can_be_the_metric(metric: str, reference: Reference) -> None:
    found = met(reference, drawn(reference), drawn(reference, confused, seed=1), gate(metric)).metric
    assert found.difference.low <= found.difference.estimate <= found.difference.high
    assert found.difference.estimate == pytest.approx(found.challenger - found.champion, abs=0.05)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_a_metric_that_cannot_be_compared_is_one_line(reference: Reference, tmp_path: Path) -> None:
    few = reference_of(packed(real_images(300, 0), real_images(15, 1)), tmp_path)
    with pytest.raises(UserError, match=r"^register\.metric=domain/kid: .* at least 20 real images, found 15") as told:
        met(few, drawn(few), drawn(few, seed=1), gate("domain/kid"))
    assert "\n" not in str(told.value)
    with pytest.raises(UserError, match=r"^register\.metric=domain/label_fidelity: .*needs a conditional generator"):
        met(reference, drawn(reference), drawn(reference, conditional=False), gate("domain/label_fidelity"))
    huge = drawn(reference)
    endless = replace(huge, features=replace(huge.features, values=huge.features.values * 1e38))
    with pytest.raises(UserError, match=r"^register\.metric=domain/kid: .*expected finite figures"):
        met(reference, endless, huge, gate("domain/kid"))


def test_a_damaged_feature_cache_is_mended_and_changes_nothing(tmp_path: Path) -> None:
    data = packed(real_images(300, 0), real_images(300, 1))
    first = reference_of(data, tmp_path)
    expected = met(first, drawn(first), drawn(first, faint, seed=1))
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-100])
    heard: list[str] = []
    again = open_reference(data, first.extractor, first.classifier, cache=tmp_path, notify=heard.append)
    assert met(again, drawn(again), drawn(again, faint, seed=1)) == expected
    assert len(heard) == 4
    assert all("damaged feature cache" in line and "\n" not in line for line in heard)
