"""`gan start`: look at pictures and machine, add the pictures, and write the parameters that fit both."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ganlib.config import RunConfig, load_config, parse_config
from ganlib.datasets.files.places import is_url, local_path
from ganlib.datasets.items import printable
from ganlib.datasets.packing.pack import unusable
from ganlib.errors import UserError
from ganlib.pretrained.packages import is_installed
from ganlib.sampling import Images
from pipelines import paths
from pipelines.advice.choosing import (
    SIZES,
    Choice,
    classes_are_used,
    cleaning_choices,
    data_choices,
    evaluator_choices,
    network_choices,
    preset_for,
    recipe_choices,
    size_for,
    split_choices,
)
from pipelines.advice.look import FEWEST_PICTURES, Look, check_enough, look, too_few
from pipelines.advice.machine import Machine, check_memory, this_machine
from pipelines.advice.pictures import Pictures
from pipelines.advice.planning import Costs, forecast, length_choices, too_slow
from pipelines.advice.telling import expectations, recommendations
from pipelines.advice.trial import TRIAL_PICTURES, measure_costs
from pipelines.advice.weights import PACKAGED_NETWORK, choose_evaluator
from pipelines.advice.writing import written
from pipelines.data.add import Say, bring
from pipelines.data.named import named_sets
from pipelines.data.surveying import surveyed
from pipelines.presets import (
    Preset,
    find_preset,
    known_presets,
    load_parameters,
    refuse_own_work,
    write_parameters,
)
from pipelines.stages.heartbeat import Heartbeat

MINUTES_ON_CPU, MINUTES_ON_GPU = 30.0, 480.0
_LONGEST_NAME = 40
_MOST_SURVEYS = 3


@dataclass(frozen=True)
class Wanted:
    """What a person asks for.

    Attributes:
        name: of the data in data/raw and of the model; None: after the folder.
        size: of the square that is learned, in pixels; None: as pictures and machine ask for.
        minutes: that the training may take; None: half an hour of a CPU, a night of a GPU.
        measure_share: of these, that measuring snapshots may take.
    """

    name: str | None
    size: int | None
    minutes: float | None
    measure_share: float

    def __post_init__(self) -> None:
        if self.size is not None and self.size not in SIZES:
            raise UserError(f"--size {self.size}: expected one of {', '.join(map(str, SIZES))}")
        if self.minutes is not None and not self.minutes > 0:
            raise UserError(f"--minutes {self.minutes:g}: expected a number above 0")
        if not 0 < self.measure_share < 1:
            raise UserError(f"--measure-share {self.measure_share:g}: expected a number above 0 and below 1")


def start(project: Path, what: str, wanted: Wanted, *, force: bool, say: Say) -> None:
    """Do all that comes before `gan repro`.

    Args:
        project: its folder.
        what: as `gan data add`.
        wanted: by a person.
        force: replace data of the same name, and a params.yaml with changes of one's own.
        say: hears lines for people.

    Raises:
        UserError: nothing can be learnt from these pictures or on this machine, or what `gan data add` raises.
    """
    presets = known_presets(project)
    refuse_own_work(project, presets, force=force)
    with Heartbeat(say, "looking at the machine"):
        machine = this_machine()
    say(f"machine: {machine.told}")
    check_memory(machine)
    own = what not in named_sets() and not is_url(what)
    base = load_parameters(find_preset("photos-32-cpu", presets).path).data
    if own and local_path(what).expanduser().exists():  # else the refusal is that of `gan data add`
        with Heartbeat(say, "looking at some pictures"):
            check_enough(look(base.model_copy(update={"source": str(local_path(what).expanduser())})))
    inside = own and Path(what).resolve().is_relative_to((project / paths.RAW).resolve())
    bring(project, what, name=None if inside else wanted.name or name_of(what), given=None, force=force, say=say)
    source = load_config(project / paths.PARAMS).data.source
    with Heartbeat(say, "looking at some pictures"):
        found = look(base.model_copy(update={"source": source}))
    check_enough(found)
    text = _Starter(project, presets, machine, found, wanted, say).text()
    write_parameters(project, text)
    say(f"{paths.PARAMS}: written, with the reason above each choice; change what you like")
    say("next: gan repro")


def name_of(what: str) -> str:
    """A name for data and model after that of a folder, file or address."""
    last = re.split(r"[/\\]", what.rstrip("/\\"))[-1].split(".")[0]
    plain = unicodedata.normalize("NFKD", last).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST_NAME] or "pictures"


class _Starter:
    """What the chapters of one start share."""

    def __init__(
        self, project: Path, presets: tuple[Preset, ...], machine: Machine, found: Look, wanted: Wanted, say: Say
    ) -> None:
        self.project, self.presets, self.machine, self.found, self.say = project, presets, machine, found, say
        self.name = wanted.name or name_of(found.source)
        asked = wanted.size
        self.size, self.why_size = size_for(found, machine) if asked is None else (asked, "as you asked for")
        self.minutes = wanted.minutes or (MINUTES_ON_GPU if machine.gpu else MINUTES_ON_CPU)
        self.measure_share = wanted.measure_share

    def text(self) -> str:
        """The complete parameters; tells what is chosen, what to expect and what would help."""
        count = self.found.pictures
        preset, why_preset = preset_for(count, self.size, self.machine)
        choices = list(data_choices(self.found, self.size, self.why_size, count))
        pictures, some, choices = self._survey(preset, choices)
        preset, why_preset = preset_for(pictures.count, self.size, self.machine)
        base = load_parameters(find_preset(preset, self.presets).path)
        labelled, why = classes_are_used(pictures.classes)
        if pictures.classes and not labelled:
            choices.append(Choice("data.labels", "none", why))
            pictures = replace(pictures, classes={})
        has_weights = is_installed(PACKAGED_NETWORK)
        evaluator, why_evaluator = choose_evaluator(
            self.project, base, labelled=labelled, critic_sees=base.critic_pretrained if has_weights else None
        )
        choices += network_choices(
            preset, self.size, base.network.model_dump(), labelled=labelled, has_weights=has_weights
        )
        choices += recipe_choices(
            pictures,
            self._config(preset, choices).train.batch_size,
            labelled=labelled,
            why=why,
            evaluator=evaluator,
            why_evaluator=why_evaluator,
        )
        choices += [Choice("register.model_name", self.name, ""), Choice("tracking.experiment", self.name, "")]
        trial = self._config(preset, choices)
        with Heartbeat(self.say, "trial") as beat:
            costs = measure_costs(trial, some, tuple(pictures.classes), self.machine, note=beat.note)
        if evaluator != trial.train.extractor and too_slow(trial, pictures, costs, self.minutes):
            why_evaluator = f"{evaluator} would take longer to evaluate than the training: this looks quickly"
            choices += evaluator_choices(pictures, trial.train.extractor, why_evaluator)
            costs = replace(costs, evaluate=costs.watch)
            trial = self._config(preset, choices)
        choices += length_choices(trial, pictures, costs, self.minutes, self.measure_share)
        header = list(self._header(preset, why_preset, pictures))
        config = self._config(preset, choices)
        text = written(find_preset(preset, self.presets).path, choices, header)
        self._tell(choices, config, pictures, costs, f"{preset}, {why_preset}")
        return text

    def _survey(self, preset: str, choices: list[Choice]) -> tuple[Pictures, Images, list[Choice]]:
        """All pictures read and judged as they will be, and some of them; what that adds to the choices."""
        for _ in range(_MOST_SURVEYS):  # those after the first find everything decoded
            config = self._config(preset, choices)
            with surveyed(self.project, config.data, config.preprocess) as survey:
                pictures, some = Pictures.of(survey), survey.pictures(None, TRIAL_PICTURES)
                lines = list(unusable(config.data, survey))
            self._check_count(pictures)
            choices = [*choices, *cleaning_choices(pictures, config.data.cleaning), *split_choices(pictures)]
            if self._config(preset, choices).data == config.data:
                break
        if lines:
            raise UserError("\n".join(lines))
        return pictures, some, choices

    def _check_count(self, pictures: Pictures) -> None:
        if pictures.count < FEWEST_PICTURES:
            raise UserError(too_few(printable(self.found.source), pictures.count))

    def _config(self, preset: str, choices: Iterable[Choice]) -> RunConfig:
        path = find_preset(preset, self.presets).path
        return parse_config(written(path, choices, []), path)

    def _header(self, preset: str, why: str, pictures: Pictures) -> Iterator[str]:
        yield (
            f"{pictures.count} pictures of {printable(self.found.source)}: written by `gan start` for them and "
            f"for this machine ({self.machine.told}), from the preset {preset}, {why}."
        )
        yield "The lines that begin with `why` give the reason of the parameter below them. Change what you like."

    def _tell(
        self, choices: Iterable[Choice], config: RunConfig, pictures: Pictures, costs: Costs, preset: str
    ) -> None:
        self.say(f"preset: {preset}")
        for choice in {each.name: each for each in choices}.values():
            if choice.reason and not isinstance(choice.value, dict):
                self.say(f"  {choice.name}: {choice.value} ({choice.reason})")
            elif choice.reason:
                self.say(f"  {choice.name}: {choice.reason}")
        expected = forecast(config, pictures, costs)
        for line in expectations(config, pictures, expected, self.machine):
            self.say(f"expect: {line}")
        for line in recommendations(config, pictures, self.machine):
            self.say(f"would help: {line}")
