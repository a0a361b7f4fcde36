"""A served model gives the images that the registered model gives, within the operator's limits."""

import base64
import io
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from ganlib.marking import pixels_sha256, read_origin
from ganlib.packaging import ImageGenerator
from ganlib.remaking import remake
from pipelines.provenance.made import find
from pipelines.serving.limits import MOST_BODY_BYTES
from tests.serving import LIMITS, serving

pytestmark = pytest.mark.integration
JSON = {"content-type": "application/json"}


def pixels(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)))


def test_the_same_request_gives_the_same_bytes_everywhere(registered: Path) -> None:
    """By MLflow in Python, by its own server's request, as PNG; alone, and among 64 others that are drawn with it."""
    import mlflow

    model = mlflow.pyfunc.load_model("models:/digits@champion")
    asked = [{"labels": ["two"], "seed": seed, "truncation": 0.9} for seed in range(64)]
    (expected,) = model.predict([asked[7]])
    generator = ImageGenerator.load(registered / "digits")
    with serving() as served:
        alone = served.get("/sample", seed=7, label="two").content
        assert base64.b64encode(alone).decode() == expected["images"][0]
        assert served.post(asked[7]).json() == {"predictions": [expected]}
        with ThreadPoolExecutor(64) as pool:
            many = list(pool.map(lambda seed: served.get("/sample", seed=seed, label=2).content, range(64)))
        assert many[7] == alone
        assert len({*many}) == 64
        together = served.post(*asked).json()["predictions"]
        assert [each["images"] for each in together] == [[base64.b64encode(file).decode()] for file in many]
        drawn = generator.sample(seed=3, count=5, truncation=0.5)
        grid = pixels(served.get("/sample", seed=3, n=5, truncation=0.5).content)
        np.testing.assert_array_equal(grid[:16, :16], drawn[0, :, :, 0])
        np.testing.assert_array_equal(grid[17:, 17:33], drawn[4, :, :, 0])
        ends = [pixels(served.get("/sample", seed=1, toward_seed=9, mix=mix).content) for mix in (0, 0.5, 1)]
        np.testing.assert_array_equal(ends[0], pixels(served.get("/sample", seed=1).content))
        assert (ends[1] != ends[0]).any()
        assert (ends[1] != ends[2]).any()
        entry = find([pixels_sha256(pixels(many[7])[:, :, None])])
        assert [(each.by, each.request["seed"]) for each in entry.values()] == [("gan serve", 7)]
        again = httpx.get(f"{served.address}/sample", headers={"if-none-match": served.get("/sample").headers["etag"]})
        assert again.status_code == 304
        page = served.get("/metrics").text
        assert 'ganlib_requests_total{path="/sample",status="200"} 7' in page
        assert 'ganlib_model{name="digits"' in page
        assert float(page.split("ganlib_batch_images_sum ")[1].split()[0]) >= 64 + 64 + 5


@pytest.mark.usefixtures("registered")
def test_samples_that_the_critic_refuses(registered: Path) -> None:
    """Others take their place, the same ones everywhere; marks tell which, and no client can have less of it."""
    import mlflow

    asked = {"labels": ["two"] * 9, "seed": 3, "rejection": 0.5, "truncation": 0.9}
    (expected,) = mlflow.pyfunc.load_model("models:/digits@champion").predict([asked])
    generator = ImageGenerator.load(registered / "digits")
    with serving(replace(LIMITS, rejection=0.5)) as served:
        assert served.post(asked).json() == {"predictions": [expected]}
        one, nine = (served.get("/sample", seed=3, label="two", n=count).content for count in (1, 9))
        assert base64.b64encode(one).decode() == expected["images"][0]
        refused = served.get("/sample", rejection=0.4)
        assert (refused.status_code, "rejection 0.4 is below 0.5" in refused.text) == (422, True)
        assert served.get("/model").json()["least_rejection"] == 0.5
    with serving(LIMITS) as free:
        assert free.get("/sample", seed=3, label="two", n=9, rejection=0.5).content == nine
        assert (pixels(free.get("/sample", seed=3, label="two", n=9).content) != pixels(nine)).any()
    for file in (*(base64.b64decode(image) for image in expected["images"]), nine):
        origin = read_origin(Image.open(io.BytesIO(file)))
        assert origin is not None
        np.testing.assert_array_equal(remake(generator, origin.request)[..., 0], pixels(file))
    assert 0 < sum(attempt > 0 for attempt in origin.request["attempts"]) < 9
    with serving(replace(LIMITS, rejection=0.5), model="models:/things@champion") as without:
        answer = without.get("/sample")
        assert (answer.status_code, "without its critic" in answer.json()["error"]) == (422, True)


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.usefixtures("registered")
def test_what_cannot_be_drawn_is_one_line(conditional: bool) -> None:
    model = "digits" if conditional else "things"
    with serving(replace(LIMITS, images=8), model=f"models:/{model}@champion") as served:
        for query, words in (
            ({"n": 9}, "9 images asked for; this server draws at most 8"),
            ({"n": 0}, "n: Input should be greater than or equal to 1"),
            ({"seed": "x"}, "seed: Input should be a valid integer"),
            ({"seed": -1}, "seed: Input should be greater"),
            ({"truncation": 0.95}, "truncation 0.95 is above 0.9, this server's highest"),
            ({"truncation": "nan"}, "truncation: Input should be"),
            ({"toward_seed": 3}, "give toward_seed and mix together"),
            ({"sede": 3}, "sede: Extra inputs are not permitted"),
            ({"label": "nine"}, "no class 'nine'; expected some of zero" if conditional else "is unconditional"),
            ({"label": "3"}, "no class '3'" if conditional else "is unconditional"),
        ):
            answer = served.get("/sample", **query)
            assert answer.status_code == 422, query
            assert list(answer.json()) == ["error"]
            assert words in answer.json()["error"]
        assert served.post({"count": 2, "labels": ["two"]}).status_code == 422
        assert served.get("/sample", truncation=5e-324, toward_seed=1, mix=0).status_code == 200
        for path in ("/nothing", "/static/../app.py", "/static/%2e%2e/app.py", "/docs"):
            assert httpx.get(served.address + path).status_code == 404
        assert served.get("/sample").status_code == 200


@pytest.mark.usefixtures("registered")
def test_strangers_and_floods_are_turned_away() -> None:
    with serving(replace(LIMITS, requests_per_minute=5, timeout_s=0.5)) as served:
        host, port = served.address.removeprefix("http://").split(":")

        def raw(text: str) -> str:
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(text.encode())
                return connection.recv(4096).decode()

        foreign = httpx.get(f"{served.address}/sample", headers={"host": "evil.example"})
        assert (foreign.status_code, "not served here" in foreign.json()["error"]) == (421, True)
        posted = "POST /invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        assert " 413 " in raw(f"{posted}Content-Length: {MOST_BODY_BYTES + 1}\r\n\r\n")
        assert " 408 " in raw(f"{posted}Content-Length: 100\r\n\r\nslow")
        malformed = httpx.post(f"{served.address}/invocations", content=b'{"inp', headers=JSON)
        assert (malformed.status_code, "not JSON" in malformed.json()["error"]) == (400, True)
        assert httpx.post(f"{served.address}/invocations", content=b"{}").status_code == 415
        slow = [socket.create_connection((host, int(port))) for _ in range(200)]
        for connection in slow:
            connection.sendall(b"GET /sample HTTP/1.1\r\nHost: 127")
        statuses = [served.get("/sample").status_code for _ in range(4)]
        for connection in slow:
            connection.close()
        # Four of the requests before came as far as being counted.
        assert statuses == [200, 429, 429, 429]
        assert int(served.get("/sample").headers["retry-after"]) > 0
        assert served.get("/health").status_code == 200


@pytest.mark.usefixtures("registered")
def test_openapi_describes_what_there_is() -> None:
    with serving() as served:
        described = served.get("/openapi.json").json()
    assert set(described["paths"]) == {"/sample", "/invocations", "/model", "/health", "/metrics"}
    problem = described["paths"]["/sample"]["get"]["responses"]["422"]["content"]["application/json"]["schema"]
    assert problem == {"$ref": "#/components/schemas/Problem"}
