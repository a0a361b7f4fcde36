"""Whatever a generated picture leaves as, it says so."""

import base64
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from ganlib.marking import COMPOSITE_TYPE, SOURCE_TYPE, Origin, marked_png, read_origin
from ganlib.packaging import generator_sha256
from pipelines import paths
from pipelines.cli import app
from pipelines.flows.pages import image_url
from pipelines.provenance.credential import read
from pipelines.provenance.writing import write_generated, write_generated_animation
from pipelines.report.facts import LARGEST_EXACT_BYTES, read_picture
from tests.registered import make_generator

ORIGIN = Origin("ab" * 32, {"picture": "a test"})


def noise(side: int, channels: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (side, side, channels), dtype=np.uint8)


def origin_in(url: str) -> Origin | None:
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as opened:
        return read_origin(opened)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_animation_is_marked_and_signed(channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy2(Path(__file__).parents[3] / "params.yaml", tmp_path)
    make_generator(paths.GENERATOR, 1)
    origin = Origin(generator_sha256(paths.GENERATOR), {"picture": "interpolation"})
    frames = [noise(24, channels), 255 - noise(24, channels)]
    write_generated_animation(Path("way.webp"), frames, origin, exact=True)
    with Image.open("way.webp") as animation:
        assert (animation.n_frames, read_origin(animation)) == (2, origin)
        shown = np.asarray(animation.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])).reshape(frames[0].shape)
    np.testing.assert_array_equal(shown[..., :3][frames[0][..., -1] > 0], frames[0][..., :3][frames[0][..., -1] > 0])
    told = CliRunner().invoke(app, ["verify", "--json", "--marks-only", "way.webp"], catch_exceptions=False)
    (found,) = json.loads(told.stdout)
    assert (found["verdict"], found["credential"]["intact"]) == ("says so", True)
    changed = bytearray(Path("way.webp").read_bytes())
    changed[changed.index(b"ANMF") + 40] ^= 1
    broken = read(bytes(changed), "image/webp")
    assert broken is not None
    assert not broken.intact


@pytest.mark.parametrize("source_type", [SOURCE_TYPE, COMPOSITE_TYPE])
def test_mark_and_credential_agree_on_what_is_shown(
    source_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import c2pa

    monkeypatch.chdir(tmp_path)
    write_generated(Path("a.png"), noise(8), ORIGIN, by="a test", source_type=source_type)
    file = Path("a.png").read_bytes()
    assert f"<Iptc4xmpExt:DigitalSourceType>{source_type}<".encode() in file
    with c2pa.Reader("image/png", io.BytesIO(file)) as reader:
        assertions = {each["label"]: each["data"] for each in reader.get_active_manifest()["assertions"]}
    assert assertions["c2pa.actions.v2"]["actions"][0]["digitalSourceType"] == source_type


def test_pages_hold_pictures_with_their_marks(tmp_path: Path) -> None:
    """As they are, and where a page has a smaller file in their place."""
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    small.write_bytes(marked_png(noise(16), ORIGIN))
    large.write_bytes(marked_png(noise(900), ORIGIN))
    assert large.stat().st_size > LARGEST_EXACT_BYTES
    for path in (small, large):
        assert origin_in(read_picture(path).data_uri) == ORIGIN
        assert origin_in(image_url(path)) == ORIGIN
    Image.fromarray(noise(16)[..., 0]).save(small)
    assert origin_in(image_url(small)) is None
