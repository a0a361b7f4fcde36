"""What each figure is: its name for people, which way is better, its definition and where it comes from."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher", "neither"]


@dataclass(frozen=True)
class Meaning:
    """Of one figure; `share` marks those that lie between 0 and 1."""

    title: str
    better: Better
    definition: str
    source: str = ""
    share: bool = False


MEANINGS: dict[str, Meaning] = {
    "fid": Meaning(
        "FID",
        "lower",
        "Fréchet distance between Gaussians fitted to the features of generated and of held-out images; squared units "
        "of the features. 0 means equal mean and covariance. Few images bias the value upwards; the estimate is free "
        "of that bias. A generator that can be asked for classes is asked for them in the shares of the held-out "
        "images, as for all that compares with these.",
        "Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule",
    ),
    "fid_infinity": Meaning(
        "FID at infinitely many generated images",
        "lower",
        "FID extrapolated along 1/N to infinitely many generated images; the held-out images stay as few as they are.",
        "Chong and Forsyth 2020, Effectively Unbiased FID and Inception Score",
    ),
    "fid_floor": Meaning(
        "FID of real training images",
        "neither",
        "The Fréchet distance of the real training images to the held-out ones. No generator can be expected to come "
        "much below it.",
    ),
    "kid": Meaning(
        "KID",
        "lower",
        "Squared maximum mean discrepancy with a cubic kernel between generated and held-out features; 0 for equal "
        "distributions, and an estimate may be below 0 by chance.",
        "Bińkowski et al. 2018, Demystifying MMD GANs",
    ),
    "is": Meaning(
        "Inception Score",
        "higher",
        "How sure the classifier is of each image and how varied its answers are: 1 at worst, the number of its "
        "classes at best. It sees no real image.",
        "Salimans et al. 2016, Improved Techniques for Training GANs",
    ),
    "precision": Meaning(
        "Precision",
        "higher",
        "Share of generated images that lie among the held-out images, within the distance to a k-th nearest "
        "neighbour: quality.",
        "Kynkäänniemi et al. 2019, Improved Precision and Recall Metric",
        share=True,
    ),
    "recall": Meaning(
        "Recall",
        "higher",
        "Share of held-out images that lie among the generated ones, likewise: diversity.",
        "Kynkäänniemi et al. 2019, Improved Precision and Recall Metric",
        share=True,
    ),
    "density": Meaning(
        "Density",
        "higher",
        "How many held-out neighbourhoods a generated image lies in, over k: quality, less moved by outliers than "
        "precision. 1 for equal distributions; it may be above.",
        "Naeem et al. 2020, Reliable Fidelity and Diversity Metrics",
    ),
    "coverage": Meaning(
        "Coverage",
        "higher",
        "Share of held-out images with a generated one in their neighbourhood: diversity, less moved by outliers than "
        "recall.",
        "Naeem et al. 2020, Reliable Fidelity and Diversity Metrics",
        share=True,
    ),
    "diversity": Meaning(
        "Diversity within classes",
        "neither",
        "Mean distance between generated images of one class over that between real ones: 1 is as varied as the real "
        "images, less is too alike, more is noise or another class.",
    ),
    "label_fidelity": Meaning(
        "Label fidelity",
        "higher",
        "Share of generated images that a classifier trained on the real training images takes for the class that was "
        "asked for, as many of each class.",
        share=True,
    ),
    "accuracy_score": Meaning(
        "Classification accuracy score",
        "higher",
        "Accuracy on held-out real images of a classifier that has learned from generated images alone.",
        "Ravuri and Vinyals 2019, Classification Accuracy Score for Conditional Generative Models",
        share=True,
    ),
    "path_length": Meaning(
        "Perceptual path length",
        "lower",
        "How fast features change along an arc between two latents: squared distance over the squared step. It is "
        "low where the latent space is smooth.",
        "Karras et al. 2019, A Style-Based Generator Architecture",
    ),
}


FITTED = {"crop": "cropped to the centre square", "pad": "padded to a square", "tile": "cut into tiles"}
COLOURS = {1: "grey", 3: "RGB", 4: "RGBA"}


def in_order(names: Iterable[str]) -> list[str]:
    """Names such as `domain/fid` in the order of the meanings; those that are not known here last."""
    places = {name: place for place, name in enumerate(MEANINGS)}
    return sorted(names, key=lambda name: (places.get(name.rpartition("/")[2], len(places)), name))


def meaning(name: str) -> Meaning:
    """Of `fid` or `domain/fid`; a figure that is not known here is shown by its name."""
    plain = name.rpartition("/")[2]
    return MEANINGS.get(plain) or Meaning(plain.replace("_", " "), "neither", "")


def title(name: str) -> str:
    """`domain/fid` as `FID, domain features`; anything else as it is, with a capital."""
    features, slash, _ = name.rpartition("/")
    return f"{meaning(name).title}, {features} features" if slash else name[:1].upper() + name[1:]
