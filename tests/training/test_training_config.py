"""Training settings are checked before anything is loaded."""

import subprocess
import sys

import pytest

from vla3d.errors import ConfigError
from vla3d.training.config import TrainerConfig


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"step": 10}, "Unknown training setting 'step'. Did you mean 'steps'?"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"steps": 10.0}, "steps must be a whole number"),
        ({"batch_size": True}, "batch_size must be a whole number"),
        ({"lr": "1e-3"}, "lr must be a number above 0, got '1e-3'"),
        ({"lr": float("nan")}, "lr must be a number"),
        ({"lr": float("inf")}, "lr must be a number"),
        ({"final_lr": 2.0}, "final_lr must be a number at least 0 and at most 1"),
        ({"betas": [0.9]}, "betas must be two numbers"),
        ({"betas": [0.9, 1.0]}, "betas must be a number at least 0 and below 1"),
        ({"ema_decay": 1.0}, "ema_decay must be a number at least 0 and below 1"),
        ({"clip_norm": 0}, "clip_norm must be a number above 0"),
        ({"max_minutes": -1}, "max_minutes must be a number above 0"),
        ({"precision": "fp8"}, "Unknown precision 'fp8'. Did you mean 'fp32'?"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'?"),
        ({"trackers": ["tensorbord"]}, "Unknown tracker 'tensorbord'. Did you mean 'tensorboard'?"),
        ({"trackers": "jsonl"}, "trackers must be a list"),
        ({"deterministic": "yes"}, "deterministic must be true or false, got 'yes'"),
        ({"task_alpha": 1.5}, "task_alpha must be a number at least 0 and at most 1"),
        ({"freeze_steps": -1}, "freeze_steps must be a whole number of at least 0"),
        ({"steps": 10, "freeze_steps": 10}, "freeze_steps=10 leaves none of steps=10"),
        ({"steps": 10, "warmup_steps": 11}, "warmup_steps=11 is more than steps=10"),
    ],
)
def test_bad_values_are_refused_by_name(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainerConfig.from_mapping(values)
    assert words in str(caught.value)


def test_lists_from_configuration_files_become_tuples() -> None:
    config = TrainerConfig.from_mapping({"betas": [0.8, 0.9], "trackers": ["jsonl", "tensorboard"]})
    assert config.betas == (0.8, 0.9) and config.trackers == ("jsonl", "tensorboard")
    assert TrainerConfig.from_mapping(config.as_dict()) == config


@pytest.mark.parametrize(("steps", "warmup"), [(5, 0), (200, 20), (2000, 100)])
def test_default_warmup_fits_the_run(steps: int, warmup: int) -> None:
    assert TrainerConfig(steps=steps).warmup == warmup


def test_the_settings_need_no_torch() -> None:
    code = "import sys, vla3d.training.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
