"""docs/adding_a_network.md, done: its blocks make a family that validates, builds and trains."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "adding_a_network.md"
BLOCK = re.compile(
    r'^```(python|diff|yaml)(?: file=(\S+))?(?: before="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL
)
TRAIN = """
import copy, sys
from pathlib import Path
import torch, yaml
import ganlib
from ganlib.config import ImageSpec, load_config
from ganlib.errors import UserError
from ganlib.losses import critic_loss, generator_loss, zero_centered_penalty
from ganlib.networks import build_critic, build_generator
from ganlib.packaging import ImageGenerator

root = Path(sys.argv[1])
assert Path(ganlib.__file__).is_relative_to(root), ganlib.__file__
network = load_config(root / "params.yaml").network
assert network.family == "subpixel"
for family, size in [("subpixel", 30), ("subpixle", 16)]:
    values = yaml.safe_load((root / "params.yaml").read_text())
    values["network"]["family"] = family
    (root / "wrong.yaml").write_text(yaml.safe_dump(values))
    try:
        build_generator(load_config(root / "wrong.yaml").network, ImageSpec(size=size, channels=1, classes=("a",)))
    except UserError as error:
        print(error)

torch.manual_seed(0)
for size, channels, classes in [(16, 1, ("a", "b", "c")), (28, 4, ())]:
    image = ImageSpec(size=size, channels=channels, classes=classes)
    options = network.model_copy(update={"conditional": bool(classes)})
    generator, critic = build_generator(options, image), build_critic(options, image)
    before = copy.deepcopy([*generator.parameters(), *critic.parameters()])
    adam = [torch.optim.Adam(each.parameters(), lr=1e-3, betas=(0.0, 0.9)) for each in (generator, critic)]
    labels = torch.arange(8) % len(classes) if classes else None
    real = (torch.rand(8, channels, size, size) * 2 - 1).requires_grad_()
    fake = generator(torch.randn(8, options.latent_dim), labels)
    real_logits, fake_logits = critic(real, labels), critic(fake.detach(), labels)
    loss = critic_loss("non_saturating", real_logits, fake_logits, label_smoothing=0.0).mean()
    (loss + zero_centered_penalty(real_logits, real).mean()).backward()
    adam[1].step()
    generator_loss("non_saturating", None, critic(fake, labels)).mean().backward()
    adam[0].step()
    after = [*generator.parameters(), *critic.parameters()]
    assert all(not torch.equal(a, b) and b.isfinite().all() for a, b in zip(before, after, strict=True))
    assert len(critic.lower_layers()) == 2
    folder = root / f"generator{size}"
    ImageGenerator(generator, options, image, {"seen_images": 8}).save(folder)
    assert ImageGenerator.load(folder).sample(seed=0, count=2).shape == (2, size, size, channels)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the package with the guide's blocks applied, in their order."""
    shutil.copytree(ROOT / "ganlib", tmp_path / "ganlib", ignore=shutil.ignore_patterns("__pycache__"))
    blocks = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))
    assert [kind for kind, *_ in blocks] == [*("python", "diff", "diff", "diff", "python"), *["diff"] * 3, "yaml"]
    for kind, name, before, text in blocks:
        if kind == "yaml":
            params = (ROOT / "params.yaml").read_text(encoding="utf-8")
            replaced, count = re.subn(r"^network:\n(?:  .*\n)+", text, params, flags=re.MULTILINE)
            assert count == 1
            (tmp_path / "params.yaml").write_text(replaced, encoding="utf-8")
        elif kind == "diff":
            lines = [(line[0], line[1:]) for line in text.splitlines(keepends=True)]
            old, new = ("".join(line for sign, line in lines if sign in kept) for kept in (" -", " +"))
            _replace(tmp_path / name, old, new)
        elif before:
            _replace(tmp_path / name, before, f"{text}\n\n{before}")
        else:
            assert not (tmp_path / name).exists()
            (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def _replace(file: Path, old: str, new: str) -> None:
    source = file.read_text(encoding="utf-8")
    assert source.count(old) == 1, f"{file.name} has {source.count(old)} places for the guide's\n{old}"
    file.write_text(source.replace(old, new), encoding="utf-8")


def test_guide_to_adding_a_network(project: Path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRAIN, str(project)],
        cwd=project, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    refusals = done.stdout.splitlines()
    assert len(refusals) == 2
    assert "data.image_size=30: network.family=subpixel makes multiples of 4" in refusals[0]
    assert "expected one of biggan, cyclegan, dcgan, mlp, r3gan, resnet, stargan, subpixel, unet" in refusals[1]


def test_the_code_of_the_guide_passes_the_linter(project: Path):
    files = ["ganlib/networks", "ganlib/config"]
    for arguments in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--config", str(ROOT / "pyproject.toml"), *files]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout
