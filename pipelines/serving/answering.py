"""How images are answered."""

from typing import Any

from pipelines.registry.served import LoadedVersion

PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}, "description": "A PNG file"}}


def origin_headers(served: LoadedVersion) -> dict[str, str]:
    """Which version an image is of."""
    return {
        "Cache-Control": "no-cache",
        "Ganlib-Model": f"{served.name}/{served.number}",
        "Ganlib-Generator": served.generator_sha256,
    }
