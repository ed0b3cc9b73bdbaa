"""The reader of ScanRefer, on files like the published ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from vla3d.errors import DataError
from vla3d.scene_graphs.datasets.scanrefer import CLASSES, read_classes, read_scanrefer, unique_things

NAMES = ("scene_id", "object_id", "object_name", "ann_id", "description")
ROWS = [
    ("scene0000_00", "3", "office_chair", "0", "the black chair"),
    ("scene0000_00", "3", "office_chair", "1", "a chair by the desk"),
    ("scene0000_00", "7", "desk", "0", "the desk"),
    ("scene0000_00", "8", "monitor", "0", "the monitor"),
    ("scene0000_00", "9", "shoe", "0", "the shoe"),
    ("scene0001_00", "3", "monitor", "0", "the screen"),
]
SENTENCES: list[dict[str, Any]] = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
SENTENCES[0]["token"] = ["the", "black", "chair"]
TABLE = "id\traw_category\tcategory\tcount\tnyu40id\teigen13id\tnyuClass\tnyu40class\n" + "".join(
    f"{number}\t{raw}\t{raw}\t1\t0\t0\t{name}\t{name}\n"
    for number, (raw, name) in enumerate(
        [("office chair", "chair"), ("desk", "desk"), ("monitor", "otherprop"), ("shoe", "otherprop")]
    )
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "val.json").write_text(json.dumps(SENTENCES))
    (tmp_path / "labels.tsv").write_text(TABLE)
    return tmp_path


def test_sentences_keep_what_the_file_says(folder: Path) -> None:
    references = read_scanrefer(folder / "val.json")
    assert len(references) == len(SENTENCES)
    first = references[0]
    assert (first.scene_id, first.object_id, first.object_name, first.ann_id) == ("scene0000_00", 3, "office chair", "0")
    assert first.description == "the black chair" and first.tokens == ("the", "black", "chair")
    assert references[2].tokens == ()


def test_unique_by_hand(folder: Path) -> None:
    references, classes = read_scanrefer(folder / "val.json"), read_classes(folder / "labels.tsv")
    assert classes == {"office chair": "chair", "desk": "desk", "monitor": "others", "shoe": "others"}
    assert len(CLASSES) == 18
    # The chair has two sentences and counts once; monitor and shoe are both "others"; the other scene has one thing.
    assert unique_things(references, classes).tolist() == [True, True, True, False, False, True]


def test_counting_all_things_of_a_scene_gives_another_split(folder: Path) -> None:
    references, classes = read_scanrefer(folder / "val.json"), read_classes(folder / "labels.tsv")
    everything = {
        "scene0000_00": ["office chair", "office chair", "desk", "monitor", "shoe"],
        "scene0001_00": ["monitor", "a thing in no table"],
    }
    assert unique_things(references, classes, everything).tolist() == [False, False, True, False, False, False]
    with pytest.raises(DataError, match="scene_objects lacks scene0001_00"):
        unique_things(references, classes, {"scene0000_00": []})


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{", "cannot be read as ScanRefer"),
        ("{}", "got dict, expected a list"),
        ("[1]", "entry 0: got 1, expected an object with scene_id"),
        (json.dumps([{"scene_id": "s", "object_id": "1"}]), "entry 0: object_name is missing"),
        (json.dumps([SENTENCES[0] | {"object_id": "three"}]), "entry 0: got object_id 'three'"),
        (json.dumps([SENTENCES[0] | {"token": "the chair"}]), "entry 0: got token 'the chair'"),
        (json.dumps([SENTENCES[0], SENTENCES[0]]), "is there twice"),
    ],
)
def test_damage_is_named(content: str, part: str, tmp_path: Path) -> None:
    (tmp_path / "val.json").write_text(content)
    with pytest.raises(DataError) as caught:
        read_scanrefer(tmp_path / "val.json")
    assert part in str(caught.value)


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_classes(tmp_path / "labels.tsv")
    (tmp_path / "labels.tsv").write_text("id\tcategory\n1\tchair\n")
    with pytest.raises(DataError, match="the column raw_category is missing"):
        read_classes(tmp_path / "labels.tsv")
