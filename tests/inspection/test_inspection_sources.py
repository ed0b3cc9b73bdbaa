"""What a path means, which episodes are meant, and whose files may be replaced."""

import json
from pathlib import Path

import pytest

from vla3d.data.store import write_group
from vla3d.errors import ConfigError, DataError
from vla3d.inspection.config import ViewConfig
from vla3d.inspection.outputs import INDEX, ViewFolder
from vla3d.inspection.sources import Source, chosen, find_source

EPISODES = {"lift": [0, 2, 5], "open": [1, 2], "none": []}
FAILED = {"open": [2]}
HERE = Source(kind="rollout", folder=Path("here"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A rollout with a dataset and a training run in its folder, as `make demo` leaves them."""
    (tmp_path / "episodes" / "lift").mkdir(parents=True)
    (tmp_path / "episodes" / "lift" / "0003.json").write_text("{}")
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / "report.html").write_text("")
    episode = tmp_path / "demos" / "lift" / "000012"
    episode.mkdir(parents=True)
    write_group(tmp_path / "demos", {"schema_version": 1, "request": {}}, where="test")
    write_group(episode, {"schema_version": 1}, where="test")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "trainer.json").write_text("{}")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "cameras.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("path", "kind", "folder", "task", "number"),
    [
        ("", "rollout", "", None, None),
        ("report.html", "rollout", "", None, None),
        ("episodes", "rollout", "", None, None),
        ("episodes/lift", "rollout", "", "lift", None),
        ("episodes/lift/0003.json", "rollout", "", "lift", 3),
        ("demos", "dataset", "demos", None, None),
        ("demos/lift", "dataset", "demos", "lift", None),
        ("demos/lift/000012", "dataset", "demos", "lift", 12),
        ("demos/lift/000012/zarr.json", "dataset", "demos", "lift", 12),
    ],
)
def test_what_a_path_stands_for(path: str, kind: str, folder: str, task: str | None, number: int | None, tree: Path) -> None:
    found = find_source(tree / path)
    assert (found.kind, found.folder, found.task, found.number) == (kind, tree / folder, task, number)


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("nowhere", "does not exist; expected a dataset"),
        ("empty", "is an empty folder"),
        ("train", "is a training run, to be rolled out first"),
        ("mine", "to be looked at with vla3d view cameras"),
        ("mine/cameras.json", "is a file of another kind"),
    ],
)
def test_a_path_that_is_none_of_these(path: str, part: str, tree: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        find_source(tree / path)
    assert part in str(raised.value) and "expected a dataset" in str(raised.value)


def test_a_damaged_dataset_says_so(tree: Path) -> None:
    path = tree / "demos" / "zarr.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(DataError, match="collect the dataset again"):
        find_source(tree / "demos")


@pytest.mark.parametrize(
    ("picks", "expected"),
    [
        ([], [("lift", 0), ("open", 2)]),
        (["first"], [("lift", 0), ("open", 1)]),
        (["failures"], [("open", 2)]),
        (["all"], [("lift", 0), ("lift", 2), ("lift", 5), ("open", 1), ("open", 2)]),
        (["open/1", "lift/5"], [("open", 1), ("lift", 5)]),
        (["open/2", "failures"], [("open", 2)]),
    ],
)
def test_which_episodes(picks: list[str], expected: list[tuple[str, int]]) -> None:
    assert chosen(HERE, EPISODES, FAILED, picks) == expected


def test_a_path_that_names_the_episode() -> None:
    assert chosen(Source(kind="dataset", folder=Path(), task="open", number=1), EPISODES, {}, []) == [("open", 1)]
    assert chosen(Source(kind="dataset", folder=Path(), task="lift"), EPISODES, {}, ["2"]) == [("lift", 2)]


@pytest.mark.parametrize(
    ("source", "picks", "part"),
    [
        (HERE, ["2"], "has no episode 2 of none; it has none"),
        (HERE, ["lift/3"], "has no episode 3 of lift; it has 0, 2, 5"),
        (HERE, ["lft/0"], "Unknown task 'lft'. Did you mean 'lift'?"),
        (HERE, ["frist"], "expected first, failures, all, a number, or TASK/NUMBER"),
        (Source(kind="rollout", folder=Path(), task="lift"), ["failures"], "has no failed episode"),
        (Source(kind="rollout", folder=Path(), task="lft"), [], "Did you mean 'lift'?"),
        (Source(kind="rollout", folder=Path(), task="lift", number=0), ["1"], "give one of the two"),
    ],
)
def test_episodes_that_are_not_there(source: Source, picks: list[str], part: str) -> None:
    with pytest.raises(ConfigError) as raised:
        chosen(source, EPISODES, FAILED, picks)
    assert part in str(raised.value)


def test_the_words_of_episode() -> None:
    def picks(episode: object) -> tuple[str, ...]:
        return ViewConfig(path=Path("a"), out=Path("b"), episode=episode).picks  # type: ignore[arg-type]

    assert [picks(given) for given in (None, 3, "all", ["open/1", 2])] == [(), ("3",), ("all",), ("open/1", "2")]


# Whose files


def test_only_our_own_files_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "theirs.png").write_text("theirs")
    folder = ViewFolder(tmp_path, {"path": "demos"})
    ours = folder.claim("ours.png")
    ours.write_text("ours")
    assert ViewFolder(tmp_path, {}).claim("ours.png") == ours
    with pytest.raises(ConfigError, match=r"theirs\.png exists and was not written by vla3d view"):
        ViewFolder(tmp_path, {}).claim("theirs.png")
    assert json.loads((tmp_path / INDEX).read_text())["files"] == ["ours.png"]


@pytest.mark.parametrize("content", ["{", "[]", '{"made_by": "somebody", "files": []}'])
def test_an_index_that_is_not_ours(content: str, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(content)
    with pytest.raises(ConfigError, match="was not written by vla3d view, or is damaged"):
        ViewFolder(tmp_path, {})


def test_a_folder_that_cannot_be_one(tree: Path) -> None:
    with pytest.raises(ConfigError, match="is a file, expected a folder"):
        ViewFolder(tree / "report.html", {})
    with pytest.raises(ConfigError, match="lies inside the dataset"):
        ViewFolder(tree / "demos" / "pictures", {})
    assert not (tree / "demos" / "pictures").exists()
