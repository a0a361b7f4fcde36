"""The registered model with nothing but its own files: loaded alone, and served."""

import asyncio
import base64
import io
import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from ganlib.packaging import ImageGenerator, generator_sha256
from pipelines.registry import versions
from pipelines.registry.versions import download_generator
from pipelines.tracking import store
from tests.registered import make_generator, submit

pytestmark = pytest.mark.integration

FRESH = """
import json
import sys
sys.path.append(sys.argv[1])
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[2])
(answer,) = model.predict([{"labels": ["two", "zero"], "seed": 7}])
unwanted = {"ganlib", "torchvision", "torch_fidelity", "dvc", "prefect", "pipelines"} & set(sys.modules)
print("answer", json.dumps(answer))
print("code", *{module.__file__ for name, module in sys.modules.items() if name.endswith(".packaging")
                and name.startswith("ganlib")})
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
    assert (model_folder / "artifacts/MODEL_CARD.md").read_text() == "# digits 1, 3\n"
    for path in project.iterdir():
        if path.name.startswith(("generator", "mlruns", "mlflow")):
            path.rename(tmp_path / f"away-{path.name}")
    # Isolated, and without .pth files: an editable install of the repository cannot be seen.
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", FRESH, str(Path(httpx.__file__).parents[1]), str(model_folder)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = dict(line.split(" ", 1) for line in ran.stdout.splitlines() if " " in line)
    assert told["code"].startswith(str(model_folder))
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


def test_versions_with_different_code_in_one_process(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second version's code draws negatives; the installed ganlib, imported above, is that of the first."""
    import mlflow

    folders = [make_generator(project / f"generator{seed}", seed) for seed in (1, 2)]
    submit(folders[0], 3.0)
    other = project / "other" / "ganlib"
    shutil.copytree(versions.PACKAGE, other, ignore=shutil.ignore_patterns("__pycache__"))
    with (other / "packaging.py").open("a") as code:
        code.write(
            "\n_positive = ImageGenerator.draw\n"
            "ImageGenerator.draw = lambda self, *rows: 255 - _positive(self, *rows)\n"
        )
    monkeypatch.setattr(versions, "PACKAGE", other)
    submit(folders[1], 2.0)
    shutil.rmtree(other)

    before, path = {name for name in sys.modules if name.partition(".")[0] == "ganlib"}, list(sys.path)
    # One after the other: MLflow keeps the model that it is loading in a global of its own.
    models = [mlflow.pyfunc.load_model(f"models:/digits/{number}") for number in (1, 2, 1, 2)]
    request = {"labels": ["two", "zero"], "seed": 7}
    first = ImageGenerator.load(folders[0]).sample(seed=7, labels=[2, 0])
    second = 255 - ImageGenerator.load(folders[1]).sample(seed=7, labels=[2, 0])
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda model: model.predict([request])[0], models * 2))
    for answer, expected in zip(answers, (first, second, first, second) * 2, strict=True):
        np.testing.assert_array_equal([decoded(png) for png in answer["images"]], expected[..., 0])
    assert {name for name in sys.modules if name.partition(".")[0] == "ganlib"} == before
    assert sys.path == path


def test_what_mlflow_shows_of_the_model(project: Path) -> None:
    """Quality figures on the model's page, the newest last; and a signature that asks for no more than the code."""
    import mlflow

    folder = make_generator(project / "generator", 1)
    submit(folder, 3.0)
    client = store.connect()
    version = client.get_model_version("digits", "1")

    def shown() -> dict[str, float]:
        metrics = client.get_logged_model(version.source.removeprefix("models:/")).metrics
        return {each.key: each.value for each in sorted(metrics, key=lambda each: each.timestamp)}

    assert shown() == {"eval/domain/fid": 3.0, "eval/domain/fid_estimate": 3.0}
    assert client.get_run(version.run_id).data.metrics == shown()
    submit(folder, 3.5, measured_on="ref2")
    assert shown() == {"eval/domain/fid": 3.5, "eval/domain/fid_estimate": 3.5}
    signature = mlflow.models.get_model_info("models:/digits/1").signature
    (request,) = signature.inputs.input_types()
    assert {each.name: each.required for each in request.properties} == dict.fromkeys(
        ("count", "labels", "seed", "truncation", "toward_seed", "mix", "rejection"), False
    )
    (answer,) = signature.outputs.input_types()
    assert {each.name for each in answer.properties} == {"images", "labels", "seed"}


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
