"""What the page may ask, and what nobody else gets."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from ganlib.datasets.packed.reading import open_packed
from ganlib.packaging import ImageGenerator
from pipelines import paths
from pipelines.quiz.answers import Journal, Opening, Person
from pipelines.quiz.deck import Deck
from pipelines.quiz.game import Game
from pipelines.quiz.server import make_app

PAGE = "http://127.0.0.1:8765"


class Table:
    """A quiz without a network: the application, its journal and who has come to the end."""

    def __init__(self, template: Path, folder: Path, opening: Opening) -> None:
        data = open_packed(template / paths.PROCESSED)
        deck = Deck(ImageGenerator.load(template / paths.GENERATOR), data.test, count=4, seed=0)
        self.journal = Journal.begin(folder, opening)
        self.through: list[Person] = []
        game = Game(deck, self.journal, opening, data.image.classes, lambda person, _: self.through.append(person))
        self.app: Starlette = make_app(game, data.image.size)

    def ask(self, method: str, path: str, **wishes: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url=PAGE) as client:
                return await client.request(method, path, **wishes)

        return asyncio.run(send())

    def post(self, path: str, **values: Any) -> dict[str, Any]:
        response = self.ask("POST", path, json=values)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found


@pytest.fixture
def table(quiz_template: Path, tmp_path: Path, opening: Opening) -> Iterator[Table]:
    table = Table(quiz_template, tmp_path, opening)
    yield table
    table.journal.close(remove=False)


def test_a_quiz_from_the_beginning_to_the_end(table: Table) -> None:
    state = table.post("/begin", name="  Ada ")
    person, said = state["person"], [True, False, True, True]
    for answered, generated in enumerate(said):
        assert state["answered"] == answered
        assert set(state) - {"person"} == {"answered", "image"}  # nothing of the truth before the end
        image = table.ask("GET", f"/images/{state['image']}")
        assert image.headers["content-type"] == "image/png"
        state = table.post("/answer", person=person, image=state["image"], generated=generated)
    (ada,) = table.journal.read().people
    assert [each.said_generated for each in ada.answers] == said
    assert (ada.name, ada.complete, table.through) == ("Ada", True, [ada])
    tally, result = ada.tally, state["result"]
    assert (result["reals_taken_for_fake"], result["reals"]) == (tally.reals_taken_for_fake, 2)
    assert (result["fakes_taken_for_real"], result["fakes"]) == (tally.fakes_taken_for_real, 2)
    assert result["error_rate"]["estimate"] == sum(each.wrong for each in ada.answers) / 4
    assert table.post("/resume", person=person) == state


def test_an_answer_that_is_sent_twice_counts_once(table: Table) -> None:
    begun = table.post("/begin", name="")
    first = {"person": begun["person"], "image": begun["image"]}
    after = table.post("/answer", **first, generated=True)
    assert table.post("/answer", **first, generated=False) == after == table.post("/resume", person=begun["person"])
    (person,) = table.journal.read().people
    assert [each.said_generated for each in person.answers] == [True]
    assert person.name is None


def test_images_can_be_seen_only_while_they_are_asked_about(table: Table) -> None:
    begun = table.post("/begin", name="")
    after = table.post("/answer", person=begun["person"], image=begun["image"], generated=True)
    assert table.ask("GET", f"/images/{begun['image']}").status_code == 404
    assert table.ask("GET", f"/images/{after['image']}").status_code == 200
    other = table.post("/begin", name="")
    for image in (other["image"], "guessed", ""):
        refused = table.ask("POST", "/answer", json={"person": begun["person"], "image": image, "generated": True})
        assert refused.status_code == 404
    assert table.ask("POST", "/resume", json={"person": "guessed"}).status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:8765"}, 200),
        ({"host": "localhost:9999"}, 200),
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example:8765"}, 421),
        ({"host": "[::1"}, 421),
        ({"origin": "http://127.0.0.1:8765"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 200),
    ],
)
def test_only_the_page_itself_may_ask(headers: dict[str, str], status: int, table: Table) -> None:
    assert table.ask("GET", "/terms", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("wishes", "status"),
    [
        ({"json": {"name": "x" * 201}}, 400),
        ({"json": {"name": None}}, 400),
        ({"json": {"name": "", "more": 1}}, 400),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ({"content": b'{"name": ""}', "headers": {"content-type": "text/plain"}}, 415),
        ({"data": {"name": ""}}, 415),
        ({"json": {"name": "x" * 2000}}, 413),
        ({"json": {"name": ""}, "headers": {"content-length": "-1"}}, 411),
        ({"json": {"name": ""}, "headers": {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}}, 403),
    ],
)
def test_what_the_page_never_posts_is_refused(wishes: dict[str, Any], status: int, table: Table) -> None:
    assert table.ask("POST", "/begin", **wishes).status_code == status
    assert not table.journal.read().people


def test_the_page_asks_for_nothing_from_elsewhere_and_is_not_kept(table: Table) -> None:
    for path in ("/", "/static/quiz.js", "/static/quiz.css", "/terms", "/images/none"):
        answered = table.ask("GET", path)
        assert "default-src 'none'" in answered.headers["content-security-policy"]
        assert "unsafe" not in answered.headers["content-security-policy"]
        assert answered.headers["cache-control"] == "no-store"
        assert "http" not in answered.text
    assert table.ask("GET", "/static/../serving.py").status_code == 404
