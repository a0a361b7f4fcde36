import asyncio
import base64
import io
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import mlflow.artifacts
import numpy as np
import pytest
from PIL import Image

from ganlib.errors import UserError
from ganlib.evaluation.comparison import Comparison
from ganlib.evaluation.record import Evaluation
from ganlib.packaging import ImageGenerator, generator_sha256
from pipelines import mlflow_delivery, mlflow_store, paths
from pipelines.gate import NotComparable
from pipelines.registry import Contest, logged_evaluation, register
from pipelines.tracking import attach_run, training_run
from pipelines.verdict import Registration, Row, Verdict
from pipelines.versions import download_generator
from tests.mlflow_server import MlflowServer, free_port
from tests.registered import TAGS, compared, comparison, evaluation_of, gate_options, make_generator, state, submit

pytestmark = pytest.mark.integration


def test_the_first_version_is_champion_and_belongs_to_the_original_run(project: Path) -> None:
    folder = make_generator(project / "generator", 1)
    digest = generator_sha256(folder)
    with training_run(experiment="digits", run_key="k", run_name="r", params={"lr": 1}, tags={}, dataset=None) as log:
        log.metrics({"domain/fid": 3.0}, 64)
        log.tags({"generator_sha256": digest})
    registration = submit(folder, 3.0)
    row = Row(name="domain/fid", challenger=3.0, passed=True, note="there is no champion to compare with")
    unmeasured = Row(name="near copies", note="not looked at (not measured)")
    reason = (
        "There is no champion to compare with. domain/fid 3. Guards: near copies: not looked at (not measured). "
        "Measured on 500 held-out images and 5000 generated."
    )
    assert registration == Registration(
        model_name="digits", version="1", aliases=("challenger", "champion"), metric="domain/fid", margin=0.05,
        confidence=0.95, champion_version=None, remeasured=False, generator_sha256=digest,
        verdict=Verdict(promoted=True, reason=reason, table=(row, unmeasured)),
    )  # fmt: skip
    found = state("digits")
    assert found["runs"] == ["original"]
    assert found["aliases"] == {"challenger": "1", "champion": "1"}
    client = mlflow_store.connect()
    version = client.get_model_version("digits", "1")
    assert version.tags.items() >= {
        **TAGS, "generator_sha256": digest, "score": "3.0", "metric": "domain/fid", "measured_on": "ref1",
    }.items()  # fmt: skip
    assert client.get_run(version.run_id).data.tags["generator_sha256"] == digest
    assert version.description == version.tags["gate.reason"] == reason


def test_contest(project: Path) -> None:
    one, two, three = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2, 3))
    first = submit(one, 3.0)
    before = state("digits")
    again = submit(one, 3.0)
    assert state("digits") == before
    assert again.version == "1"
    assert again.verdict.reason == f"Already the champion. {first.verdict.reason}"
    assert again.verdict.table == first.verdict.table

    worse = submit(two, 2.96)
    assert (worse.version, worse.verdict.promoted, worse.champion_version) == ("2", False, "1")
    assert (worse.verdict.table[0].challenger, worse.verdict.table[0].champion) == (2.96, 3.0)
    assert state("digits")["aliases"] == {"challenger": "2", "champion": "1"}
    assert state("digits")["versions"]["2"]["description"] == worse.verdict.reason
    assert submit(two, 2.96) == worse

    better = submit(three, 2.0)
    assert (better.version, better.verdict.promoted, better.remeasured) == ("3", True, False)
    assert state("digits")["aliases"] == {"challenger": "3", "champion": "3"}
    assert better.aliases == ("challenger", "champion")
    assert submit(three, 2.0).verdict.table == better.verdict.table

    back = submit(one, 3.0)
    assert (back.version, back.verdict.promoted, back.aliases) == ("1", False, ("challenger",))
    assert state("digits")["aliases"] == {"challenger": "1", "champion": "3"}


def test_the_contest_is_with_the_champion_that_was_registered(project: Path) -> None:
    one, two = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2))
    submit(one, 1.0)
    met = []

    def contest(folder: Path) -> Comparison:
        met.append(generator_sha256(folder))
        return comparison(compared(4.0, 5.0))

    second = submit(two, 4.0, measured_on="ref2", contest=contest)
    assert met == [generator_sha256(one)]
    assert second.verdict.promoted
    assert second.remeasured
    assert second.verdict.reason.endswith("Version 1 was measured again, as data, settings or code have changed since.")
    assert submit(two, 4.0, measured_on="ref2", contest=contest).remeasured


def test_a_champion_that_cannot_be_compared_stays(project: Path) -> None:
    one, two = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2))
    submit(one, 3.0)

    def refuse(folder: Path) -> Comparison:
        raise NotComparable("generator makes images of size 16, the reference has 32; they do not compare")

    def stays(words: str, contest: Contest | None = None) -> None:
        found = submit(two, 0.1, contest=contest)
        assert found.verdict.reason.startswith("Not comparable with version 1: ")
        assert found.verdict.reason.endswith("; to promote it all the same: `gan promote 2 --reason …`.")
        assert words in found.verdict.reason
        assert "\n" not in found.verdict.reason
        assert (found.verdict.promoted, found.verdict.table, found.remeasured) == (False, (), False)
        assert state("digits")["aliases"] == {"challenger": "2", "champion": "1"}

    stays("generator makes images of size 16", refuse)
    (stored,) = (
        path for path in (project / "mlruns").rglob("generator.safetensors") if path.read_bytes() == weights(one)
    )
    stored.write_bytes(weights(two))
    stays("its stored generator is not the one that was registered")
    shutil.rmtree(stored.parents[2])
    stays("its files cannot be had (No such artifact: 'MLmodel')")


def test_what_the_challenger_lacks_for_the_moment_is_no_verdict(project: Path) -> None:
    one, two = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2))
    submit(one, 3.0)

    def lack_weights(folder: Path) -> Comparison:
        raise UserError("weights-inception.pth: no network; bring the file")

    with pytest.raises(UserError, match="no network; bring the file"):
        submit(two, 0.1, contest=lack_weights)
    assert "gate.promoted" not in mlflow_store.connect().get_model_version("digits", "2").tags
    assert submit(two, 0.1).verdict.promoted


def test_versions_and_runs_that_were_deleted_leave_no_figures(project: Path) -> None:
    one, two = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2))
    submit(one, 3.0)
    second = submit(two, 2.0)
    client = mlflow_store.connect()
    client.delete_model_version("digits", "1")
    again = submit(two, 2.0)
    assert (again.verdict.promoted, again.champion_version) == (True, second.champion_version)
    assert logged_evaluation("digits", "1") is None
    client.delete_model_version_tag("digits", "2", "gate.reason")
    assert submit(two, 2.0).verdict.reason.startswith("Already the champion. ")


def test_a_decision_is_told_in_the_terms_of_its_time(project: Path) -> None:
    folder = make_generator(project / "generator", 1)
    first = submit(folder, 3.0)
    stricter = gate_options(margin=2.5).model_copy(update={"confidence": 0.8})
    again = submit(folder, 3.5, measured_on="ref2", options=stricter)
    assert (again.metric, again.margin, again.confidence) == ("domain/fid", 0.05, 0.95)
    assert again.verdict.table == first.verdict.table
    assert again.verdict.reason == (
        "Already the champion. Settings, data or code have changed since the decision. " + first.verdict.reason
    )
    assert "have changed" not in submit(folder, 3.0).verdict.reason
    mlflow_store.connect().set_model_version_tag("digits", "1", "gate.margin", "wide")
    with pytest.raises(UserError, match=r"^model digits, version 1: the tag gate\.margin is damaged .*delete it on"):
        submit(folder, 3.0)


@pytest.mark.parametrize("store", ["a file", "a server"])
def test_the_card_of_a_version_is_brought_up_to_date(store: str, project: Path, request: pytest.FixtureRequest) -> None:
    if store == "a server":
        request.getfixturevalue("server")
    name = f"card-{store[-1]}"
    folder = make_generator(project / "generator", 1)
    submit(folder, 3.0, name=name)
    submit(folder, 4.0, name=name, measured_on="ref2")
    model = Path(mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{name}/1", dst_path=str(project / "got")))
    (card,) = model.rglob("MODEL_CARD.md")
    assert card.read_text(encoding="utf-8") == f"# {name}, 4\n"
    assert generator_sha256(download_generator(f"models:/{name}/1", project / "again")) == generator_sha256(folder)


def test_what_is_found_later_stands_with_the_run_of_the_version(project: Path) -> None:
    folder = make_generator(project / "generator", 1)
    digest = generator_sha256(folder)

    def train(key: str) -> None:
        with training_run(experiment="digits", run_key=key, run_name=key, params={}, tags={}, dataset=None) as log:
            log.tags({"generator_sha256": digest})

    train("first")
    submit(folder, 3.0)
    train("forced")
    with attach_run(experiment="digits", generator_sha256=digest, tags={}) as log:
        log.metrics({"people/error_rate": 0.4}, 0)
    client = mlflow_store.connect()
    run = client.get_run(client.get_model_version("digits", "1").run_id)
    assert run.info.run_name == "first"
    assert run.data.metrics == {"people/error_rate": 0.4}


def test_the_local_store_is_not_called_one_of_the_users_choice(project: Path) -> None:
    submit(make_generator(project / "generator", 1), 3.0)
    assert not mlflow_store.configured()


def weights(folder: Path) -> bytes:
    return (folder / "generator.safetensors").read_bytes()


def test_an_evaluation_of_something_else_is_refused(project: Path) -> None:
    one, two = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2))

    def attempt(evaluation: Evaluation) -> None:
        register(
            options=gate_options(), experiment="m", generator_folder=one, model_card=project / "card.md",
            evaluation=evaluation, tags={}, contest=lambda _: comparison(compared(1, 2)),
        )  # fmt: skip

    with pytest.raises(UserError, match=r"^register\.metric=domain/fid: not in .*found: inception/fid; evaluate again"):
        attempt(evaluation_of(one, 1.0, metric="inception/fid"))
    with pytest.raises(UserError, match=r"^reports/evaluation\.json: is about another generator"):
        attempt(evaluation_of(two, 1.0))
    assert mlflow_store.connect().search_registered_models() == []


def test_the_figures_that_a_champion_was_registered_with(project: Path) -> None:
    folder = make_generator(project / "generator", 1)
    evaluation = evaluation_of(folder, 3.0)
    submit(folder, 3.0)
    assert logged_evaluation("digits", None) is None
    assert logged_evaluation("digits", "1") is None
    paths.REPORTS.mkdir()
    evaluation.write(paths.EVALUATION)
    with attach_run(experiment="digits", generator_sha256=evaluation.generator_sha256, tags={}) as log:
        log.artifact(paths.EVALUATION, "evaluation")
    assert logged_evaluation("digits", "1") == evaluation


def test_two_at_once_make_one_version(server: MlflowServer, project: Path) -> None:
    folder = make_generator(project / "generator", 1)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: submit(folder, 3.0, name="at-once"), range(2)))
    assert [result.version for result in results] == ["1", "1"]
    assert list(state("at-once")["versions"]) == ["1"]


def test_a_registry_that_is_away(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UserError, match=r"no answer \(connection refused\); start it with"):
        submit(make_generator(project / "generator", 1), 3.0)


class Proxy:
    """A way to the server that breaks for good after a number of writes."""

    def __init__(self, target: str) -> None:
        self.writes: list[str] = []
        self.limit: int | None = None
        self.broken = False
        self.without_files = False
        proxy = self
        self._client = httpx.Client(base_url=target, timeout=30)

        class Handler(BaseHTTPRequestHandler):
            def forward(self) -> None:
                if not proxy.may_pass(self.command, self.path):
                    self.connection.close()
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
                answer = proxy._client.request(self.command, self.path, content=body, headers=headers)
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.uri = f"http://127.0.0.1:{self._server.server_port}"

    def may_pass(self, method: str, path: str) -> bool:
        if self.without_files and method == "GET" and "mlflow-artifacts" in path:
            return False
        reads = method == "GET" or "search" in path
        if self.limit is not None and (self.broken or (not reads and len(self.writes) >= self.limit)):
            self.broken = True
            return False
        if not reads:
            self.writes.append(f"{method} {path}")
        return True

    def break_after(self, writes: int) -> None:
        self.writes, self.limit, self.broken = [], writes, False

    def mend(self) -> None:
        self.limit = None

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._client.close()


@pytest.fixture
def proxy(server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    proxy = Proxy(server.uri)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    yield proxy
    proxy.stop()


def test_a_store_that_has_no_files_for_the_moment_is_no_verdict(proxy: Proxy, project: Path) -> None:
    one, two = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2))
    submit(one, 3.0, name="passing")
    proxy.without_files = True
    with pytest.raises(
        UserError, match=r"^MLFLOW_TRACKING_URI=http://127\.0\.0\.1:\d+: no answer \(connection broken\)"
    ):
        submit(two, 0.1, name="passing")
    assert state("passing")["aliases"] == {"challenger": "2", "champion": "1"}
    assert "gate.promoted" not in mlflow_store.connect().get_model_version("passing", "2").tags
    proxy.without_files = False
    assert submit(two, 0.1, name="passing").verdict.promoted


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_broken_off_at_any_write_and_run_again_ends_in_the_same_state(every: int, proxy: Proxy, project: Path) -> None:
    submit(make_generator(project / "whole", 0), 3.0, name="whole")
    expected = state("whole")
    kinds: dict[str, int] = {}
    for index, write in enumerate(proxy.writes):
        kinds.setdefault(re.sub(r"m-[0-9a-f]{32}|[0-9a-f]{32}|artifacts/.*", "*", write), index)
    assert len(kinds) > 10
    for number, limit in enumerate(sorted({*kinds.values(), len(proxy.writes) - 1})[::every]):
        name = f"broken-{number}"
        folder = make_generator(project / name, number + 1)
        proxy.break_after(limit)
        with pytest.raises(UserError, match="no answer") as caught:
            submit(folder, 3.0, name=name)
        assert "\n" not in str(caught.value)
        proxy.mend()
        for version in state(name)["versions"].values():
            assert version["tags"].items() >= {**TAGS, "score": "3.0", "metric": "domain/fid"}.items()
        registration = submit(folder, 3.0, name=name)
        assert registration.aliases == ("challenger", "champion")
        assert state(name) == expected, f"broken off at {limit}"


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


def test_experiments_are_found_again(project: Path) -> None:
    client = mlflow_store.connect()
    first = mlflow_delivery.find_or_create_experiment(client, "odd name/with: signs")
    assert mlflow_delivery.find_or_create_experiment(client, "odd name/with: signs") == first
