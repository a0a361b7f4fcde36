"""The registry: versions, the gate's decisions about them, and what is found of them later."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow.artifacts
import pytest
import torch

from ganlib.errors import UserError
from ganlib.evaluation.comparison import Comparison
from ganlib.evaluation.record import Evaluation
from ganlib.packaging import ImageGenerator, generator_sha256
from pipelines import paths
from pipelines.registry.gate import NotComparable, blaming_the_champion
from pipelines.registry.register import Contest, logged_evaluation, register
from pipelines.registry.verdict import Registration, Row, Verdict
from pipelines.registry.versions import download_generator
from pipelines.stages.shell import plain_errors
from pipelines.tracking import delivery, store
from pipelines.tracking.descriptions import sealed
from pipelines.tracking.runs import attach_run
from tests.mlflow_server import MlflowServer
from tests.registered import TAGS, compared, comparison, evaluation_of, gate_options, make_generator, state, submit
from tests.tracking_runs import training

pytestmark = pytest.mark.integration


def test_the_first_version_is_champion_and_belongs_to_the_original_run(project: Path) -> None:
    folder = make_generator(project / "generator", 1)
    digest = generator_sha256(folder)
    with training("k", "digits", run_name="r", params={"lr": "1"}) as log:
        log.metrics({"domain/fid": 3.0}, 64)
        log.made(digest)
    registration = submit(folder, 3.0)
    row = Row(name="domain/fid", challenger=3.0, passed=True, note="there is no champion to compare with")
    unmeasured = Row(name="near copies", note="not checked (not measured)")
    reason = "Promoted: there is no champion to compare with."
    assert registration == Registration(
        model_name="digits", version="1", aliases=("challenger", "champion"), metric="domain/fid", margin=0.05,
        confidence=0.95, champion_version=None, remeasured=False, generator_sha256=digest,
        verdict=Verdict(promoted=True, reason=reason, table=(row, unmeasured)),
    )  # fmt: skip
    found = state("digits")
    assert found["runs"] == ["original"]
    assert found["aliases"] == {"challenger": "1", "champion": "1"}
    client = store.connect()
    version = client.get_model_version("digits", "1")
    assert version.tags.items() >= {
        **TAGS, "generator_sha256": digest, "score": "3.0", "metric": "domain/fid", "measured_on": "ref1",
    }.items()  # fmt: skip
    assert client.get_run(version.run_id).data.tags["generator_sha256"] == digest
    assert version.tags["gate.reason"] == reason
    assert version.description == sealed(reason)


def test_a_generator_of_links_into_a_cache_is_registered_whole(project: Path, tmp_path: Path) -> None:
    """As DVC leaves it where its cache links (`cache.type symlink`)."""
    folder = make_generator(project / "generator", 1)
    digest = generator_sha256(folder)
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(tmp_path / f"cached{number}")
        path.symlink_to(tmp_path / f"cached{number}")
    assert submit(folder, 3.0).generator_sha256 == digest
    assert generator_sha256(download_generator("models:/digits@champion", tmp_path)) == digest


def test_contest(project: Path) -> None:
    one, two, three = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2, 3))
    first = submit(one, 3.0)
    before = state("digits")
    assert submit(one, 3.0) == first, "to run again changes nothing, not even the report"
    assert state("digits") == before

    worse = submit(two, 2.96)
    assert (worse.version, worse.verdict.promoted, worse.champion_version) == ("2", False, "1")
    assert (worse.verdict.table[0].challenger, worse.verdict.table[0].champion) == (2.96, 3.0)
    assert state("digits")["aliases"] == {"challenger": "2", "champion": "1"}
    assert state("digits")["versions"]["2"]["description"] == sealed(worse.verdict.reason)
    assert submit(two, 2.96) == worse

    better = submit(three, 2.0)
    assert (better.version, better.verdict.promoted, better.remeasured) == ("3", True, False)
    assert state("digits")["aliases"] == {"challenger": "3", "champion": "3"}
    assert better.aliases == ("challenger", "champion")
    assert submit(three, 2.0) == better

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
    assert second.remeasured
    assert submit(two, 4.0, measured_on="ref2", contest=contest).remeasured


def test_a_champion_that_cannot_be_compared_stays(project: Path) -> None:
    one, two = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2))
    submit(one, 3.0)

    def refuse(folder: Path) -> Comparison:
        raise NotComparable("generator makes images of size 16, the reference has 32; they cannot be compared")

    def stays(words: str, contest: Contest | None = None) -> None:
        found = submit(two, 0.1, contest=contest)
        assert found.verdict.reason.startswith("Not comparable with version 1: ")
        assert found.verdict.reason.endswith("; to promote it anyway: `gan promote 2 --reason …`.")
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
    stored.write_bytes(weights(one))
    code = stored.parents[1] / "ganlib" / "sampling.py"
    code.write_text(code.read_text() + "# changed")
    stays("its stored code is not the one that was registered")
    shutil.rmtree(stored.parents[2])
    stays("its files are missing")


def test_what_the_challenger_lacks_for_the_moment_is_no_verdict(project: Path) -> None:
    one, two = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2))
    submit(one, 3.0)

    def lack_weights(folder: Path) -> Comparison:
        raise UserError("weights-inception.pth: no network; bring the file")

    with pytest.raises(UserError, match="no network; bring the file"):
        submit(two, 0.1, contest=lack_weights)
    assert "gate.promoted" not in store.connect().get_model_version("digits", "2").tags
    assert submit(two, 0.1).verdict.promoted


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that holds a model card, but no model."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_no_verdict(project: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2))
    submit(one, 3.0)
    verdict = submit(two, 2.99).verdict
    before = state("digits")
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    with pytest.raises(UserError, match="No space left on device") as caught, plain_errors("register"):
        submit(two, 2.99)
    monkeypatch.undo()
    monkeypatch.chdir(project)
    assert "\n" not in str(caught.value)
    assert list(small_disk.iterdir()) == []
    assert state("digits") == before
    assert submit(two, 2.99).verdict == verdict


def test_what_this_machine_lacks_is_no_verdict(project: Path) -> None:
    one, two = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2))
    submit(one, 3.0)

    def starve(folder: Path) -> Comparison:
        with blaming_the_champion():
            ImageGenerator.load(folder)
            torch.empty(10**15, dtype=torch.uint8)
        raise AssertionError

    with pytest.raises(UserError, match=r"^register: out of memory"), plain_errors("register"):
        submit(two, 0.1, contest=starve)
    # A loop of links stands for whatever keeps a folder from being looked at.
    (stored,) = (
        path for path in (project / "mlruns").rglob("generator.safetensors") if path.read_bytes() == weights(one)
    )
    model = stored.parents[2]
    model.rename(model.with_name("elsewhere"))
    model.symlink_to(model)
    with pytest.raises(UserError, match=r"^register: Too many levels of symbolic links"), plain_errors("register"):
        submit(two, 0.1)
    assert "gate.promoted" not in store.connect().get_model_version("digits", "2").tags
    model.unlink()
    model.with_name("elsewhere").rename(model)
    assert submit(two, 0.1).verdict.promoted


def test_versions_and_runs_that_were_deleted_leave_no_figures(project: Path) -> None:
    one, two = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2))
    submit(one, 3.0)
    second = submit(two, 2.0)
    client = store.connect()
    client.delete_model_version("digits", "1")
    again = submit(two, 2.0)
    assert (again.verdict.promoted, again.champion_version) == (True, second.champion_version)
    assert logged_evaluation("digits", "1") is None
    client.delete_model_version_tag("digits", "2", "gate.reason")
    assert submit(two, 2.0).verdict.reason == second.verdict.reason


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
    for tag, value, whole in (("gate.margin", "wide", "0.05"), ("gate.metric", "beauty", "domain/fid")):
        store.connect().set_model_version_tag("digits", "1", tag, value)
        with pytest.raises(UserError, match=rf"^model digits, version 1: one of the tags .*{tag}.* is damaged"):
            submit(folder, 3.0)
        store.connect().set_model_version_tag("digits", "1", tag, whole)


@pytest.mark.parametrize("kind", ["a file", "a server"])
def test_the_card_of_a_version_is_brought_up_to_date(kind: str, project: Path, request: pytest.FixtureRequest) -> None:
    if kind == "a server":
        request.getfixturevalue("server")
    name = f"card-{kind[-1]}"
    folder = make_generator(project / "generator", 1)
    submit(folder, 3.0, name=name)
    submit(folder, 4.0, name=name, measured_on="ref2")
    model = Path(mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{name}/1", dst_path=str(project / "got")))
    (card,) = model.rglob("MODEL_CARD.md")
    assert card.read_text(encoding="utf-8") == f"# {name} 1, 4\n"
    assert generator_sha256(download_generator(f"models:/{name}/1", project / "again")) == generator_sha256(folder)


def test_what_is_found_later_stands_with_the_run_of_the_version(project: Path) -> None:
    folder = make_generator(project / "generator", 1)
    digest = generator_sha256(folder)

    def train(key: str) -> None:
        with training(key, "digits", run_name=key) as log:
            log.made(digest)

    train("first")
    submit(folder, 3.0)
    train("forced")
    with attach_run(experiment="digits", generator_sha256=digest, tags={}) as log:
        log.metrics({"people/error_rate": 0.4}, 0)
    client = store.connect()
    run = client.get_run(client.get_model_version("digits", "1").run_id)
    assert run.info.run_name == "first"
    assert run.data.metrics == {
        "people/error_rate": 0.4, "eval/domain/fid": 3.0, "eval/domain/fid_estimate": 3.0,
    }  # fmt: skip
    (repetition,) = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")
    assert repetition.info.run_name == "first · repetition"
    assert "generator_sha256" not in repetition.data.tags


@pytest.mark.parametrize("changed", ["the run", "the version"])
def test_a_description_that_a_person_has_changed_stays(changed: str, project: Path) -> None:
    folder = make_generator(project / "generator", 1)
    with training("k", "digits") as log:
        log.describe("Trained, not yet judged.")
        log.made(generator_sha256(folder))
    client, said = store.connect(), list[str]()

    def descriptions() -> dict[str, str]:
        version = client.get_model_version("digits", "1")
        run = client.get_run(version.run_id)
        return {"the run": run.data.tags["mlflow.note.content"], "the version": version.description}

    first = submit(folder, 3.0, say=said.append)
    ours = descriptions()
    assert ours == dict.fromkeys(ours, sealed(first.verdict.reason))
    words = f"{ours[changed]}\nThe fours look best. Anna"
    version = client.get_model_version("digits", "1")
    if changed == "the run":
        client.set_tag(version.run_id, "mlflow.note.content", words)
    else:
        client.update_model_version("digits", "1", description=words)
    again = submit(folder, 4.0, measured_on="ref2", say=said.append)
    assert again.verdict.reason != first.verdict.reason
    assert descriptions() == {**dict.fromkeys(ours, sealed(again.verdict.reason)), changed: words}
    (told,) = said
    assert told.endswith("it stays")


def test_the_local_store_is_not_called_one_of_the_users_choice(project: Path) -> None:
    submit(make_generator(project / "generator", 1), 3.0)
    assert not store.configured()


def weights(folder: Path) -> bytes:
    return (folder / "generator.safetensors").read_bytes()


def test_an_evaluation_of_something_else_is_refused(project: Path) -> None:
    one, two = (make_generator(project / f"generator{seed}", seed) for seed in (1, 2))

    def attempt(evaluation: Evaluation) -> None:
        register(
            options=gate_options(), experiment="m", generator_folder=one, write_card=lambda *_: project,
            evaluation=evaluation, background=(0, 0, 0), tags={}, contest=lambda _: comparison(compared(1, 2)),
            describe=lambda *_: "",
        )  # fmt: skip

    with pytest.raises(UserError, match=r"^register\.metric=domain/fid: not in .*found: inception/fid; evaluate again"):
        attempt(evaluation_of(one, 1.0, metric="inception/fid"))
    with pytest.raises(UserError, match=r"^reports/evaluation\.json: describes another generator"):
        attempt(evaluation_of(two, 1.0))
    assert store.connect().search_registered_models() == []


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


def test_experiments_are_found_again(project: Path) -> None:
    client = store.connect()
    first = delivery.find_or_create_experiment(client, "odd name/with: signs")
    assert delivery.find_or_create_experiment(client, "odd name/with: signs") == first
