"""params.yaml: what is refused, and that each refusal is one line with name, finding and expectation."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from ganlib.config import DataCounts, Schedule, load_config, misfits
from ganlib.errors import UserError
from tests.configs import PRESET, changed, tiny_config, tiny_values


def write(folder: Path, values: object) -> Path:
    path = folder / "params.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values), encoding="utf-8")
    return path


def preset(changes: dict) -> dict:
    return changed(yaml.safe_load(PRESET.read_text(encoding="utf-8")), changes)


RATE = "train.generator_optimizer.learning_rate"
BROKEN = [
    ("train.batch_size", 0, r"train\.batch_size: found 0; expected greater than or equal to 2"),
    ("train.batch_size", "many", r"train\.batch_size: found 'many'; expected a valid integer"),
    ("train.batch_size", 1.5, r"train\.batch_size: found 1\.5; expected a valid integer"),
    ("train.batch_size", "64", r"train\.batch_size: found '64'; expected a valid integer"),
    ("train.total_images", True, r"train\.total_images: found True; expected a valid integer"),
    ("train.deterministic", "perhaps", r"train\.deterministic: found 'perhaps'; expected a valid boolean"),
    ("network.conditional", 1, r"network\.conditional: found 1; expected a valid boolean"),
    ("train.bach_size", 64, r"train\.bach_size: unknown parameter; did you mean batch_size\?"),
    ("train.critic_optimizer.beta2", 1.0, r"train\.critic_optimizer\.beta2: found 1\.0, expected .* below 1"),
    (f"{RATE}", -1, rf"{RATE}: found -1\.0, expected a number of at least 0"),
    (f"{RATE}", 0, r"train\.generator_optimizer: learning_rate is 0 for ever"),
    (f"{RATE}", float("nan"), rf"{RATE}: found nan; expected a finite"),
    (f"{RATE}", "fast", rf"{RATE}: found 'fast'; expected a valid number"),
    (f"{RATE}.shape", "stairs", rf"{RATE}\.shape: found 'stairs'; expected 'linear' or 'cosine'"),
    (f"{RATE}.stop", 0.1, rf"{RATE}\.stop: unknown parameter; "),
    (f"{RATE}.over_images", 0, rf"{RATE}\.over_images: found 0; expected greater than 0"),
    ("train.devices", 0, r"train\.devices: found 0; expected greater than 0"),
    ("train.devices", "many", r"train\.devices: found 'many'; expected 'auto'"),
    ("train.devices", 3, r"train: batch_size=64 does not divide into devices=3 times accumulation=1"),
    ("train.accumulation", 7, r"train: batch_size=64 does not divide into devices=1 times accumulation=7"),
    ("train.on_divergence", "hope", r"train\.on_divergence: found 'hope'; expected 'stop' or 'rollback'"),
    ("train.alarms.divergence", [], r"train\.alarms: divergence must name non_finite"),
    ("train.alarms.divergence", ["boredom"], r"train\.alarms\.divergence\.0: found 'boredom'; expected 'non_finite'"),
    ("train.init_from", {"source": "a", "freeze_critic_layers": 0}, r"train\.init_from\.sha256: missing"),
    (
        "augmentation.critic",
        {},
        r"augmentation\.critic\.policy: found 'nothing', expected one of ada, diffaugment, none",
    ),
    ("augmentation.critic", {"policy": "ADA"}, r"augmentation\.critic\.policy: found 'ADA', expected one of ada"),
    ("augmentation.critic.amount", 1, r"augmentation\.critic\.amount: unknown parameter; expected one of policy"),
    ("train.device", "tpu", r"train\.device: found 'tpu'; "),
    ("train.precision", "fp8", r"train\.precision: found 'fp8'; expected 'fp32', 'tf32', 'bf16' or 'fp16'"),
    (
        "train.extractor",
        "vgg",
        r"train\.extractor: found 'vgg'; expected 'domain', 'random', 'random-96', 'inception'",
    ),
    ("train.extractor", "vgg16", r"extractor\.weights_sha256: has no entry for vgg16, which train\.extractor asks for"),
    ("train.total_images", None, r"train\.total_images: found None; expected a valid integer"),
    ("data.image_size", 20, r"data\.image_size: found 20; expected 16, 28, 32, 64, 128 or 256"),
    ("data.channels", 2, r"data\.channels: found 2; expected 1, 3 or 4"),
    ("data.source", "", r"data\.source: found ''; "),
    ("data.test_share", 1.0, r"data\.test_share: found 1\.0; expected less than 1"),
    ("network.family", "stylegan", r"network\.family: found 'stylegan', expected one of .*dcgan.*r3gan"),
    ("network.generator_witdh", 8, r"network\.generator_witdh: unknown parameter; did you mean generator_width\?"),
    ("network.latent_dim", 0, r"network\.latent_dim: found 0; expected greater than 0"),
    ("loss.adversarial", "wasserstien", r"loss\.adversarial: found 'wasserstien'; expected 'minimax'"),
    ("loss.r1.weight", -0.1, r"loss\.r1\.weight: found -0\.1, expected a number of at least 0"),
    ("loss.r1.every_steps", 0, r"loss\.r1\.every_steps: found 0; expected greater than 0"),
    ("loss.label_smoothing", 0.1, r"loss: label_smoothing=0\.1 has no meaning for adversarial=hinge"),
    ("evaluate.samples", 10, r"evaluate: samples=10 is fewer than kid_subset_size needs \(200\); raise samples"),
    (
        "register.metric",
        "domain/fidd",
        r"register: metric: found 'domain/fidd', expected EXTRACTOR/FIGURE such as 'dom",
    ),
    ("register.confidence", 0.5, r"register\.confidence: found 0\.5; expected greater than 0\.5"),
    ("register.guards.coverage_drop", 2, r"register\.guards\.coverage_drop: found 2; expected less than or equal to 1"),
    ("evaluate.latent.truncations", [0.0], r"evaluate\.latent\.truncations\.0: found 0\.0; expected greater than 0"),
    ("extractor.feature_dim", 5000, r"evaluate\.samples=5000 is too few for register\.metric=domain/fid.* needs 6250"),
    ("evaluate.confidence", 0.99999, r"evaluate\.confidence: found 0\.99999; expected less than or equal to 0\.9999"),
    ("evaluate.latent.path_step", 1e-6, r"evaluate\.latent\.path_step: found 1e-06; expected greater than or equal to"),
    ("evaluate.is_splits", 2501, r"evaluate: samples=5000 is fewer than is_splits needs \(5002\)"),
    ("register.metric", "domain/diversity", r"register\.metric=domain/diversity: 1 is best, so neither more nor less"),
    ("evaluate.samples", 10**11, r"evaluate\.samples: found 100000000000; expected less than or equal to 10000000"),
    ("register.metric", "inception/fid", r"register\.metric=inception/fid is not measured with evaluate\.extractor"),
    ("register.model_name", "my model", r"register\.model_name: found 'my model'; "),
    ("extractor.weights_sha256", {"inception": "xyz"}, r"extractor\.weights_sha256\.inception: found 'xyz'; "),
    ("flow.retries", -1, r"flow\.retries: found -1; expected greater than or equal to 0"),
]


@pytest.mark.parametrize(("name", "value", "line"), BROKEN, ids=[f"{n}={v}" for n, v, _ in BROKEN])
def test_a_broken_value_is_one_clear_line(name: str, value: object, line: str, tmp_path: Path) -> None:
    path = write(tmp_path, preset({name: value}))
    with pytest.raises(UserError, match=line) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("data: [", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("", "found NoneType, expected sections"),
        ("- a\n- b\n", "found list, expected sections"),
        (PRESET.read_text(encoding="utf-8") + "\ntrain: {}\n", "train is written twice"),
        (PRESET.read_text(encoding="utf-8").replace("  seed: 0\n", "  seed: 0\n  seed: 1\n"), "seed is written twice"),
    ],
)
def test_broken_files(text: str, line: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=line) as caught:
        load_config(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_missing_things_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.yaml: no such file"):
        load_config(tmp_path / "absent.yaml")
    values = tiny_values({})
    del values["train"]["seed"], values["loss"]
    with pytest.raises(UserError) as caught:
        load_config(write(tmp_path, values))
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert any("train.seed: missing" in line for line in lines)
    assert any("loss: missing" in line for line in lines)


ADAPTIVE = {
    "policy": "ada",
    "control": {"kind": "adaptive", "target": 0.6, "full_range_images": 1000, "every_images": 64},
    **dict.fromkeys(("blit", "geometry", "colour", "noise", "cutout"), 1.0),
}
ILLEGAL = [
    ({"network.critic_norm": "batch", "loss.r1.weight": 1.0}, "critic whose samples are independent"),
    ({"network.critic_norm": "batch", "loss.gradient_penalty.weight": 1.0}, "critic whose samples are independent"),
    ({"loss.adversarial": "relativistic", "augmentation.critic": ADAPTIVE}, "set the kind to scheduled"),
    ({"loss.adversarial": "wasserstein", "augmentation.critic": ADAPTIVE}, "set the kind to scheduled"),
    ({"loss.adversarial": "wasserstein", "loss.label_smoothing": 0.1}, "no meaning for adversarial=wasserstein"),
    ({"register.metric": "domain/label_fidelity", "network.conditional": False}, r"needs network\.conditional"),
    ({"network": "r3gan", "data.image_size": 32}, r"widths has 3 entries, expected 4"),
    ({"network": "r3gan", "network.group_width": 3}, r"group_width=3 must divide"),
    ({"data.image_size": 28}, r"image_size=28: network\.family=dcgan makes sizes that are a power of two"),
    ({"train.precision": "fp16", "train.device": "cpu"}, "precision=fp16 needs a CUDA device"),
    ({"train.precision": "tf32", "train.device": "cpu"}, "precision=tf32 needs a CUDA device"),
    ({"train.cuda_graph": True, "train.device": "cpu"}, "cuda_graph=true needs a CUDA device"),
    ({"train.device": "cuda:1", "train.devices": 2}, "names one device, found devices=2"),
]


@pytest.mark.parametrize(("changes", "line"), ILLEGAL, ids=[line for _, line in ILLEGAL])
def test_sections_must_agree(changes: dict, line: str) -> None:
    with pytest.raises(ValidationError, match=line):
        tiny_config(changes)


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    text = PRESET.read_text(encoding="utf-8").replace("loss:\n", "loss:\n  <<: {label_smoothing: 0.4}\n", 1)
    assert load_config(write(tmp_path, text)).loss.label_smoothing == 0.0


def test_scientific_notation_is_a_number(tmp_path: Path) -> None:
    path = write(tmp_path, PRESET.read_text(encoding="utf-8").replace("0.0004", "4e-4"))
    schedule = load_config(path).train.critic_optimizer.learning_rate
    assert isinstance(schedule, Schedule)
    assert schedule.start == pytest.approx(4e-4)


def test_the_object_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        tiny_config({}).train.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "least"),
    [
        ({}, 80),
        ({"evaluate.extractor": "inception", "register.metric": "inception/fid"}, 2560),
        ({"register.metric": "domain/coverage"}, 100),
        ({"register.metric": "domain/precision", "evaluate.neighbours": 20}, 160),
        ({"register.metric": "domain/kid"}, 20),
        ({"register.metric": "domain/is"}, 0),
        ({"register.metric": "domain/label_fidelity"}, 0),
    ],
)
def test_too_few_held_out_images_for_the_gate_are_refused(changes: dict, least: int) -> None:
    config = tiny_config({"evaluate.samples": 5000, "extractor.feature_dim": 64, **changes})
    assert config.images_for_the_gate[1] == least

    def told(held_out: int) -> str:
        return "\n".join(misfits(config, DataCounts(train=30_000, test=held_out, classes=2)))

    assert "its interval needs" not in told(least)
    if least:
        line = f"its interval needs {least} held-out images, found {least - 1}; raise data.test_share to "
        assert line in told(least - 1) or least < 30_000 * config.data.test_share


@pytest.mark.parametrize(
    ("metric", "samples"),
    [("domain/is", 20), ("domain/kid", 20), ("domain/label_fidelity", 20), ("inception/is", 2016)],
)
def test_too_few_samples_for_the_gate_are_refused_before_the_training(metric: str, samples: int) -> None:
    changes = {"evaluate.is_splits": 2, "evaluate.kid_subset_size": 5, "evaluate.neighbours": 2}
    changes |= {"register.metric": metric, "evaluate.extractor": metric.split("/")[0]}
    tiny_config({**changes, "evaluate.samples": samples})
    with pytest.raises(ValidationError, match=rf"whose interval needs {samples} generated images; raise it"):
        tiny_config({**changes, "evaluate.samples": samples - 1})


def test_an_inception_score_needs_classes() -> None:
    with pytest.raises(ValidationError, match=r"random knows no classes, domain and inception do"):
        tiny_config({"evaluate.extractor": "random", "register.metric": "random/is"})
