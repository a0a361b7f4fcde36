"""The order of names as people expect it."""

import re


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts numbers inside names by value; the name itself breaks ties such as `1` and `01`."""
    parts = re.split(r"0*([0-9]+)", name)
    return [(0, len(part), part) if index % 2 else (1, 0, part) for index, part in enumerate(parts) if part], name
