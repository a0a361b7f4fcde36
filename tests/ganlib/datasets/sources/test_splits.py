"""The words for the parts of a data set."""

import pytest

from ganlib.datasets.sources.splits import Role, role_of_file, role_of_folder


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("train", "train"),
        ("TRAINING", "train"),
        ("train2017", "train"),
        ("training_set", "train"),
        ("val-images", "validation"),
        ("Valid", "validation"),
        ("dev", "validation"),
        ("test 1", "test"),
        ("evaluation", "test"),
        ("train station", None),
        ("trainer", None),
        ("contest", None),
        ("my train", None),
        ("", None),
    ],
)
def test_folders_stand_for_parts_by_their_whole_name(name: str, role: Role | None) -> None:
    assert role_of_folder(name) == role


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("train-00000-of-00002.parquet", "train"),
        ("imagenet-train-000000.tar", "train"),
        ("x_test.npy", "test"),
        ("Validation_07.tar", "validation"),
        ("train2017.tar", "train"),
        ("data/test/0000.parquet", "test"),
        ("train/test-0.tar", "test"),
        ("test/dev/0.tar", "validation"),
        ("latest/contest-trained.tar", None),
        ("0000.parquet", None),
    ],
)
def test_files_stand_for_parts_by_a_word_of_their_path(path: str, role: Role | None) -> None:
    assert role_of_file(path) == role
