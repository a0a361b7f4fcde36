"""`gan reproduce`: a registered version made again from what the registry and git hold, and the two compared."""

import getpass
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

import yaml

from ganlib.config import InitialisationOptions, load_config, read_record
from ganlib.datasets.packed.reading import open_packed
from ganlib.errors import UserError
from ganlib.evaluation.record import Evaluation, Figure, Interval
from ganlib.packaging import generator_sha256
from pipelines import paths
from pipelines.comparing.attestation import PREDICATE, STATEMENT, PrivateKey, key_id, sign, signing_key
from pipelines.comparing.figures import is_sure
from pipelines.git import act, git
from pipelines.graph import worktree
from pipelines.graph.locking import hold
from pipelines.graph.repro import make_anew
from pipelines.registry.choosing import Chosen, choose
from pipelines.registry.gate import NotComparable, Opponent, decide
from pipelines.registry.starting_point import is_registered, starting_point
from pipelines.registry.versions import download_generator
from pipelines.report.meanings import in_order
from pipelines.stages.contest import contest
from pipelines.stages.extraction import prepare_evaluation
from pipelines.stages.shell import write_bytes
from pipelines.tracking.artifacts import Unusable
from pipelines.tracking.delivery import GENERATOR_SHA256
from pipelines.tracking.lineage import data_sha256
from pipelines.tracking.machine import Machine, machine
from pipelines.tracking.runs import MACHINE, PATCH, TRAINING_ARTIFACTS, deliver_pending

Verdict = Literal["identical", "equivalent", "different"]
# The stage whose result is compared; what it depends on is made with it, and nothing is registered.
LAST_STAGE = "evaluate"
ARTIFACTS = "reproductions"
_RESULTS: dict[Verdict, str] = {"identical": "PASSED", "equivalent": "WARNED", "different": "FAILED"}
# Kept by content, so that a copy need not be fetched again.
_SHARED = (paths.WEIGHTS, paths.DOWNLOADS, paths.STARTING_POINT)
_SHORT = 8
_MODEL_URI = re.compile(r"models:/([^@/]+)[@/]([^@/]+)")
_Found = TypeVar("_Found")
Say = Callable[[str], None]


@dataclass(frozen=True)
class Pair:
    """A figure as recorded and as made again; None: not there."""

    name: str
    recorded: Figure | None
    again: Figure | None


@dataclass(frozen=True)
class Reproduction:
    """What became of it.

    Attributes:
        what: was reproduced, for people.
        verdict: identical: the same bits; equivalent: another generator, which the gate's comparison finds as good and
            as bad; different: it does not, or could not look.
        why: in a sentence.
        generators: hash of the recorded generator and of the one made again.
        data: the same of the packed images.
        figures: of both.
        surroundings: what differs of libraries and hardware: name -> (then, now).
        notes: what was not recorded.
    """

    what: str
    verdict: Verdict
    why: str
    generators: tuple[str, str]
    data: tuple[str, str]
    figures: tuple[Pair, ...]
    surroundings: Mapping[str, tuple[str, str]]
    notes: tuple[str, ...]


def reproduce(home: Path, wanted: str, *, attest: Path | None = None, say: Say) -> Reproduction:
    """Make a version again, with its own code, parameters and data, in a worktree that is thrown away.

    Args:
        home: the project's folder; whatever is checked out there.
        wanted: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or an alias or version of the project's model.
        attest: a file to write a signed statement of the outcome to.
        say: hears what is done.

    Raises:
        UserError: no such version, what it needs is nowhere, or there is no key to sign with.
        StageFailed: a stage failed.
    """
    home = home.resolve()
    key = None if attest is None else signing_key()
    config = load_config(home / paths.PARAMS)
    deliver_pending()
    model, name = _parsed(wanted, config.register_.model_name)
    (chosen,) = choose(config.tracking.experiment, model, [name])
    version = chosen.version
    if version is None:
        raise UserError(f"{wanted}: is no registered version; `gan history` lists those of model {model}")
    what = f"{model}, version {version.version}"
    commit = version.tags.get("git_commit")
    if commit is None:
        raise UserError(f"{what}: records no git commit, so its code is unknown")
    if git("cat-file", "-e", f"{commit}^{{commit}}", project=home) is None:
        raise UserError(
            f"{what}: its commit {commit[:_SHORT]} is not in this repository; `git fetch` the one that has it"
        )
    root = home / paths.OWN_SCRATCH / "reproductions" / f"{model}-{version.version}"
    project = root / act("rev-parse", "--show-prefix", project=home, doing=what)
    with hold(root.with_name(f"{root.name}.lock"), on_wait=say):
        say(f"{what}: worktree at commit {commit[:_SHORT]}")
        with worktree.one_at_a_time(home):
            worktree.add(home, root, project, ("--detach", "--", str(root), commit), doing=what)
        notes = list(_restore_changes(chosen, root, project, what))
        _make_again(home, project, say=say)
        found = _compare(chosen, what, project, tuple(notes), say)
        if found.verdict == "identical":
            with worktree.one_at_a_time(home):
                worktree.remove(home, root)
        else:
            say(f"{what}: all that was made again is in {root.relative_to(home)}")
    _log(chosen, found)
    if attest is not None and key is not None:
        _attest(chosen, found, commit, key, attest)
        say(f"{what}: {attest} is signed by the key {key_id(key.public_key())[:_SHORT]}, and kept with the version")
    return found


def _parsed(wanted: str, model: str) -> tuple[str, str]:
    """A model, and its alias or version."""
    if not wanted.startswith("models:"):
        return model, wanted
    found = _MODEL_URI.fullmatch(wanted)
    if found is None:
        raise UserError(f"VERSION={wanted}: expected models:/NAME@ALIAS or models:/NAME/VERSION")
    return found[1], found[2]


def _restore_changes(chosen: Chosen, root: Path, project: Path, what: str) -> Iterator[str]:
    """Bring back what was not committed when the version was trained; gives what cannot be."""
    assert chosen.version is not None
    if chosen.version.tags.get("git_dirty") != "true":
        return
    with tempfile.TemporaryDirectory() as folder:
        patch = Path(folder, PATCH)
        if _fetched(chosen, PATCH, lambda file: shutil.copy(file, patch)) is not None:
            act("apply", "--binary", "--whitespace=nowarn", str(patch), project=root, doing=f"{what}: its changes")
            return
    yield "trained with uncommitted changes that were not recorded"
    if _fetched(chosen, paths.PARAMS.name, lambda file: shutil.copy(file, project / paths.PARAMS)) is None:
        yield "its parameters were not recorded either"


def _make_again(home: Path, project: Path, *, say: Say) -> None:
    """Every stage but the last, in a store and scratch space of its own."""
    parameters = yaml.safe_load((project / paths.PARAMS).read_text(encoding="utf-8"))  # maybe those of older code
    start = parameters["train"].get("init_from")
    if start is not None and is_registered(start["source"]):
        starting_point(InitialisationOptions.model_validate(start), home / paths.STARTING_POINT)
    (project / paths.OWN_SCRATCH).mkdir(exist_ok=True)
    for place in _SHARED:
        (home / place).mkdir(parents=True, exist_ok=True)
        (project / paths.OWN_SCRATCH / place.name).symlink_to(home / place)
    worktree.restore(home, project, say=say)
    make_anew(project, LAST_STAGE, on_line=say, env={"MLFLOW_TRACKING_URI": "", "DVC_ROOT": str(project)})


def _compare(chosen: Chosen, what: str, project: Path, notes: tuple[str, ...], say: Say) -> Reproduction:
    assert chosen.version is not None
    tags = chosen.version.tags
    digests = tags[GENERATOR_SHA256], generator_sha256(project / paths.GENERATOR)
    data = tags.get("data_sha256", ""), data_sha256(open_packed(project / paths.PROCESSED))
    evaluation = _evaluation(project / paths.EVALUATION)
    recorded = _fetched(chosen, paths.EVALUATION.name, _evaluation, folder=paths.EVALUATION_ARTIFACTS)
    then = _fetched(chosen, MACHINE, lambda file: read_record(Machine, file, "train").root)
    verdict: Verdict = "identical"
    why = "the generator is the same, bit for bit"
    if digests[0] != digests[1]:
        say(f"{what}: another generator; comparing the two as the gate does")
        verdict, why = _meet(what, f"models:/{chosen.version.name}/{chosen.version.version}", project, evaluation)
    left_out = [
        *([] if recorded and evaluation else ["no record of its figures that this version of ganlib can read"]),
        *([] if then else ["its libraries and hardware were not recorded"]),
    ]
    return Reproduction(
        what, verdict, why, digests, data, tuple(_pairs(recorded, evaluation)), _apart(then), (*notes, *left_out)
    )


def _meet(what: str, uri: str, project: Path, evaluation: Evaluation | None) -> tuple[Verdict, str]:
    """The gate's paired comparison of the generator made again with the recorded one."""
    if evaluation is None:
        return "different", "another generator, whose figures cannot be read, so that the two were not compared"
    try:
        config = load_config(project / paths.PARAMS)
        with tempfile.TemporaryDirectory() as folder:
            recorded = download_generator(uri, Path(folder))
            with chdir(project):
                device = prepare_evaluation(config.evaluate)
                data = open_packed(paths.PROCESSED)
                comparison = contest(paths.GENERATOR, recorded, config, data, device, notify=lambda _text: None)
    except (NotComparable, UserError) as error:
        return "different", f"another generator, and the two cannot be compared ({error})"
    row = decide(config.register_, evaluation, Opponent(what, comparison, remeasured=False)).table[0]
    apart: Interval | None = row.difference
    if apart is None:
        return "different", f"another generator, and {row.name} cannot tell the two apart or alike"
    told = f"{row.name} differs by {apart.estimate:.3g} ({apart.low:.3g} to {apart.high:.3g})"
    if is_sure(apart):
        return "different", f"another generator: {told}"
    return "equivalent", f"another generator, as good within chance: {told}"


def _pairs(recorded: Evaluation | None, again: Evaluation | None) -> Iterator[Pair]:
    then, now = ({} if each is None else each.metrics for each in (recorded, again))
    for name in in_order({*then, *now}):
        yield Pair(name, then.get(name), now.get(name))


def _apart(then: Mapping[str, str] | None) -> dict[str, tuple[str, str]]:
    now = machine()
    return {
        name: (then.get(name, "none"), now.get(name, "none"))
        for name in dict.fromkeys([*(then or {}), *now])
        if then is not None and then.get(name) != now.get(name)
    }


def _evaluation(path: Path) -> Evaluation | None:
    """None for one of other code, whose record this code cannot read."""
    try:
        return Evaluation.read(path)
    except UserError:
        return None


def _fetched(
    chosen: Chosen, name: str, read: Callable[[Path], _Found], *, folder: str = TRAINING_ARTIFACTS
) -> _Found | None:
    """What the version's run has of this name; None where it has nothing."""
    try:
        return chosen.artifacts.read(PurePosixPath(folder, name), read)
    except Unusable:
        return None


def _told(found: Reproduction) -> dict[str, object]:
    """The outcome for programs."""
    return {
        "verdict": found.verdict,
        "why": found.why,
        "generator_sha256": found.generators,
        "data_sha256": found.data,
        "surroundings_that_differ": found.surroundings,
        "notes": found.notes,
        "machine": machine(),
    }


def _log(chosen: Chosen, found: Reproduction) -> None:
    """Keep the outcome with the version's run."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{found.verdict}.json")
        file.write_text(json.dumps(_told(found), indent=2) + "\n", encoding="utf-8")
        chosen.artifacts.log(file, ARTIFACTS)


def _attest(chosen: Chosen, found: Reproduction, commit: str, key: PrivateKey, target: Path) -> None:
    """Write the signed statement, and keep it with the version's run."""
    assert chosen.version is not None
    statement = {
        "_type": STATEMENT,
        "subject": [
            {
                "name": f"models:/{chosen.version.name}/{chosen.version.version}",
                "digest": {"sha256": found.generators[0]},
            }
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "result": _RESULTS[found.verdict],
            "configuration": [
                {"name": "commit", "digest": {"gitCommit": commit}},
                {"name": "data", "digest": {"sha256": found.data[0]}},
            ],
            "reproduction": {
                **_told(found),
                "by": _who(),
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        },
    }
    write_bytes(target, sign(statement, key).encode())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{found.verdict}-{key_id(key.public_key())[:_SHORT]}.dsse.json")
        shutil.copy(target, file)
        chosen.artifacts.log(file, ARTIFACTS)


def _who() -> str:
    """As git knows the person, else the account."""
    name, email = git("config", "user.name"), git("config", "user.email")
    return f"{name} <{email}>" if name and email else getpass.getuser()


def show_statement(statement: Mapping[str, Any], by: str) -> None:
    """Print what a verified statement says, in a few lines."""
    (subject,), told = statement["subject"], statement["predicate"]["reproduction"]
    lines = (
        f"Signed by {by}: the signature is valid.",
        f"{subject['name']}, generator {subject['digest']['sha256'][:12]}: {told['verdict']}: {told['why']}.",
        f"Made again by {told['by']}, {told['at']}.",
    )
    sys.stdout.write("\n".join(lines) + "\n")


def show(found: Reproduction) -> None:
    """Print the verdict and what it rests on."""
    from rich.table import Table

    from pipelines.console import plain_console
    from pipelines.report.rounding import span

    console = plain_console(120)
    table = Table("", "recorded", "made again", "", title=f"{found.what}: {found.verdict}", title_justify="left")
    for name, (then, now) in (("generator", found.generators), ("data", found.data)):
        table.add_row(name, then[:12] or "not recorded", now[:12], _alike(then == now))
    for pair in found.figures:
        cells = ("" if each is None else f"{each.value:.6g}" for each in (pair.recorded, pair.again))
        table.add_row(pair.name, *cells, _judged(pair, span))
    for name, (then, now) in found.surroundings.items():
        table.add_row(name, then, now, "differs")
    console.print(table)
    for note in found.notes:
        console.print(f"Note: {note}.", soft_wrap=True)
    console.print(f"{found.verdict.capitalize()}: {found.why}.", soft_wrap=True)
    sys.stdout.flush()


def _alike(same: bool) -> str:
    return "same" if same else "differs"


def _judged(pair: Pair, span: Callable[[Interval], str]) -> str:
    if pair.recorded is None or pair.again is None:
        return "on one side only"
    if pair.recorded.value == pair.again.value:
        return "same"
    theirs, ours = pair.recorded.interval, pair.again.interval
    if theirs is None or ours is None:
        return "differs"
    return f"{'within' if theirs.low <= ours.estimate <= theirs.high else 'outside'} {span(theirs)}"
