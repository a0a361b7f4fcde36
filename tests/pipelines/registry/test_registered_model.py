"""The registered model with nothing but its own files: loaded alone, and served."""

import asyncio
import base64
import io
import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from ganlib.packaging import ImageGenerator, generator_sha256
from pipelines.registry.versions import download_generator
from tests.registered import make_generator, submit

pytestmark = pytest.mark.integration

FRESH = """
import sys
sys.path.append(sys.argv[1])
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[2])
(answer,) = model.predict([{"labels": ["two", "zero"], "seed": 7}])
import ganlib
unwanted = {"torchvision", "torch_fidelity", "dvc", "prefect", "pipelines"} & set(sys.modules)
print("answer", answer.model_dump_json())
print("ganlib", ganlib.__file__)
print("unwanted", sorted(unwanted))
"""


def decoded(png: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


def test_the_model_alone_draws_the_same_images(project: Path, tmp_path: Path) -> None:
    folder = make_generator(project / "generator", 1)
    submit(folder, 3.0)
    generator = download_generator("models:/digits@champion", tmp_path)
    assert generator_sha256(generator) == generator_sha256(folder)
    model_folder = next(path for path in (generator, *generator.parents) if (path / "MLmodel").exists())
    assert (model_folder / "artifacts/MODEL_CARD.md").read_text() == "# digits, 3\n"
    for path in project.iterdir():
        if path.name.startswith(("generator", "mlruns", "mlflow")):
            path.rename(tmp_path / f"away-{path.name}")
    # Isolated, and without .pth files: an editable install of the repository cannot be seen.
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", FRESH, sysconfig.get_path("purelib"), str(model_folder)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = dict(line.split(" ", 1) for line in ran.stdout.splitlines() if " " in line)
    assert told["ganlib"].startswith(str(model_folder))
    assert told["unwanted"] == "[]"
    answer = json.loads(told["answer"])
    assert answer["labels"] == ["two", "zero"]
    expected = ImageGenerator.load(generator).sample(seed=7, labels=[2, 0])
    for png, image in zip(answer["images"], expected, strict=True):
        np.testing.assert_array_equal(decoded(png), image[:, :, 0])
    requirements = (model_folder / "requirements.txt").read_text().split()
    assert all(re.fullmatch(r"[a-z]+==[0-9.a-z]+", each) for each in requirements)
    assert {each.partition("==")[0] for each in requirements} == {
        "mlflow", "numpy", "pillow", "pydantic", "pyyaml", "safetensors", "torch",
    }  # fmt: skip


@pytest.mark.parametrize("conditional", [False, True])
def test_served_model(project: Path, conditional: bool) -> None:
    import mlflow
    from mlflow.pyfunc import scoring_server

    submit(make_generator(project / "generator", 1, conditional=conditional), 3.0)
    app = scoring_server.init(mlflow.pyfunc.load_model("models:/digits@champion"))

    def ask(request: dict[str, Any]) -> httpx.Response:
        async def post() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
                return await client.post("/invocations", json={"inputs": [request]})

        return asyncio.run(post())

    many = ask({"count": 256, "seed": 3})
    (answer,) = many.json()["predictions"]
    assert answer["labels"][:4] == (["zero", "one", "two", "zero"] if conditional else [])
    assert len(answer["images"]) == 256
    assert decoded(answer["images"][0]).shape == (16, 16)
    assert ask({"count": 256, "seed": 3}).json() == many.json()
    assert ask({"count": 256, "seed": 4}).json() != many.json()
    for request, words in (
        ({"count": 257}, "less than or equal to 256"),
        ({"count": 0}, "greater than or equal to 1"),
        ({"truncation": 0.0}, "greater than 0"),
        ({"count": 1, "labels": ["one"]}, "either count or labels"),
        ({"cuont": 1}, "Extra inputs"),
        ({"labels": ["nine"]}, "no class 'nine'; expected some of zero" if conditional else "unconditional"),
    ):
        refused = ask(request)
        assert refused.status_code == 400
        assert words in refused.json()["message"]
