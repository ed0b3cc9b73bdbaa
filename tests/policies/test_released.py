"""Policies that come with vla3d: found by name, whole, and described."""

from pathlib import Path

import pytest

from vla3d.errors import CheckpointError
from vla3d.policies import learned
from vla3d.policies.learned import load_policy
from vla3d.policies.released import released_policies
from vla3d.training.checkpoint import policy_directory

MOST_MEGABYTES = 1.5


@pytest.mark.parametrize("name", released_policies())
def test_a_released_policy_opens_by_name_and_has_a_card(name: str) -> None:
    folder = released_policies()[name]
    assert policy_directory(Path(name)) == folder
    assert load_policy(name).required_cameras
    card = (folder / "README.md").read_text()
    assert card.startswith(f"# {name}") and all(part in card for part in ("## Data", "## Figures", "## Limits"))
    assert sum(path.stat().st_size for path in folder.iterdir()) < MOST_MEGABYTES * 1e6


def test_an_unknown_name_is_refused_with_those_that_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(learned, "released_policies", lambda: {"famous": tmp_path})
    with pytest.raises(CheckpointError, match="famous"):
        load_policy("infamous")


def test_a_folder_of_ones_own_wins_over_a_released_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "famous").mkdir()
    (tmp_path / "famous" / "policy.json").write_text("{}")
    monkeypatch.setattr("vla3d.training.checkpoint.released_policies", lambda: {"famous": tmp_path / "elsewhere"})
    assert policy_directory(Path("famous")) == Path("famous")
