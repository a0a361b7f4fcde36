"""What is known of all pictures once each was decoded."""

from collections.abc import Mapping
from dataclasses import dataclass

from ganlib.datasets.packing.survey import Survey


@dataclass(frozen=True)
class Pictures:
    """Counts after cleaning.

    Attributes:
        train, test: pictures of each split.
        classes: pictures of each class, in both splits; none of unlabelled ones.
        own_splits: whether the source has a train and a test part.
        files, dropped: that were met, and left out.
        near: pictures that have a near duplicate.
        near_across: held-out pictures that have one in the training split.
    """

    train: int
    test: int
    classes: Mapping[str, int]
    own_splits: bool
    files: int
    dropped: int
    near: int
    near_across: int

    @classmethod
    def of(cls, found: Survey) -> "Pictures":
        """Those of a survey."""
        images = found.images
        train, test = (sum(images[split].values()) for split in ("train", "test"))
        return cls(
            train=train,
            test=test,
            classes={name: images["train"][name] + images["test"][name] for name in found.classes},
            own_splits=bool(found.index.own_splits),
            files=found.files,
            dropped=found.dropped,
            near=sum(found.cases.get("near_duplicate", {}).values()),
            near_across=found.near_across,
        )

    @property
    def count(self) -> int:
        """Of both splits."""
        return self.train + self.test
