"""What a stage prints of its progress is what is read from it."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from prefect.settings import PREFECT_API_URL, temporary_settings

from ganlib import events
from pipelines.flows.pages import ProgressPage, show_picture
from pipelines.progress import Reached, is_alarm
from pipelines.stages.shell import ProgressDisplay

FIGURES = st.dictionaries(
    st.sampled_from(["loss/critic", "domain/fid", "dinov2-vit-b-14/fid"]),
    st.floats(allow_nan=False).map(lambda value: float(f"{value:.4g}")),
    max_size=3,
)


@given(
    st.builds(
        Reached,
        stage=st.sampled_from(["train", "encode-2"]),
        seen_images=st.integers(0, 10**12),
        total_images=st.none() | st.integers(10**12, 10**13),
        images_per_s=st.integers(0, 10**6).map(float),
        figures=FIGURES,
    )
)
def test_a_line_is_read_as_it_was_written(reached: Reached) -> None:
    assert Reached.read(str(reached)) == reached


def test_a_training_tells_its_losses_and_its_distance(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay("train") as display:
        display(events.Scalars(64, {"loss/critic": 1.5, "logits/real": 0.25}))
        display(events.Scalars(64, {"domain/fid": 12.25}))
        display(events.Progress(64, 640, 32.0))
    (line,) = capsys.readouterr().out.splitlines()
    assert line == "train: 64 of 640 images, 32 images/s, 18 s left; loss/critic 1.5, domain/fid 12.25"
    reached = Reached.read(line)
    assert reached is not None
    assert (reached.left_s, reached.figures) == (18.0, {"loss/critic": 1.5, "domain/fid": 12.25})


def test_other_lines_are_none() -> None:
    other = "evaluate: features: 5 of 10 images, 1 images/s, 5 s left"
    for line in ("train: done in 1.0 s", other, "5 of 10 images", ""):
        assert Reached.read(line) is None
    assert is_alarm("train: alarm at 64 images shown: the critic has won")
    assert is_alarm("evaluate: ALARM: near copies")
    assert not is_alarm("train: no alarm at 64 images shown: well")


@pytest.mark.filterwarnings("ignore:Artifact creation outside of a flow:FutureWarning")
def test_a_prefect_server_that_is_away_neither_fails_nor_delays_a_stage(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "samples.png")
    page = ProgressPage()
    began = time.monotonic()
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        page.hear(str(Reached("train", 64, 640, 32.0)))
        show_picture("samples", tmp_path / "samples.png", "Samples")
    page.finish("train: ran in 1.0 s")
    assert time.monotonic() - began < 10, "Prefect's own patience is a minute"
