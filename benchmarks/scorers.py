"""Fréchet distances by ganlib and by the packages that people use, each called as its README says."""

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import torch
import yaml
from torch import Tensor, nn

from ganlib.config import ExtractorOptions
from ganlib.datasets.packed.reading import PackedData, Split, open_packed
from ganlib.metrics.cache import cached_features
from ganlib.metrics.extractors import Extractor, Features, load_domain_extractor, load_extractor
from ganlib.metrics.frechet import FrechetReference
from ganlib.pretrained.weights import sha256_of
from pipelines.presets import preset_text

Kind = Literal["inception", "domain"]
CPU = torch.device("cpu")
PRESET = Path(__file__).resolve().parents[1] / "presets" / "digits.yaml"


@dataclass(frozen=True)
class Case:
    """Two sets of images, who looks at them, and what is kept between runs.

    `folder` holds the same images as PNG files in `real` and `generated` and packed in `packed`, beside the weights.
    """

    folder: Path
    kind: Kind
    cache: Path

    @property
    def real(self) -> str:
        """Folder of the real images' files."""
        return str(self.folder / "real")

    @property
    def generated(self) -> str:
        """Folder of the generated images' files."""
        return str(self.folder / "generated")

    @property
    def weights(self) -> Path:
        """Random weights in the official layout."""
        return self.folder / "inception.pth"

    @property
    def data(self) -> PackedData:
        """Real images as the training split, generated ones as the test split."""
        return open_packed(self.folder / "packed")

    def extractor(self) -> Extractor:
        """Ours."""
        brought = {"inception": str(self.weights)} if self.kind == "inception" else {}
        digests = {name: sha256_of(Path(path)) for name, path in brought.items()}
        options = preset_extractor().model_copy(update={"weights_files": brought, "weights_sha256": digests})
        folder = self.folder / "extractor"
        return load_extractor(self.kind, options, folder=folder, weights_cache=self.folder, device=CPU)


def preset_extractor() -> ExtractorOptions:
    """The parameters of the digits' classifier."""
    return ExtractorOptions.model_validate(yaml.safe_load(preset_text(PRESET))["extractor"])


@dataclass(frozen=True)
class Scored:
    """A distance, and the seconds that the network's forward pass took where they were counted."""

    value: float
    forward_s: float | None = None


def ours(case: Case) -> Scored:
    """As the evaluate stage does it: packed images, the real ones' features by content."""
    data, extractor = case.data, case.extractor()
    forward = _timed(extractor)
    real = real_features(case, data.train, extractor)
    generated = extractor.extract_all(data.test.batches())
    value = FrechetReference.of(real.values).distance_to(generated.values)
    return Scored(value, forward())


def real_features(case: Case, split: Split, extractor: Extractor) -> Features:
    """From the cache where they are known."""
    return cached_features(
        extractor, digest=split.digest, count=len(split), batches=split.batches(), folder=case.cache, notify=print
    )


def torch_fidelity(case: Case) -> Scored:
    """`calculate_metrics` on two folders; it keeps the real statistics by name."""
    from torch_fidelity import calculate_metrics

    found = calculate_metrics(
        input1=case.generated,
        input2=case.real,
        cuda=False,
        fid=True,
        cache_root=str(case.cache),
        input2_cache_name="real",
        verbose=False,
        **torch_fidelity_extractor(case),
    )
    return Scored(found["frechet_inception_distance"])


def torch_fidelity_extractor(case: Case) -> dict[str, Any]:
    """The arguments that name the network: its own by a file, the classifier by its hook for extractors."""
    if case.kind == "inception":
        return {"feature_extractor": "inception-v3-compat", "feature_extractor_weights_path": str(case.weights)}
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

    classifier = RgbClassifier(case.folder / "extractor")

    class Domain(FeatureExtractorBase):  # type: ignore[misc]
        def __init__(self, name: str, features_list: list[str], **_: Any) -> None:
            super().__init__(name, features_list)
            self.classifier = classifier

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            seen = dict(zip(("values", "logits"), classifier.both(images), strict=True))
            return tuple(seen[name] for name in self.features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return ("values", "logits")

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "logits" if metric == "isc" else "values"

    if "domain" not in FEATURE_EXTRACTORS_REGISTRY:
        register_feature_extractor("domain", Domain)
    return {"feature_extractor": "domain"}


def pytorch_fid(case: Case) -> Scored:
    """`python -m pytorch_fid REAL GENERATED`; the real statistics as `--save-stats` keeps them. Inception only."""
    from pytorch_fid import fid_score, inception

    assert case.kind == "inception"
    state = torch.load(case.weights, weights_only=True)
    kept = case.cache / "real.npz"
    workers = min(torch.get_num_threads(), 8)
    with mock.patch.object(inception, "load_state_dict_from_url", return_value=state):
        if not kept.exists():
            fid_score.save_fid_stats([case.real, str(kept)], 50, "cpu", 2048, workers)
        return Scored(float(fid_score.calculate_fid_given_paths([str(kept), case.generated], 50, "cpu", 2048, workers)))


def clean_fid(case: Case) -> Scored:
    """`fid.compute_fid` on a folder and statistics made by `make_custom_stats`, which takes Inception only.

    With an extractor of the user's it takes two folders, and keeps nothing.
    """
    import cleanfid
    from cleanfid import features, fid

    if case.kind == "domain":
        found = fid.compute_fid(
            case.generated,
            case.real,
            device=CPU,
            custom_feat_extractor=RgbClassifier(case.folder / "extractor"),
            custom_fn_resize=lambda image: image,
            verbose=False,
        )
        return Scored(float(found))
    with (
        mock.patch.object(features, "InceptionV3W", return_value=_TracedInception(case.weights)),
        # It keeps statistics inside the installed package.
        mock.patch.object(cleanfid, "__file__", str(case.cache / "__init__.py")),
    ):
        if not (case.cache / "stats").exists():
            fid.make_custom_stats("real", case.real, device=CPU, verbose=False)
        found = fid.compute_fid(case.generated, dataset_name="real", dataset_split="custom", device=CPU, verbose=False)
    return Scored(float(found))


def torchmetrics(case: Case) -> Scored:
    """`FrechetInceptionDistance.update` on batches of images in memory; the real side's states are kept."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    kept = case.cache / "real.pth"
    if case.kind == "inception":
        metric = FrechetInceptionDistance(feature_extractor_weights_path=str(case.weights))
    else:
        metric = FrechetInceptionDistance(feature=RgbClassifier(case.folder / "extractor"))
    states = ("real_features_sum", "real_features_cov_sum", "real_features_num_samples")
    data = case.data
    with torch.inference_mode():
        if kept.exists():
            for name, value in torch.load(kept, weights_only=True).items():
                setattr(metric, name, value)
        else:
            for images in rgb_batches(data.train):
                metric.update(images, real=True)
            torch.save({name: getattr(metric, name) for name in states}, kept)
        for images in rgb_batches(data.test):
            metric.update(images, real=False)
        return Scored(float(metric.compute()))


CONTENDERS: dict[str, Callable[[Case], Scored]] = {
    "ours": ours,
    "torch-fidelity": torch_fidelity,
    "pytorch-fid": pytorch_fid,
    "clean-fid": clean_fid,
    "torchmetrics": torchmetrics,
}
NAMES: dict[Kind, tuple[str, ...]] = {
    "inception": tuple(CONTENDERS),
    "domain": tuple(name for name in CONTENDERS if name != "pytorch-fid"),
}


def score(name: str, case: Case) -> dict[str, Any]:
    """One contender's distance and how long it took; imports do not count."""
    from torch_fidelity import calculate_metrics  # noqa: F401  # most of all imports

    warnings.filterwarnings("ignore")
    start = time.perf_counter()
    found = CONTENDERS[name](case)
    return {"value": found.value, "forward_s": found.forward_s, "seconds": time.perf_counter() - start}


def rgb_batches(split: Split, size: int = 64) -> Iterator[Tensor]:
    """uint8 [n, 3, H, W]."""
    for images in split.batches(size):
        planes = torch.from_numpy(images).permute(0, 3, 1, 2)
        yield planes.expand(-1, 3, -1, -1).contiguous()


class RgbClassifier(nn.Module):
    """The domain extractor's classifier as other packages take it: for RGB of 0 to 255, features or both outputs."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.classifier = load_domain_extractor(folder, CPU).classifier
        self.channels = self.classifier.trunk[0].in_channels
        self.num_features = self.classifier.head.in_features

    def both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """[N, 3, H, W] -> features [N, D] and logits [N, K]."""
        features, logits = self.classifier(images[:, : self.channels].float().div(127.5).sub(1))
        return features, logits

    def forward(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] -> features [N, D]."""
        return self.both(images)[0]


def _timed(extractor: Extractor) -> Callable[[], float]:
    """Count the seconds of the extractor's forward passes from now on; the result tells them."""
    look, seconds = extractor.look, [0.0]

    def counted(images: Tensor) -> Features:
        start = time.perf_counter()
        found = look(images)
        seconds[0] += time.perf_counter() - start
        return found

    mock.patch.object(extractor, "look", counted).start()
    return lambda: seconds[0]


class _TracedInception(nn.Module):
    """In place of the TorchScript file that clean-fid downloads, the same network with our random weights, traced."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        network = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=str(weights))
        trunk = nn.Sequential(*list(network.children())[:-1], nn.Flatten())
        self.layers: Any = torch.jit.trace(trunk, torch.zeros(1, 3, 299, 299))  # type: ignore[no-untyped-call]

    def forward(self, images: Tensor) -> Tensor:
        """[N, 3, 299, 299] of 0 to 255 -> [N, 2048], as clean-fid's wrapper does it."""
        found: Tensor = self.layers((images - 128) / 128)
        return found
