"""What `gan data add` says of pictures: what `gan start` would choose, as far as some of them tell."""

from collections.abc import Iterator

from ganlib.config import DataOptions
from ganlib.datasets.items import printable
from ganlib.errors import UserError
from pipelines import paths
from pipelines.advice.choosing import data_choices, preset_for, size_for
from pipelines.advice.look import check_enough, look
from pipelines.advice.machine import this_machine


def advice(options: DataOptions) -> Iterator[str]:
    """Lines for people; one where nothing can be learnt from these pictures, or they cannot be read."""
    try:
        found = look(options)
        check_enough(found)
    except UserError as error:
        yield f"advice: {error}"
        return
    machine = this_machine()
    size, why = size_for(found, machine)
    preset, why_preset = preset_for(found.pictures, size, machine)
    yield f"advice: preset {preset}, {why_preset}"
    for choice in data_choices(found, size, why, found.pictures):
        if choice.name != "data.source":
            yield f"  {choice.name}: {choice.value} ({choice.reason})"
    yield f"gan start {printable(options.source)} writes this into {paths.PARAMS}, with lengths that fit this machine"
