"""What the gate decided, as it is written down: `reports/registration.json`, and all that is made from it."""

from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from ganlib.config import Options, read_record
from ganlib.errors import UserError
from ganlib.evaluation.record import Interval


class Row(Options):
    """One line of the verdict's table.

    Attributes:
        name: of the figure, such as `domain/fid`, or of the guard, such as `worst class (8)`.
        note: what it means, or why it was not looked at; a few words.
        challenger: its figure.
        champion: the present champion's on the same real images; None where there is none to compare with.
        difference: challenger less champion, with the gate's confidence; of near copies the share itself.
        limit: what the metric's difference must lie beyond, and a guard's must not, in the figure's unit.
        passed: None where the row decides nothing.
    """

    name: str
    note: str
    challenger: float | None = None
    champion: float | None = None
    difference: Interval | None = None
    limit: float | None = None
    passed: bool | None = None


class Verdict(Options):
    """The gate's decision: a sentence, and all figures as a table, the metric first."""

    promoted: bool
    reason: str
    table: tuple[Row, ...]

    def table_to_tag(self) -> str:
        """The table as one line; six rows take some 1,200 characters."""
        return _TABLE.dump_json(self.table, exclude_none=True).decode()


def table_from_tag(text: str, whose: str) -> tuple[Row, ...]:
    """Read what `table_to_tag` made.

    Raises:
        UserError: damaged, or of another version.
    """
    try:
        return _TABLE.validate_json(text)
    except ValidationError as error:
        found = error.errors()[0]["msg"]
        raise UserError(
            f"{whose}: the tag gate.table is not a valid table ({found}); delete it on the version's page in MLflow"
        ) from None


_TABLE: TypeAdapter[tuple[Row, ...]] = TypeAdapter(tuple[Row, ...])


class Registration(Options):
    """A registered version and the decision about it; no dates, run ids or host names.

    Attributes:
        model_name: the registered model.
        version: its number.
        aliases: that it has now.
        metric, margin, confidence: what was decided by.
        champion_version: compared with; None where there was none.
        remeasured: the champion had been measured with other data, settings or code before.
        verdict: the decision.
        generator_sha256: of the version.
    """

    model_name: str
    version: str
    aliases: tuple[str, ...]
    metric: str
    margin: float
    confidence: float
    champion_version: str | None
    remeasured: bool
    verdict: Verdict
    generator_sha256: str

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what the register stage wrote.

        Raises:
            UserError: missing, damaged or of another version.
        """
        return read_record(cls, path, "register")
