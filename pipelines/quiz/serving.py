"""`gan quiz`: serve the page until it is ended, then tell and log what people answered."""

import secrets
import tempfile
import time
from pathlib import Path

from rich.table import Column, Table

from ganlib.config import load_config
from ganlib.datasets.packed.reading import open_packed
from ganlib.evaluation.drawing import check_comparable
from ganlib.metrics.estimates import Interval
from ganlib.packaging import ImageGenerator, generator_sha256
from ganlib.people import ErrorRates
from pipelines import paths
from pipelines.console import plain_console
from pipelines.graph import supervisor
from pipelines.listening import listen, serve
from pipelines.quiz.answers import Journal, Opening, Person, Sheet
from pipelines.quiz.deck import Deck
from pipelines.quiz.game import Game
from pipelines.quiz.server import make_app
from pipelines.stages.shell import say, write_json
from pipelines.tracking import runs

HOST = "127.0.0.1"
_LAST_REQUESTS_S = 2


def serve_quiz(*, port: int, count: int, exposure_ms: int, seed: int | None) -> None:
    """Ask people on a page of this machine, until Ctrl-C; then log what they answered to the generator's run.

    Raises:
        UserError: no generator or data, too few images, or the port is taken.
    """
    config = load_config(paths.PARAMS)
    data = open_packed(paths.PROCESSED)
    generator = ImageGenerator.load(paths.GENERATOR)
    generator.check_draws("quiz")
    check_comparable(generator, data)
    seed = secrets.randbits(32) if seed is None else seed
    deck = Deck(generator, data.test, count=count, seed=seed)
    with listen(HOST, port) as listener:
        _conclude_left_behind()
        opening = Opening(
            started=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
            experiment=config.tracking.experiment,
            generator_sha256=generator_sha256(paths.GENERATOR),
            seen_images=int(generator.provenance["seen_images"]),
            images_per_person=count,
            exposure_ms=exposure_ms,
            seed=seed,
            confidence=config.evaluate.confidence,
        )
        journal = Journal.begin(paths.QUIZ, opening)
        game = Game(deck, journal, opening, data.image.classes, _tell_of_person)
        say(f"quiz: http://{HOST}:{listener.getsockname()[1]} (Ctrl-C ends it and logs the answers)")
        with supervisor.signals_unwind():
            try:
                serve(make_app(game, data.image.size), listener, last_requests_s=_LAST_REQUESTS_S)
            finally:
                conclude(journal)


def conclude(journal: Journal) -> None:
    """Tell what people answered, log it to the generator's run, and forget the answers here."""
    sheet = journal.read()
    if not sheet.people:
        say("quiz: nobody has answered; nothing is logged")
        journal.close(remove=True)
        return
    _show(sheet)
    opening, rates = sheet.opening, sheet.rates
    with (
        runs.attach_run(experiment=opening.experiment, generator_sha256=opening.generator_sha256) as log,
        tempfile.TemporaryDirectory() as folder,
    ):
        log.metrics(_figures(sheet, rates), opening.seen_images)
        file = Path(folder) / "answers.json"
        write_json(file, sheet.model_dump(mode="json"))
        log.artifact(file, f"quiz/{opening.started}")
    journal.close(remove=True)
    say(f"quiz: logged to the run of generator {opening.generator_sha256[:12]}… in experiment {opening.experiment}")


def _figures(sheet: Sheet, rates: ErrorRates) -> dict[str, float]:
    figures = {
        "error_rate": rates.overall.estimate,
        "error_rate_low": rates.overall.low,
        "error_rate_high": rates.overall.high,
        "answers": sum(len(each.answers) for each in sheet.people),
        "participants": len(sheet.people),
    }
    if rates.on_fakes is not None:
        figures["fakes_taken_for_real"] = rates.on_fakes.estimate
    if rates.on_reals is not None:
        figures["reals_taken_for_fake"] = rates.on_reals.estimate
    return {f"people/{name}": value for name, value in figures.items()}


def _conclude_left_behind() -> None:
    for journal in Journal.left_behind(paths.QUIZ):
        say(f"quiz: {journal.path} was not ended; ending it now")
        conclude(journal)


def _tell_of_person(person: Person, rates: ErrorRates) -> None:
    say(
        f"quiz: {person.called} has finished: wrong on {_percent(rates.overall.estimate)} "
        f"of {len(person.answers)} images"
    )


def _show(sheet: Sheet) -> None:
    table = Table(Column("who", no_wrap=True), title="Answers", title_justify="left")
    for heading in ("answered", "real taken for generated", "generated taken for real", "wrong"):
        table.add_column(heading, justify="right")
    for person in sheet.people:
        tally = person.tally
        wrong = tally.reals_taken_for_fake + tally.fakes_taken_for_real
        table.add_row(
            person.called + ("" if person.complete else " (stopped early)"),
            f"{len(person.answers)} of {sheet.opening.images_per_person}",
            f"{tally.reals_taken_for_fake} of {tally.reals}",
            f"{tally.fakes_taken_for_real} of {tally.fakes}",
            _percent(wrong / len(person.answers)),
        )
    plain_console().print(table)
    rates = sheet.rates
    people = f"{len(sheet.people)} people" if len(sheet.people) > 1 else "one person, which says nothing of others"
    say(f"quiz: error rate {_with_interval(rates.overall)}, of {people}; 50 % would be guessing")


def _with_interval(found: Interval) -> str:
    interval = f"{_percent(found.low)} to {_percent(found.high)}"
    return f"{_percent(found.estimate)} ({_percent(found.level)} interval {interval})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
