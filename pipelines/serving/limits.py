"""What the operator of a server allows; no client can lift it."""

from dataclasses import dataclass

MOST_BODY_BYTES = 16 << 20
# Beyond these a request is told to come again: what waits longer than a client does is drawn for nobody.
MOST_WAITING_IMAGES = 4096
MOST_WAITING_TRANSLATIONS = 32


@dataclass(frozen=True)
class Limits:
    """Bounds of one server.

    Attributes:
        images: most in one request.
        pixels: of an image that is to be translated.
        truncation: the highest; lower is less varied and further from single training images.
        rejection: the least share of samples that the critic refuses, and others take the place of.
        requests_per_minute: of one address; None: any number.
        timeout_s: for the body of a request to arrive, and for its images to be made.
    """

    images: int
    pixels: int
    truncation: float
    rejection: float
    requests_per_minute: int | None
    timeout_s: float
