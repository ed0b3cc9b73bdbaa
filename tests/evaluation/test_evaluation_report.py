"""The report page: well formed, self-contained, safe with any text, and true to the numbers."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from vla3d.errors import DataError
from vla3d.evaluation.report import interval_text, percent, write_report
from vla3d.evaluation.results import ActionRecord, EpisodeRecord, RolloutFolder
from vla3d.evaluation.summary import summarise

VOID = {"meta", "img", "input", "br", "link"}
NASTY = 'lift the <script>alert("x")</script> & "red" ball'


class Page(HTMLParser):
    """Reads a page strictly: every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "poster")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def classes(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.tags if name in (attributes.get("class") or "").split()]


def finished(folder: Path, outcomes: list[str | None], control: str = "none", policy: str = "bridgevla") -> Path:
    """A rollout's folder; an outcome is None for a success, else the reason of the failure."""
    store = RolloutFolder(folder)
    action = ActionRecord(
        position=(0.0, 0.0, 0.0), quaternion=(0.0, 1.0, 0.0, 0.0), gripper_open=True, ignore_collisions=False, answer="move",
        failure="collision",
    )  # fmt: skip
    records = [
        EpisodeRecord(
            task="lift", index=i, seed=100 + i, variation=0, instruction="lift the blue ball",
            shown=NASTY if i == 0 else "lift it",
            success=reason is None, old_goal=reason == "wrong_object", failure=reason, answer="absent" if i == 1 else None,
            actions=(action,), decision_seconds=0.02, seconds=1.0,
        )
        for i, reason in enumerate(outcomes)
    ]  # fmt: skip
    for record in records:
        store.write(record)
        store.file("lift", record.index, ".jpg").write_bytes(b"jpeg" * 300)
    store.file("lift", 0, ".mp4").write_bytes(b"mp4" * 1000)
    settings = {"policy": policy, "control": control, "seed": 1000, "versions": {"numpy": "2.4.6"}}
    (folder / "rollout.json").write_text(json.dumps(summarise({"lift": records}, settings)))
    return folder


def page(folder: Path, **kwargs: Any) -> Page:
    return Page(write_report(folder, **kwargs).read_text())


def test_page_is_self_contained_and_escapes(tmp_path: Path) -> None:
    made = page(finished(tmp_path, [None, "timeout", "wrong_object", None]))
    assert made.links and all(link.startswith(("data:image/jpeg;base64,", "data:video/mp4;base64,")) for link in made.links)
    assert "script" not in {tag for tag, _ in made.tags} and NASTY in made.text
    source = (tmp_path / "report.html").read_text()
    assert not re.search(r"https?://|@import|url\(", source)
    assert "prefers-color-scheme: dark" in source


def test_numbers_and_pictures_agree_with_the_summary(tmp_path: Path) -> None:
    outcomes = [None, "timeout", "timeout", None, "collision", "odd_reason"]
    made = page(finished(tmp_path, outcomes))
    assert "2/6" in made.text and "33 %" in made.text and "10–70 %" in made.text
    assert "Terminal answers: absent 1" in made.text and "numpy version 2.4.6" in made.text and "20 ms" in made.text
    pieces = {a["title"]: a["style"] for a in [a for t, a in made.tags if t == "i" and "title" in a]}
    assert pieces == {
        "success: 2": "flex-grow:2",
        "collision: 1": "flex-grow:1",
        "timeout: 2": "flex-grow:2",
        "odd reason: 1": "flex-grow:1",
    }
    assert made.classes("dot")[0]["style"] == "left:33.33%"
    assert len(made.classes("episode")) == 6 and len(made.classes("filmed")) == 1
    video = next(a["src"] for tag, a in made.tags if tag == "video")
    assert base64.b64decode((video or "").split(",")[1]) == b"mp4" * 1000
    assert "not carried out: collision 1" in made.text


def test_what_does_not_fit_is_linked(tmp_path: Path) -> None:
    folder = finished(tmp_path, [None] * 4)
    made = page(folder, megabytes=2500 / 2**20)
    assert sum(link.startswith("data:image") for link in made.links) == 2
    assert [link for link in made.links if not link.startswith("data:")] == ["episodes/lift/0000.mp4"]
    assert len(made.classes("filmed")) == 1


def test_controls_stand_side_by_side(tmp_path: Path) -> None:
    own = finished(tmp_path / "own", [None] * 9 + ["timeout"])
    swap = finished(tmp_path / "swap", [None] * 8 + ["wrong_object"] * 2, control="swap")
    chance = finished(tmp_path / "random", ["timeout"] * 10, policy="random")
    made = page(own, compare=[swap, chance])
    text = made.text
    assert "Side by side" in text and "bridgevla, swap" in text and "old goal 20 %" in text
    assert text.index("90 %") < text.index("Side by side") < text.index("80 %")
    assert "Side by side" not in page(own).text
    alone = page(swap)
    assert "control: swap" in alone.text and "reached the old goal, 6–51 %" in alone.text


def test_unfinished_rollouts_are_refused(tmp_path: Path) -> None:
    folder = finished(tmp_path / "own", [None])
    with pytest.raises(DataError, match=r"rollout\.json cannot be read"):
        write_report(folder, compare=[tmp_path / "none"])
    (folder / "episodes/lift/0000.json").unlink()
    with pytest.raises(DataError, match=r"0000\.json is missing"):
        write_report(folder)


def test_words_for_numbers() -> None:
    assert (percent(0.333), percent(1), interval_text([0.104, 0.7])) == ("33 %", "100 %", "10–70 %")


def test_where_the_answer_is_the_success_the_page_says_so(tmp_path: Path) -> None:
    shown = page(finished(tmp_path, [None, "gave_up", "wrong_object"], control="absent"))
    assert "answered absent 1" in shown.text and "gave up 1" in shown.text and "share that answered absent" in shown.text
    assert len(shown.classes("gave_up-fill")) == 2
    assert "answered absent" not in page(finished(tmp_path / "plain", [None, "timeout"])).text
