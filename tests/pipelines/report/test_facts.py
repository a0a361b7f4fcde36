"""Everything is read once, and what is missing or damaged is told in one line before anything is written."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganlib.errors import UserError
from ganlib.evaluation.record import Evaluation
from ganlib.packaging import generator_sha256
from pipelines import paths
from pipelines.report.facts import PICTURES, Facts
from pipelines.report.page import write_page
from tests import report_project

REQUIRED = (
    paths.PARAMS,
    paths.PROCESSED / "manifest.json",
    paths.GENERATOR / "generator.json",
    paths.EVALUATION,
    paths.CURVES,
    paths.SNAPSHOTS,
    paths.EXTRACTOR_REPORT,
)


def test_what_the_stages_wrote(finished: Path, facts: Facts) -> None:
    assert facts.generator_sha256 == generator_sha256(finished / paths.GENERATOR)
    assert facts.evaluation == Evaluation.read(finished / paths.EVALUATION)
    assert facts.manifest.test.images == 540
    assert facts.classifier["test_accuracy"] == 0.9908
    assert facts.snapshots["fid"][:2] == ((12800, 100), (25600, 25))
    assert facts.lineage == report_project.LINEAGE
    assert facts.versions.keys() >= {"python", "torch"}


def test_no_secret_of_the_source_is_shown(facts: Facts) -> None:
    data = facts.config.data.model_copy(update={"source": "https://anna:geheim@example.org/x.zip?token=t0p"})
    found = dataclasses.replace(facts, config=facts.config.model_copy(update={"data": data})).source
    assert found == "https://***@example.org/x.zip?token=***"


def test_cells_that_are_empty_or_no_number_are_left_out(facts: Facts) -> None:
    assert len(facts.curves["logits/real"]) == 101
    assert len(facts.curves["loss/critic"]) == len(facts.curves["loss/generator"]) == 100


def test_pictures_come_with_their_size(facts: Facts) -> None:
    assert set(facts.pictures) == set(PICTURES)
    assert facts.pictures[paths.SAMPLES].width == 2 * (17 * 10 - 1)
    assert facts.pictures[paths.ANIMATION].data_uri.startswith("data:image/webp;base64,")


def remove(path: Path) -> None:
    path.unlink()


def halve(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def scramble(path: Path) -> None:
    path.write_bytes(b"\x00" + path.read_bytes()[1:].replace(b"1", b"x"))


@pytest.mark.parametrize("harm", [remove, halve, scramble])
@pytest.mark.parametrize("path", REQUIRED, ids=str)
def test_a_report_that_is_missing_or_damaged(
    path: Path, harm: Callable[[Path], None], finished: Path, facts: Facts, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    for each in (*REQUIRED, paths.GENERATOR / "generator.safetensors"):
        (project / each).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(finished / each, project / each)
    decision = report_project.registration(facts.generator_sha256, promoted=True)
    write_page(facts, decision, project / paths.REPORT)
    good = (project / paths.REPORT).read_bytes()
    harm(project / path)
    with pytest.raises(UserError) as caught:
        write_page(report_project.gathered(project), decision, project / paths.REPORT)
    told = path.parent if path.parent == paths.GENERATOR else path
    assert all(str(project / told) in line for line in str(caught.value).splitlines())
    assert (project / paths.REPORT).read_bytes() == good


def test_figures_of_another_generator(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    report_project.evaluation(report_project.DIGITS, "0" * 64).write(tmp_path / paths.EVALUATION)
    with pytest.raises(UserError, match=r"of generator 0000000000000000…, expected .* run the evaluate stage again"):
        report_project.gathered(tmp_path, {})


def test_a_picture_may_be_missing_but_not_damaged(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    (tmp_path / paths.NEAR_COPIES).unlink()
    assert paths.NEAR_COPIES not in report_project.gathered(tmp_path, {}).pictures
    halve(tmp_path / paths.ANIMATION)
    with pytest.raises(UserError, match=r"interpolation\.webp: damaged picture"):
        report_project.gathered(tmp_path, {})


def test_large_pictures_are_embedded_smaller(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    coarse = np.random.default_rng(0).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((900, 900), Image.Resampling.BICUBIC)
    noisy = np.clip(np.asarray(smooth) + np.random.default_rng(1).normal(0, 2, (900, 900, 3)), 0, 255)
    Image.fromarray(noisy.astype(np.uint8)).save(tmp_path / paths.SAMPLES)
    assert (tmp_path / paths.SAMPLES).stat().st_size > 1_000_000
    found = report_project.gathered(tmp_path, {}).pictures[paths.SAMPLES]
    assert found.data_uri.startswith("data:image/webp;base64,")
    assert len(found.data_uri) < 300_000
    assert (found.width, found.height) == (900, 900)
