"""One YAML text over another: values as if merged, comments beside the keys that they explain."""

import pytest
import yaml

from pipelines.overlay import OverlayError, overlaid

BASE = """\
# Every number.

data:                             # what is read
  source: here                    # a folder
  # Two lines about both,
  # above the first.
  width: 1
  height: 2                       # in pixels
  policy: {
    empty: drop,
    damaged: drop}

network:
  family: small
  width: 4                        # of the small one
  half: true

critic: {policy: none}            # none or some
seed: 0
names:
  - a
  - b                             # the last
last: 1
"""


def test_lines_are_replaced_and_comments_stay() -> None:
    changes = """\
# Another one.

data:
  source: "there, # and here"
  width: 1000000000000000000000000000
  height: 3                       # in metres
  policy: {empty: keep}           # nothing is lost

critic:
  policy: some
  share: 0.5

names: [c]
# Last, and so changed.
last: null
"""
    assert (
        overlaid(BASE, changes)
        == """\
# Another one.
# Every number.

data:                             # what is read
  source: "there, # and here"     # a folder
  # Two lines about both,
  # above the first.
  width: 1000000000000000000000000000
  height: 3                       # in metres
  policy: {empty: keep}           # nothing is lost

network:
  family: small
  width: 4                        # of the small one
  half: true

critic:                           # none or some
  policy: some
  share: 0.5
seed: 0
names: [c]
# Last, and so changed.
last: null
"""
    )


def test_a_section_that_names_its_kind_is_replaced_whole_and_others_key_by_key() -> None:
    whole = yaml.safe_load(overlaid(BASE, "network:\n  family: large\n  depth: 9\n"))
    assert whole["network"] == {"family": "large", "depth": 9}
    part = overlaid(BASE, "network:\n  width: 8\n")
    assert yaml.safe_load(part)["network"] == {"family": "small", "width": 8, "half": True}
    assert "  width: 8                        # of the small one\n" in part


def test_the_comment_of_a_list_stays_with_its_lines() -> None:
    assert overlaid(BASE, "# Two.\n\nnames:\n  - d\n  - e\n").count("names:\n  - d\n  - e\nlast: 1\n") == 1


def test_without_changes_the_base_follows_the_comment() -> None:
    assert overlaid(BASE, "# As it is.\n") == f"# As it is.\n{BASE}"


def test_what_repeats_the_base_may_come_for_its_comment() -> None:
    told = overlaid(BASE, "# As chosen.\n\n# Why: a test.\nseed: 0\n", repeats=True)
    assert yaml.safe_load(told) == yaml.safe_load(BASE)
    assert "# Why: a test.\nseed: 0" in told


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ("data:\n  sauce: x\n", "data.sauce: not in the base"),
        ("seed: 0\n", "seed: equal to the base; remove it"),
        ("data:\n  policy: {damaged: drop, empty: drop}\n", "data.policy: equal to the base; remove it"),
        ("network:\n  family: small\n  half: true\n  width: 4\n", "network: equal to the base; remove it"),
        ("seed: 1\nseed: 2\n", "seed: written twice"),
        ("- 1\n", "the text: expected a mapping"),
    ],
)
def test_changes_that_do_not_fit_are_named(changes: str, line: str) -> None:
    with pytest.raises(OverlayError, match=f"^{line}"):
        overlaid(BASE, changes)
