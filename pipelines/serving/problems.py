"""What is answered in the place of images: one line of JSON."""

from pydantic import BaseModel, ConfigDict, ValidationError


class Problem(BaseModel):
    """Why a request has no images."""

    model_config = ConfigDict(title="Problem")

    error: str


class Refused(Exception):
    """A request that gets no images: its status and why."""

    def __init__(self, status: int, why: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(why)
        self.status, self.why, self.retry_after_s = status, why, retry_after_s


def refusal_of(error: ValidationError) -> Refused:
    """The first thing that is wrong, and where."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    why = first["msg"].removeprefix("Value error, ")
    return Refused(422, f"{where}: {why}" if where else why)
