"""What DVC, Prefect and git add to the stages' own time: `python -m benchmarks.orchestration`.

A new project with the digits, a real server, a real work pool and a real worker with Prefect's own intervals; some
twelve minutes. Each row is printed when it is measured.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks.children import ROOT
from benchmarks.machine import machine_facts
from pipelines.graph.supervisor import signals_unwind
from tests.pipeline_project import Project, make_project
from tests.prefect_services import Services

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

RESULT = ROOT / "benchmarks" / "results" / "orchestration.md"
AIM_SHARE, AIM_NOTHING_TO_DO_S, AIM_HELP_S = 0.03, 8.0, 0.4
LONG_TRAINING_S = 180.0
SHORT_IMAGES = (1280, 25_600)  # of two flows; the difference of their trainings tells the rate
STEP_IMAGES = 640
FIRINGS, HELPS = 3, 10
AHEAD_S = 15.0  # of a firing it is made: a worker looks every 10 s, and takes what is due in the next 10 s
NEVER = "0 3 29 2 *"
# What a minute of evaluation would hide nothing of: the figures are not what is measured.
PARAMETERS: dict[str, Any] = {
    "extractor": {"total_images": 6400},
    "evaluate": {"samples": 1000, "kid_subsets": 10, "accuracy_score_images": None},
}
# Before and after each stage's process, on the machine's clock.
TIMED = """\
begun=$(date +%s.%N)
python -m "pipelines.stages.$1"
code=$?
echo "$1 $begun $(date +%s.%N)" >> "$2"
exit $code
"""
EXPLANATION = """\
A stage's own time is that of its process, `python -m pipelines.stages.NAME`, imports included. All the rest of the
command is overhead: Prefect, DVC, git, the checks before and the summary after. Short trainings are those of 1,280 and
25,600 images; what is added does not depend on the length. The server runs already. A scheduled run that finds nothing
to do works in a worktree at the commit, by a worker that looks for runs every 10 s, which is Prefect's default; the
time is from the moment that it was due to its final state."""


@dataclass(frozen=True)
class Timed:
    """A whole flow and its stages' processes, in seconds."""

    whole_s: float
    stages_s: Mapping[str, float]

    @property
    def added_s(self) -> float:
        """What the stages did not need."""
        return self.whole_s - sum(self.stages_s.values())


def prepare(root: Path) -> tuple[Project, Path]:
    """A project whose stages note when they begin and end, and the file they note it in."""
    project, notes = make_project(root / "project"), root / "notes"
    (project.root / "timed.sh").write_text(TIMED, encoding="utf-8")
    graph = yaml.safe_load((project.root / "dvc.yaml").read_text(encoding="utf-8"))
    for name, stage in graph["stages"].items():
        stage["cmd"] = f"sh timed.sh {name} {notes}"
    (project.root / "dvc.yaml").write_text(yaml.safe_dump(graph, sort_keys=False), encoding="utf-8")
    return project, notes


def set_parameters(project: Project, *, images: int, seed: int) -> None:
    """The default recipe but for its length and what is measured of it, committed."""
    values = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for section, changed in PARAMETERS.items():
        values[section] |= changed
    values["train"] |= {"total_images": images, "seed": seed}
    (project.root / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    project.git("add", "-A")
    project.git("commit", "-qm", f"{images} images, seed {seed}")


def whole_flow(project: Project, notes: Path, environment: Mapping[str, str], *, images: int, seed: int) -> Timed:
    """`gan run` after the parameters have changed."""
    set_parameters(project, images=images, seed=seed)
    notes.write_text("", encoding="utf-8")
    begun = time.monotonic()
    gan(project, environment, "run")
    whole_s = time.monotonic() - begun
    rows = [line.split() for line in notes.read_text(encoding="utf-8").splitlines()]
    timed = Timed(whole_s, {stage: float(end) - float(begun) for stage, begun, end in rows})
    stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in timed.stages_s.items())
    print(f"{images} images: {whole_s:.1f} s, of which {timed.added_s:.1f} s are no stage's ({stages})", flush=True)
    return timed


def gan(project: Project, environment: Mapping[str, str], *arguments: str) -> None:
    """Run a command; its output is shown where it fails."""
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    done = subprocess.run(command, cwd=project.root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")


def help_s() -> Iterator[float]:
    """Seconds of the installed command, after a first time that fills the caches."""
    command = [str(Path(sys.executable).with_name("gan")), "--help"]
    for index in range(1 + HELPS):
        begun = time.monotonic()
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        if index:
            yield time.monotonic() - begun


def firings(project: Project, services: Services) -> Iterator[float]:
    """Seconds from when a run that has nothing to do was due until it had ended; the first run of all has much."""
    from prefect.states import Scheduled

    from pipelines.flows.schedule import NAME

    gan(project, services.environment, "schedule", "--cron", NEVER)
    with client_of(services) as client:
        deployment = client.read_deployment_by_name(NAME)
        for index in range(1 + FIRINGS):
            due = datetime.now(UTC) + timedelta(seconds=AHEAD_S)
            made = client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=due))
            ended = wait_for_end(client, made.id)
            if index:
                assert ended.start_time is not None
                assert ended.end_time is not None
                seconds = (ended.end_time - due).total_seconds()
                started_s = (ended.start_time - due).total_seconds()
                print(f"firing: at work after {started_s:.1f} s, ended after {seconds:.1f} s", flush=True)
                yield seconds


@contextmanager
def client_of(services: Services) -> "Iterator[SyncPrefectClient]":
    """Asks the server."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: services.url}), get_client(sync_client=True) as client:
        yield client


def wait_for_end(client: "SyncPrefectClient", run_id: "UUID") -> "FlowRun":
    """Until it has, well."""
    while True:
        run = client.read_flow_run(run_id)
        if run.state is not None and run.state.is_final():
            if not run.state.is_completed():
                raise SystemExit(f"{run.name}: {run.state_name}: {run.state.message}")
            return run
        time.sleep(0.2)


def told(seconds: Sequence[float]) -> str:
    """The median and the extremes."""
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--only", choices=["help", "flow", "schedule"], help="measure one thing and write nothing")
    arguments = parser.parse_args()
    chosen = {arguments.only} if arguments.only else {"help", "flow", "schedule"}
    facts = machine_facts("prefect", "dvc", "mlflow")
    rows: list[str] = []

    def show(*cells: object) -> None:
        rows.append(f"| {' | '.join(map(str, cells))} |")
        print(rows[-1], flush=True)

    if "help" in chosen:
        helps = list(help_s())
        show("`gan --help`", f"≤ {AIM_HELP_S} s", told(helps), len(helps))
    with tempfile.TemporaryDirectory(prefix="orchestration-") as folder:
        root = Path(folder)
        home = root / "prefect"
        home.mkdir()
        project, notes = prepare(root)
        services = Services(home)
        for name in ("PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS", "PREFECT_WORKER_QUERY_SECONDS"):
            del services.environment[name]
        services.environment["PYTHONPATH"] = str(project.root)
        if chosen - {"help"}:
            with signals_unwind(), services:
                if "flow" in chosen:
                    for row in flow_rows(project, notes, services.environment):
                        show(*row)
                if "schedule" in chosen:
                    if "flow" in chosen:  # its results are what the first firing starts from
                        project.git("add", "-A")
                        project.git("commit", "-qm", "results")
                    else:
                        set_parameters(project, images=SHORT_IMAGES[0], seed=0)
                    seconds = list(firings(project, services))
                    show("a scheduled run with nothing to do", f"≤ {AIM_NOTHING_TO_DO_S:.0f} s", told(seconds), FIRINGS)
    lines = [
        f"# What orchestration adds on {facts['kind']}, {facts['date']}",
        "",
        ", ".join(f"{name} {value}" for name, value in facts.items() if name not in ("kind", "date")) + ".",
        "",
        EXPLANATION,
        "",
        "| what | aim | median (least to most) | times |",
        "| --- | --- | --- | --- |",
        *rows,
    ]
    if not arguments.only:
        arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def flow_rows(project: Project, notes: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, str, str, int]]:
    """Of the whole flow, short and long."""
    short = [whole_flow(project, notes, environment, images=images, seed=0) for images in SHORT_IMAGES]
    yield "overhead of a flow with a short training", "", told([each.added_s for each in short]), len(short)
    fewer_s, more_s = (each.stages_s["train"] for each in short)
    images_per_s = (SHORT_IMAGES[1] - SHORT_IMAGES[0]) / (more_s - fewer_s)
    images = round(LONG_TRAINING_S * images_per_s / STEP_IMAGES) * STEP_IMAGES
    long = whole_flow(project, notes, environment, images=images, seed=1)
    share = f"{long.added_s / long.whole_s:.1%}: {long.added_s:.1f} of {long.whole_s:.0f} s"
    what = f"overhead of a flow with a training of {long.stages_s['train']:.0f} s ({images} images)"
    yield what, f"< {AIM_SHARE:.0%}", share, 1


if __name__ == "__main__":
    main()
