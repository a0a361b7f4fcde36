"""One line of the doctor's."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What was found, for people; where it is not well, with what to do about it."""

    text: str
    well: bool = True
