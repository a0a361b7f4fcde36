"""What the tests of promotions share: models that load quickly, and the commands."""

from pathlib import Path

from ganlib.packaging import generator_sha256
from pipelines.registry import promotion
from pipelines.registry.champion import read
from pipelines.registry.history import Ledger
from pipelines.tracking import delivery, store

CODE = """
import mlflow
from mlflow.pyfunc.model import PythonModel


class Small(PythonModel):
    def load_context(self, context):
        open(context.artifacts["generator"] + "/generator.json").close()

    def predict(self, model_input: list[int]) -> list[int]:
        return model_input


mlflow.models.set_model(Small())
"""


def log(model: Path) -> str:
    """The id of a logged model with these files."""
    client = store.connect()
    store.address_all_of_mlflow()
    logged = client.create_logged_model(delivery.find_or_create_experiment(client, "small"), name="generator")
    client.log_model_artifacts(logged.model_id, str(model))
    client.finalize_logged_model(logged.model_id, "READY")
    return str(logged.model_id)


def create(name: str, model: Path, versions: int = 4) -> str:
    """A registered model with versions that share their files."""
    store.connect().create_registered_model(name)
    add_versions(name, log(model), versions, generator_sha256(model / "artifacts" / "generator"))
    return name


def add_versions(name: str, model_id: str, count: int, digest: str) -> None:
    for _ in range(count):
        store.connect().create_model_version(
            name, source=f"models:/{model_id}", model_id=model_id, tags={"generator_sha256": digest}
        )


def ledger(name: str) -> Ledger:
    return read(store.connect(), name)


def promote(name: str, version: str, why: str = "better") -> str:
    return promotion.promote(name, version, why, say=print)


def roll_back(name: str, why: str = "worse") -> str:
    return promotion.roll_back(name, why, say=print)


class Plain:
    """What the registry should hold, in a few lines."""

    def __init__(self) -> None:
        self.champion: str | None = None
        self.holders: list[str] = []
        self.moves: list[tuple[str, str | None, str | None]] = []
        self._known: str | None = None

    def outside(self, version: str | None) -> None:
        self.champion = version

    def promote(self, version: str) -> bool:
        self._notice()
        return self._go("promote", version)

    def roll_back(self) -> bool:
        self._notice()
        if self.champion is None or len(self.holders) < 2:
            return False
        del self.holders[-1]
        return self._go("rollback", self.holders[-1])

    def _notice(self) -> None:
        found, self.champion = self.champion, self._known
        self._go("outside", found)

    def _go(self, action: str, version: str | None) -> bool:
        if version == self.champion:
            return False
        self.moves.append((action, self.champion, version))
        self.champion = self._known = version
        if version is not None and self.holders[-1:] != [version]:
            self.holders.append(version)
        return True
