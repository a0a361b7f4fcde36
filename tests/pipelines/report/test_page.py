"""The report says what the records say, to everyone, from one file."""

import base64
import dataclasses
import re
import shlex
from pathlib import Path

import pytest
import typer

from ganlib.config import ClassesOptions, FoldersOptions, InvertOptions, SideBySideOptions, SuperresolveOptions
from ganlib.errors import UserError
from ganlib.evaluation.record import Evaluation, Gain, Interval, Translation, Way
from pipelines import cli, paths
from pipelines.registry.verdict import Registration, Verdict
from pipelines.report.card import write_card
from pipelines.report.facts import Facts
from pipelines.report.meanings import meaning
from pipelines.report.page import CHAPTERS, write_page
from tests import report_project
from tests.configs import PAIRED, STYLES, UNPAIRED, tiny_config
from tests.html_pages import Element, read_html

HOSTILE = "<script>alert(1)</script>|x"


def page(facts: Facts, folder: Path, decision: Registration | None = None, champion: Evaluation | None = None) -> str:
    decision = decision or report_project.registration(facts.generator_sha256, promoted=True)
    write_page(facts, decision, folder / paths.REPORT, champion=champion)
    return (folder / paths.REPORT).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def text(facts: Facts, tmp_path_factory: pytest.TempPathFactory) -> str:
    champion = report_project.evaluation(report_project.DIGITS, "9" * 64, shift=0.91)
    return page(facts, tmp_path_factory.mktemp("page"), champion=champion)


@pytest.fixture(scope="session")
def root(text: str) -> Element:
    return read_html(text)


def table(root: Element, label: str) -> list[list[str]]:
    (found,) = (each for each in root.walk() if each.attributes.get("aria-label") == label)
    return found.rows()


def test_verdict_first(root: Element) -> None:
    headings = [each.text for each in root.walk() if re.fullmatch("h[12]", each.tag)]
    assert headings == ["digits, version 7", "Verdict", *CHAPTERS.values()]
    assert "Promoted to champion Verdict Better by 0.91." in root.all("body")[0].text


def test_the_verdicts_table(root: Element) -> None:
    rows = table(root, "The verdict as a table")
    assert rows[1] == [
        "FID, domain features",
        "passed",
        "3.52",
        "4.43",
        "−0.91 (−1.24 to −0.59)",
        "−0.05",
        "At least 0.05 lower with 95% confidence.",
    ]
    assert rows[4][1:6] == ["decides nothing", "–", "–", "–", "–"]


def test_not_promoted_is_said_in_words(facts: Facts, tmp_path: Path) -> None:
    root = read_html(page(facts, tmp_path, report_project.registration(facts.generator_sha256, promoted=False)))
    assert "Not promoted" in root.all("header")[0].text
    assert table(root, "The verdict as a table")[3][1] == "failed"
    assert "gan promote 7 --model digits --reason 'why'" in root.text


def test_a_champion_by_hand_and_one_that_could_not_be_compared(facts: Facts, tmp_path: Path) -> None:
    verdict = Verdict(promoted=False, reason="Not comparable.", table=())
    decision = report_project.registration(facts.generator_sha256, promoted=True)
    root = read_html(page(facts, tmp_path, decision.model_copy(update={"verdict": verdict})))
    assert "Champion, but not by the gate" in root.all("header")[0].text
    assert "Not comparable." in root.text
    assert "Compared with version" not in root.text


def test_every_metric_with_its_interval_beside_the_champions(root: Element, facts: Facts) -> None:
    rows = {row[0]: row for row in table(root, "Metrics")[1:]}
    assert rows["FID lower is better"][1] == "1.38 (1.21 to 1.55)"
    assert rows["FID lower is better"][3] == "3.52"
    assert rows["FID lower is better"][4:] == ["4.43", "2.29 (2.12 to 2.46)"]
    assert len(rows) == len(facts.evaluation.metrics)
    for name, figure in facts.evaluation.metrics.items():
        (row,) = (
            each for title, each in rows.items() if title.split(" lower")[0].split(" higher")[0] == meaning(name).title
        )
        shown = row[3].replace(",", "").replace("−", "-")
        places = len(shown.partition(".")[2])
        assert float(shown) == round(figure.value, places)


def test_a_champion_measured_otherwise_is_not_put_beside(facts: Facts, tmp_path: Path) -> None:
    other = report_project.evaluation(report_project.DIGITS, "9" * 64, shift=0.91)
    root = read_html(page(facts, tmp_path, champion=other.model_copy(update={"measured_on": "0" * 64})))
    fid, *others = table(root, "Metrics")[1:]
    assert fid[-1] == "4.43"  # from the verdict, which measured it again
    assert "2.29" not in root.text
    assert {row[-1] for row in others} == {"–", "0.9951"}


def test_skipped_metrics_with_the_reason(root: Element) -> None:
    assert "domain/accuracy_score : accuracy_score: needs 60000 images, found 5000" in root.text


def test_classes_worst_first(root: Element) -> None:
    rows = table(root, "Figures of each class")[1:]
    assert [row[0] for row in rows] == list(report_project.DIGITS)
    assert rows[0][1] == "2.10 (1.70 to 2.50)"
    assert rows[-1][1:3] == ["too few images", "–"]


def test_many_classes_are_folded(facts: Facts, tmp_path: Path) -> None:
    names = [f"class {i}" for i in range(50)]
    many = report_project.evaluation(names, facts.generator_sha256)
    root = read_html(page(dataclasses.replace(facts, evaluation=many), tmp_path))
    assert "The other 30 classes" in root.text
    assert all(name in root.text for name in names)


def test_copying_in_words_for_both_spaces(root: Element) -> None:
    text = root.text.replace("\N{NO-BREAK SPACE}", " ")
    features, pixels = (text.partition(f"Seen by {space} ")[2] for space in ("features", "pixels"))
    assert features.startswith("No sign of copying: at most ")
    assert "p = 0.43" in features[:120]
    assert pixels.startswith("Near copies: more than chance explains: 1.3 % of the images, at least 1.1 % (with 95 % ")
    assert "3 of 540 held-out images have a near duplicate" in pixels


def test_copying_that_cannot_be_told_claims_nothing(facts: Facts, tmp_path: Path) -> None:
    blind = {
        name: found.model_copy(update={"near_duplicates": 539}) for name, found in facts.evaluation.memorisation.items()
    }
    evaluation = facts.evaluation.model_copy(update={"memorisation": blind})
    text = read_html(page(dataclasses.replace(facts, evaluation=evaluation), tmp_path)).text
    assert "Copies cannot be told here: 539 of 540 held-out images have a near duplicate in the training set" in text
    assert "sign of copying" not in text
    assert "more than chance" not in text


def test_data_and_lineage(root: Element, facts: Facts) -> None:
    assert "1,797 files, of which 3 (0.17 %) were left out" in root.text
    assert ["near duplicate", "kept as it is", "22"] in table(root, "Unusual files")
    assert table(root, "Images of each class")[-1] == ["together", "1,250", "540"]
    shown = " ".join(cell for row in table(root, "What the version was made from") for cell in row)
    for each in (facts.generator_sha256, *report_project.LINEAGE.values()):
        assert each in shown or each == "false"


def test_commands_exist(root: Element) -> None:
    commands = [shlex.split(each.text) for each in root.all("pre")]
    assert ["git", "checkout", report_project.LINEAGE["git_commit"]] in commands
    known = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    for _, name, *arguments in (each for each in commands if each[0] == "gan"):
        known[name].make_context(name, arguments)


def test_nothing_is_loaded_from_anywhere(text: str, root: Element) -> None:
    assert not {each.tag for each in root.walk()} & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for each in root.walk():
        source = each.attributes.get("src", "data:image/")
        assert source.startswith("data:image/")
        assert each.attributes.get("href", "#").startswith("#")
        assert not {name for name in each.attributes if name.startswith("on")}
    assert not re.search(r"@import|url\(|https?://", text)
    (policy,) = (each.attributes["content"] for each in root.all("meta") if "http-equiv" in each.attributes)
    assert policy.startswith("default-src 'none';")


def test_pictures_are_those_of_the_project(root: Element, finished: Path) -> None:
    shown = {base64.b64decode(each.attributes["src"].partition(",")[2]) for each in root.all("img")}
    files = (paths.SAMPLES, paths.REAL_AND_GENERATED, paths.NEAR_COPIES, paths.ANIMATION, paths.TRAINING_SAMPLES)
    assert {(finished / path).read_bytes() for path in files} <= shown


def test_it_can_be_read_by_everyone(root: Element) -> None:
    assert root.all("html")[0].attributes["lang"] == "en"
    assert all(each.attributes["alt"] for each in root.all("img"))
    assert all(each.attributes["scope"] in {"row", "col"} for each in root.all("th"))
    for svg in root.all("svg"):
        assert svg.attributes.get("aria-hidden") == "true" or svg.attributes["aria-label"]
    ids = [each.attributes["id"] for each in root.walk() if "id" in each.attributes]
    assert len(ids) == len(set(ids))
    linked = [each.attributes["href"][1:] for each in root.all("a")]
    labelled = [each.attributes["aria-labelledby"] for each in root.all("section")]
    assert set(linked) | set(labelled) <= set(ids)
    for each in root.all("table"):
        assert len({len(row) for row in each.rows()}) == 1


def test_class_names_above_their_columns(root: Element) -> None:
    (names,) = (each for each in root.walk() if each.attributes.get("class") == "columns")
    assert names.text.split() == list(report_project.DIGITS)
    assert "A column a class, from left to right: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9." in root.text


def test_more_classes_than_columns_are_named_in_order(facts: Facts, tmp_path: Path) -> None:
    def read(count: int) -> str:
        image = facts.manifest.image.model_copy(update={"classes": tuple(f"c{place}" for place in range(count))})
        many = dataclasses.replace(facts, manifest=facts.manifest.model_copy(update={"image": image}))
        return read_html(page(many, tmp_path / str(count))).text

    assert "Row by row the classes take turns: c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11." in read(12)
    assert "c98, c99, and so on." in read(120)


def test_same_facts_same_bytes(facts: Facts, tmp_path: Path) -> None:
    assert page(facts, tmp_path / "a") == page(facts, tmp_path / "b")


def test_what_comes_from_outside_stays_text(tmp_path: Path) -> None:
    project = report_project.make_project(
        tmp_path, (HOSTILE, '"><img src=x onerror=alert(1)>'), {"data.source": f"{HOSTILE}.zip"}
    )
    facts = report_project.gathered(project)
    decision = report_project.registration(facts.generator_sha256, promoted=True, reason=f"By eve: {HOSTILE}")
    text = page(facts, tmp_path, decision)
    root = read_html(text)
    assert root.all("script") == []
    assert not [each for each in root.all("img") if "onerror" in each.attributes]
    assert [row[0] for row in table(root, "Figures of each class")][1] == HOSTILE
    assert f"By eve: {HOSTILE}" in root.text


def test_unlabelled_data(unlabelled: Facts, tmp_path: Path) -> None:
    decision = report_project.registration(unlabelled.generator_sha256, promoted=True)
    root = read_html(page(unlabelled, tmp_path, decision))
    headings = [each.text for each in root.all("h2")]
    unlabelled_chapters = CHAPTERS | {"samples": "Samples"}
    del unlabelled_chapters["classes"]
    assert headings == ["Verdict", *unlabelled_chapters.values()]
    assert "1,250 training images and 540 held-out ones, without labels." in root.text
    assert "The generator knows no classes." in root.text
    assert "unknown: the project was no git repository" in root.text


def test_an_alarm_stands_above_the_verdict(facts: Facts, tmp_path: Path) -> None:
    alarmed = facts.evaluation.model_copy(update={"alarms": ("the classifier <knows> nothing",)})
    text = page(dataclasses.replace(facts, evaluation=alarmed), tmp_path)
    told = "Alarm: the classifier <knows> nothing."
    words = read_html(text).text
    assert words.index(told) < words.index("Aliases after the decision")
    assert "Alarm" not in read_html(page(facts, tmp_path)).text


def test_reconstruction_of_both_splits(root: Element) -> None:
    rows = table(root, "Reconstruction")
    assert rows[1] == [
        "PSNR (dB), higher is nearer",
        "29.01 (28.58 to 29.44)",
        "31.52 (31.09 to 31.95)",
        "2.51 (1.91 to 3.11)",
    ]
    assert len(rows) == 4


def test_what_was_not_made_is_said(facts: Facts, tmp_path: Path) -> None:
    bare = facts.evaluation.model_copy(
        update={
            "metrics": {},
            "memorisation": {},
            "truncation": (),
            "rejection": None,
            "classes": (),
            "reconstruction": None,
        }
    )
    root = read_html(page(dataclasses.replace(facts, evaluation=bare, pictures={}), tmp_path))
    assert root.all("img") == []
    assert "as reports/pictures/near_copies.png was not made" in root.text
    for sentence in ("No metric could be measured.", "The truncation curve was not measured.", "It was not measured."):
        assert sentence in root.text
    assert "Reconstruction" not in root.text


def test_a_first_champion(facts: Facts, tmp_path: Path) -> None:
    decision = report_project.registration(facts.generator_sha256, promoted=True)
    row = decision.verdict.table[0].model_copy(update={"champion": None, "difference": None, "limit": None})
    verdict = decision.verdict.model_copy(update={"table": (row,)})
    first = decision.model_copy(update={"champion_version": None, "remeasured": False, "verdict": verdict})
    root = read_html(page(facts, tmp_path, first))
    assert "Compared with version" not in root.text
    assert "Champion's value" not in root.text


def test_a_decision_about_another_generator_leaves_the_report(facts: Facts, tmp_path: Path) -> None:
    before = page(facts, tmp_path)
    with pytest.raises(UserError, match=r"registration\.json: about generator 0000000000000000"):
        page(facts, tmp_path, report_project.registration("0" * 64, promoted=True))
    assert (tmp_path / paths.REPORT).read_text(encoding="utf-8") == before
    assert [each.name for each in (tmp_path / paths.REPORTS).iterdir()] == [paths.REPORT.name]


def test_a_translator_has_a_chapter_of_its_own_and_none_that_is_empty(unlabelled: Facts, tmp_path: Path) -> None:
    def sure(low: float) -> Interval:
        return Interval(estimate=low + 1, low=low, high=low + 2, level=0.95)

    gain = Gain(made=sure(22), given=sure(14), difference=sure(7))
    translation = Translation(
        images=543, gains=dict.fromkeys(("psnr", "ssim", "distance"), gain), input_fid=290.5, diversity=sure(0), ways=()
    )
    evaluation = unlabelled.evaluation.model_copy(
        update={"translation": translation, "memorisation": {}, "truncation": (), "rejection": None}
    )
    inputs = SuperresolveOptions(kind="superresolve", factor=4)
    generator = dataclasses.replace(unlabelled.generator, inputs=inputs)
    facts = dataclasses.replace(unlabelled, config=tiny_config(PAIRED), evaluation=evaluation, generator=generator)
    root = read_html(page(facts, tmp_path))
    headings = [each.text for each in root.walk() if each.tag == "h2"]
    assert headings == ["Verdict", "Translations", "Training", "Metrics", "Data", "Lineage and commands", "Glossary"]
    assert table(root, "Translations beside their inputs")[1] == [
        "PSNR (dB), higher is nearer", "23.0 (22.0 to 24.0)", "15.0 (14.0 to 16.0)", "8.0 (7.0 to 9.0)",
    ]  # fmt: skip
    assert "gan translate IMAGE… --output translated" in root.text
    assert "gan sample" not in root.text
    targets = {each.attributes["href"][1:] for each in root.all("a") if each.attributes.get("href", "").startswith("#")}
    assert targets <= {each.attributes.get("id") for each in root.walk()}
    write_card(facts, "7", tmp_path / "card.md")
    card = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert "pipeline_tag: image-to-image" in card
    assert "| PSNR (dB) | 23.0 (22.0 to 24.0) |" in card
    assert "Copies of training images" not in card
    for pairs, told in {
        SideBySideOptions(kind="side_by_side", input="right"): "to make the left half of the right one.",
        FoldersOptions(kind="folders", input="A", output="B"): "to make images like those in `B` of those in `A`.",
    }.items():
        config = tiny_config({**PAIRED, "data.inputs": pairs.model_dump()})
        generator = dataclasses.replace(unlabelled.generator, inputs=pairs)
        write_card(dataclasses.replace(facts, config=config, generator=generator), "7", tmp_path / "card.md")
        assert told in (tmp_path / "card.md").read_text(encoding="utf-8")


def test_two_translators_are_told_a_column_each(unlabelled: Facts, tmp_path: Path) -> None:
    def sure(low: float) -> Interval:
        return Interval(estimate=low + 0.01, low=low, high=low + 0.02, level=0.95)

    figures = {"images": 543, "fid": 2.5, "input_fid": 290.5, "cycle_psnr": sure(30), "cycle_error": sure(0.01)}
    unseen = dict.fromkeys(
        ("agreement", "input_agreement", "style_agreement", "real_style_agreement", "cycle_agreement")
    )
    there = Way(made="images", **{**figures, **unseen, "agreement": sure(0.97), "input_agreement": sure(0.1)})
    back = Way(made="inputs", **{**figures, **unseen, "cycle_agreement": sure(0.96)})
    translation = Translation(images=543, gains={}, input_fid=290.5, diversity=sure(0), ways=(there, back))
    evaluation = unlabelled.evaluation.model_copy(
        update={"translation": translation, "memorisation": {}, "truncation": (), "rejection": None}
    )
    for inputs in (
        InvertOptions(kind="invert", sigma_px=1.0),
        ClassesOptions(kind="classes", input="<b>horse</b>", output="zebra"),
    ):
        generator = dataclasses.replace(unlabelled.generator, inputs=inputs)
        config = tiny_config({**UNPAIRED, "data.inputs": inputs.model_dump()})
        facts = dataclasses.replace(unlabelled, config=config, evaluation=evaluation, generator=generator)
        rows = table(read_html(page(facts, tmp_path)), "Each way, and there and back")
        assert rows[0] == ["Figure", "to images", "to inputs"]
        assert rows[1] == ["FID of translations", "2.50", "2.50"]
        assert ["Class agreement of translations", "98 % (97 % to 99 %)", "–"] in rows
        write_card(facts, "7", tmp_path / "card.md")
        card = (tmp_path / "card.md").read_text(encoding="utf-8")
        assert "| On held-out images | to images | to inputs |\n| --- | ---: | ---: |\n| FID of translations |" in card
        assert "learned without pairs" in card
        assert "PSNR (dB)" not in card
        assert "Data-Copying" not in card
        assert ("--to inputs" in card) == (inputs.kind == "invert")
        assert "<b>" not in card.replace("`--to <b>horse</b>`", "")


def test_styles_are_told_a_column_each(unlabelled: Facts, tmp_path: Path) -> None:
    def sure(low: float) -> Interval:
        return Interval(estimate=low + 0.01, low=low, high=low + 0.02, level=0.95)

    config = tiny_config(STYLES)
    figures = {"images": 543, "fid": 2.5, "input_fid": 290.5, "cycle_psnr": sure(30), "cycle_error": sure(0.01)}
    shares = {"style_agreement": sure(0.97), "real_style_agreement": sure(0.95)}
    unseen = dict.fromkeys(("agreement", "input_agreement", "cycle_agreement"))
    names = ("images", "negative", "blurred", "noisy")
    ways = tuple(Way(made=name, **figures, **shares, **unseen) for name in names)
    translation = Translation(images=543, gains={}, input_fid=290.5, diversity=sure(0), ways=ways)
    nothing = {"memorisation": {}, "truncation": (), "rejection": None}
    evaluation = unlabelled.evaluation.model_copy(update={"translation": translation, **nothing})
    generator = dataclasses.replace(unlabelled.generator, inputs=config.data.inputs)
    facts = dataclasses.replace(unlabelled, config=config, evaluation=evaluation, generator=generator)
    text = page(facts, tmp_path)
    rows = table(read_html(text), "Each way, and there and back")
    assert rows[0] == ["Figure", *(f"to {name}" for name in names)]
    assert ["Style agreement of translations", *["98 % (97 % to 99 %)"] * 4] in rows
    write_card(facts, "7", tmp_path / "card.md")
    card = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert "into several styles: images, negative, blurred, noisy. It learned without pairs." in card
    assert "--to STYLE" in card
    assert "cross-entropy of styles" in card
