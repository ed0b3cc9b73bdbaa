"""What a policy cannot answer it is not trained on."""

from pathlib import Path
from typing import Any

import pytest

from vla3d.data.demos import DemosConfig, DemoSplit
from vla3d.errors import ConfigError
from vla3d.training import run
from vla3d.training.run import TrainRunConfig, train_policy

BOX = {"workspace_low": [0, 0, 0], "workspace_high": [1, 1, 1], "cameras": ["front"]}


class NothingLoadedError(Exception):
    pass


def loads(*_: Any) -> None:
    raise NothingLoadedError("demos would be loaded")


@pytest.mark.parametrize(("answers", "expected"), [(False, ConfigError), (True, NothingLoadedError)])
def test_answers_are_for_policies_that_have_them(
    answers: bool, expected: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("open_demos", None),
        ("split_demos", DemoSplit(train=(), validation=())),
        ("sentences_of", ["lift the cube"]),
    ):
        monkeypatch.setattr(run, name, lambda *_, _value=value, **__: _value)
    monkeypatch.setattr(run, "_load", loads)
    config = TrainRunConfig(
        data=tmp_path / "demos",
        out=tmp_path / "run",
        policy="bridgevla",
        policy_config={**BOX, "answers": answers},
        demos=DemosConfig(answers=True),
    )
    with pytest.raises(expected, match="would be loaded" if answers else "policy.answers=true"):
        train_policy(config)
