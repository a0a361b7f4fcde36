"""What stages wrote down, read again."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from ganlib.errors import UserError

Record = TypeVar("Record", bound=BaseModel)


def read_record(kind: type[Record], path: Path, made_by: str) -> Record:
    """A record of this kind from its JSON file.

    Args:
        kind: of the record.
        path: of the file.
        made_by: the stage that wrote it, which mends whatever is wrong.

    Raises:
        UserError: missing, damaged or of another version.
    """
    mend = f"run the {made_by} stage again"
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {mend}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: damaged or of another version ({where}: {first['msg']}); {mend}") from None
