"""The alias moves while the server is at work."""

import gc
import shutil
import threading
import weakref
from pathlib import Path

import httpx
import pytest

from pipelines.registry import promotion
from tests.configs import UNPAIRED
from tests.mlflow_server import wait_until
from tests.registered import make_generator, make_translator, submit
from tests.serving import serving

pytestmark = pytest.mark.integration


def test_another_champion_is_served_without_losing_a_request(project: Path) -> None:
    """Then an alias that means a version whose files are gone, a translator, and nothing: the last good one stays."""
    for number, score in ((1, 3.0), (2, 2.0), (3, 1.0)):
        submit(make_generator(project / f"generator{number}", number), score)
    submit(make_translator(project / "translator", UNPAIRED), 4.0)
    promotion.promote("digits", "1", "a test", say=lambda _: None)
    with serving(check_every_s=0.1) as served:
        first = weakref.ref(served.following.current.model.generator.generator)
        by_version: dict[str, set[bytes]] = {}
        statuses: set[int] = set()
        stop = threading.Event()

        def ask() -> None:
            with httpx.Client(timeout=30) as client:
                while not stop.is_set():
                    answer = client.get(f"{served.address}/sample", params={"seed": 5, "label": "one"})
                    statuses.add(answer.status_code)
                    by_version.setdefault(answer.headers["ganlib-model"], set()).add(answer.content)

        clients = [threading.Thread(target=ask) for _ in range(4)]
        for each in clients:
            each.start()
        gc.disable()  # as for what `gan serve` has at its start
        try:
            promotion.promote("digits", "2", "a test", say=lambda _: None)
            wait_until(lambda: "digits/2" in by_version, "the second version is served", timeout_s=60)
            _lose_files_of_version_3(project)
            _point_alias_at("3")
            wait_until(lambda: any("version 3 cannot be loaded" in line for line in served.said), "told", timeout_s=60)
            _point_alias_at("4")
            wait_until(lambda: any("version 4 is a translator" in line for line in served.said), "told", timeout_s=60)
            _point_alias_at(None)
            wait_until(lambda: any("there is no such version" in line for line in served.said), "told", timeout_s=60)
        finally:
            stop.set()
            for each in clients:
                each.join()
            gc.enable()
        assert statuses == {200}
        assert {name: len(files) for name, files in by_version.items()} == {"digits/1": 1, "digits/2": 1}
        assert by_version["digits/1"] != by_version["digits/2"]
        assert len(served.said) == 4
        assert first() is None
        page = served.get("/metrics").text
        assert 'ganlib_swaps_total{outcome="done"} 1.0' in page
        assert 'ganlib_swaps_total{outcome="failed"} 2.0' in page


def _lose_files_of_version_3(project: Path) -> None:
    from pipelines.tracking import store

    client = store.connect()
    source = client.get_model_version("digits", "3").source
    model = client.get_logged_model(source.removeprefix("models:/"))
    shutil.rmtree(Path(model.artifact_location.removeprefix("file://")))


def _point_alias_at(number: str | None) -> None:
    """As somebody does who knows nothing of the gate."""
    from pipelines.tracking import store

    if number is None:
        store.connect().delete_registered_model_alias("digits", "champion")
    else:
        store.connect().set_registered_model_alias("digits", "champion", number)
