"""Picture files that say, machine-readably, by what and how they were made; equal images have equal files.

The XMP packet holds what IPTC's Photo Metadata Standard 2025.1 provides for generated images: DigitalSourceType,
AISystemUsed and AISystemVersionUsed. Beside them stands what the generator was asked for: whoever has it can make the
image again.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
# Of a picture that shows real images too.
COMPOSITE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_SYSTEM = "ganlib"
_XMP = "XML:com.adobe.xmp"
_MOST_BYTES = 1 << 16
_AFTER_HEADER = 8 + 25  # in a PNG file: the signature, and the chunk IHDR
_NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "ganlib": "urn:ganlib:xmp:1",
}


@dataclass(frozen=True)
class Origin:
    """Where an image is from.

    Attributes:
        generator_sha256: content address of the generator.
        request: what the generator was asked for, as `ganlib.remaking` reads it.
    """

    generator_sha256: str
    request: Mapping[str, Any]


def xmp_packet(origin: Origin, source_type: str = SOURCE_TYPE) -> str:
    """What a file holds that tells its origin."""
    request = json.dumps(dict(origin.request), sort_keys=True)
    fields = {
        "Iptc4xmpExt:DigitalSourceType": source_type,
        "Iptc4xmpExt:AISystemUsed": _SYSTEM,
        "Iptc4xmpExt:AISystemVersionUsed": origin.generator_sha256,
        "ganlib:request": request,
    }
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in _NAMESPACES.items())
    inside = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF {spaces}><rdf:Description rdf:about="">{inside}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="r"?>'
    )


def marked_png(pixels: NDArray[np.uint8], origin: Origin, source_type: str = SOURCE_TYPE) -> bytes:
    """A uint8 image [H, W, C] as a PNG file that tells its origin."""
    file, packet = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, format="PNG")
    # Pillow's PngInfo puts it at the same place, and takes as long for it as for the image.
    PngImagePlugin.putchunk(packet, b"iTXt", _XMP.encode() + bytes(5), xmp_packet(origin, source_type).encode())
    unmarked = file.getvalue()
    return unmarked[:_AFTER_HEADER] + packet.getvalue() + unmarked[_AFTER_HEADER:]


def marked_webp(frames: Sequence[NDArray[np.uint8]], origin: Origin, *, frame_ms: int, exact: bool) -> bytes:
    """Frames, uint8 [H, W, C] each, as an endless animation that tells its origin; not `exact` takes less room."""
    first, *others = (Image.fromarray(frame.squeeze(-1) if frame.shape[-1] == 1 else frame) for frame in frames)
    file = io.BytesIO()
    first.save(
        file,
        format="WEBP",
        save_all=True,
        append_images=others,
        duration=frame_ms,
        loop=0,
        lossless=exact,
        xmp=xmp_packet(origin).encode(),
    )
    return file.getvalue()


def packet_of(image: Image.Image) -> bytes:
    """The XMP packet of an opened image, for the `xmp` of what is saved in its place; empty without one."""
    packet = image.info.get(_XMP) or image.info.get("xmp") or b""
    return packet.encode() if isinstance(packet, str) else bytes(packet)


def read_origin(image: Image.Image) -> Origin | None:
    """What an opened image tells of its origin; None where it tells nothing that this module would."""
    packet = packet_of(image).decode("utf-8", "replace")
    if len(packet) > _MOST_BYTES or "<!" in packet:
        return None
    try:
        root = ElementTree.fromstring(packet[packet.index("<x:xmpmeta") : packet.rindex("</x:xmpmeta>") + 12])
        generator = root.findtext(".//Iptc4xmpExt:AISystemVersionUsed", None, _NAMESPACES)
        found = json.loads(root.findtext(".//ganlib:request", "null", _NAMESPACES))
    except (ValueError, ElementTree.ParseError):
        return None
    return Origin(generator, found) if generator and isinstance(found, dict) else None


def pixels_sha256(pixels: NDArray[np.uint8]) -> str:
    """The address of an image [H, W, C] by its pixels: whatever file holds them without loss has it."""
    return hashlib.sha256(f"{pixels.shape} ".encode() + np.ascontiguousarray(pixels).tobytes()).hexdigest()
