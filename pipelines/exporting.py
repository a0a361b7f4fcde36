"""`gan export`: a generator as one file that runs without ganlib."""

import json
import tempfile
from pathlib import Path

from ganlib.exporting import Format, export
from ganlib.marking import SOURCE_TYPE
from ganlib.packaging import ImageGenerator, generator_sha256
from pipelines.registry.versions import download_generator


def export_generator(model: str | None, path: Path, kind: Format, *, folder: Path) -> str:
    """Export a registered generator or that of a folder.

    Args:
        model: address of a registered one; None: that of the folder.
        path: of the file.
        kind: `onnx` or `torch`.
        folder: of a generator.

    Returns:
        What was written, for people.

    Raises:
        UserError: there is no such generator, it translates images, a package is missing, or the file gives others.
    """
    with tempfile.TemporaryDirectory() as scratch:
        source = folder if model is None else download_generator(model, Path(scratch))
        generator, digest = ImageGenerator.load(source), generator_sha256(source)
        metadata = {
            "generator_sha256": digest,
            "classes": json.dumps(generator.image.classes),
            "digital_source_type": SOURCE_TYPE,
        }
        apart = export(generator, path, kind, metadata)
    takes = "latents, truncation and labels" if generator.conditional else "latents and truncation"
    return f"{path}: takes {takes}, gives images; at most {apart:.0e} from generator {digest[:12]}… (of 1)"
