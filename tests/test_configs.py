"""Every YAML composes, names every setting, and builds its dataclasses."""

import dataclasses
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from vla3d.backbones.config import PaliGemmaBackboneConfig
from vla3d.benchmarks.config import BenchConfig
from vla3d.commands.building import build, dated_folder, recorded
from vla3d.commands.composition import compose
from vla3d.commands.pretrain import pretrain_config
from vla3d.commands.train import run_config
from vla3d.conversion.config import ConvertConfig
from vla3d.data.demos import DemosConfig
from vla3d.errors import ConfigError, DataError
from vla3d.evaluation.collect_config import CollectConfig
from vla3d.evaluation.config import RolloutConfig
from vla3d.evaluation.offline_config import EvaluateConfig
from vla3d.inspection.config import CamerasConfig, GraphConfig, ViewConfig
from vla3d.policies.bridgevla import AugmentationConfig, BridgeVLAConfig
from vla3d.policies.bridgevla_v1.config import BridgeVLAV1Config
from vla3d.policies.bridgevla_v1.convert import MAX_TEXT_TOKENS, ConvertCheckpointConfig
from vla3d.policies.verified.config import VerifyConfig
from vla3d.pretraining.config import LossWeights, SceneGraphObjectiveConfig, SceneTextsConfig
from vla3d.scene_graphs.encoder.config import SceneEncoderConfig
from vla3d.serving.config import ServeConfig
from vla3d.training.config import TrainerConfig
from vla3d.training.run import TrainRunConfig

SUITES = ("tabletop8", "tabletop_colosseum", "tabletop_gembench", "tabletop_relations", "rlbench18", "colosseum")
CONFIGS = Path(str(files("vla3d"))) / "configs"
GROUPS = ("demos", "experiment", "policy", "trainer")
OPTIONS = [f"{group}={path.stem}" for group in GROUPS for path in sorted((CONFIGS / group).glob("*.yaml"))]
DERIVED = {"num_views", "proprio_dim"}  # BridgeVLAConfig fills them in


def composed(command: str, *words: str) -> dict[str, Any]:
    values = compose(command, command, words)
    assert values is not None
    return values


def names(cls: type) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


def test_the_tree_holds_yaml_only_and_every_file_is_covered() -> None:
    found = {
        str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    covered = {f"{group}/{name}.yaml" for group, name in (option.split("=") for option in OPTIONS)}
    commands = (
        "bench",
        "collect",
        "convert",
        "evaluate",
        "graph",
        "pretrain",
        "rollout",
        "serve",
        "train",
        "view",
        "view_cameras",
    )
    roots = {"objective/scene_graph.yaml", "view.yaml", "view_cameras.yaml", *(f"{name}.yaml" for name in commands)}
    roots |= {f"convert_{source}.yaml" for source in ("rlbench", "gembench", "bridgevla_real", "checkpoint")}
    # Run by tests/evaluation/test_suite.py and tests/envs/test_rlbench_suites.py.
    suites = {f"suite/{name}.yaml" for name in SUITES}
    hydra = {"hydra/plain.yaml", "hydra/help/vla3d.yaml", "hydra/help/vla3d_groups.yaml"}  # part of every root
    assert found == covered | roots | suites | hydra | {"__init__.py"}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_builds_its_dataclasses(option: str) -> None:
    config = run_config(composed("train", option, "out=run"))
    assert isinstance(config, TrainRunConfig) and isinstance(config.trainer, TrainerConfig)
    assert isinstance(config.demos, DemosConfig)
    assert config.policy == ("bridgevla_v1" if "bridgevla_v1" in option else "bridgevla")
    settings = BridgeVLAV1Config if config.policy == "bridgevla_v1" else BridgeVLAConfig
    assert settings.from_dict(dict(config.policy_config)).to_dict()


def test_nothing_of_hydra_travels_on() -> None:
    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(type(key) is str and plain(item) for key, item in value.items())
        return all(map(plain, value)) if type(value) is list else type(value) in (str, int, float, bool, type(None))

    assert plain(composed("train", "experiment=tabletop3"))


def test_yaml_names_every_setting() -> None:
    """A setting that the YAML does not name cannot be set without a plus sign, and Tab does not find it."""
    train = composed("train")
    assert set(train["trainer"]) == names(TrainerConfig)
    assert set(train["demos"]) == names(DemosConfig)
    assert set(train["policy"]) == names(BridgeVLAConfig) | {"name"}
    assert set(train["policy"]["backbone"]) == names(PaliGemmaBackboneConfig) - DERIVED
    assert set(train["policy"]["augmentation"]) == names(AugmentationConfig)
    assert set(composed("train", "policy=bridgevla_v1")["policy"]) == names(BridgeVLAV1Config) | {"name"}
    assert set(composed("convert_checkpoint")) == names(ConvertCheckpointConfig)
    pretrain = composed("pretrain")
    assert set(pretrain["objective"]) == names(SceneGraphObjectiveConfig) | {"name"}
    assert set(pretrain["objective"]["encoder"]) == names(SceneEncoderConfig)
    assert set(pretrain["objective"]["weights"]) == names(LossWeights)
    assert set(pretrain["scenes"]) == names(SceneTextsConfig)
    assert set(composed("collect")) == names(CollectConfig)
    assert set(composed("convert")) == names(ConvertConfig)
    assert set(composed("convert_rlbench")) == names(ConvertConfig) - {"format"}
    assert set(composed("convert_gembench")) == names(ConvertConfig) - {"format", "keyframe_rule"}
    assert set(composed("convert_bridgevla_real")) == names(ConvertConfig) - {"format", "keyframe_rule", "cameras"}
    assert set(composed("rollout")) - {"suite"} == names(RolloutConfig)
    assert set(composed("rollout")["verify"]) == names(VerifyConfig)
    assert set(composed("evaluate")) == names(EvaluateConfig)
    assert set(composed("serve")) == names(ServeConfig)
    assert set(composed("bench")) == names(BenchConfig)
    assert set(composed("view")) == names(ViewConfig)
    assert set(composed("view_cameras")) == names(CamerasConfig)
    assert set(composed("graph")) == names(GraphConfig)


def test_yaml_agrees_with_the_defaults_of_the_dataclasses() -> None:
    """`vla3d collect` and its library function do the same when told the same; so for the others."""
    fixed = {"tasks": ["open_drawer"], "out": "x"}
    assert build(CollectConfig, composed("collect") | fixed) == CollectConfig(tasks=["open_drawer"], out=Path("x"))
    convert = {"path": Path("demos"), "out": Path("x")}
    assert build(ConvertConfig, composed("convert") | convert) == ConvertConfig(**convert)
    rollout = composed("rollout") | fixed | {"policy": "random"}
    assert rollout.pop("suite") == {"name": None, "rows": [], "only": []}
    assert build(RolloutConfig, rollout) == RolloutConfig(tasks=["open_drawer"], out=Path("x"), policy="random")
    assert build(DemosConfig, composed("train")["demos"]) == DemosConfig()
    pretrain = pretrain_config(composed("pretrain", "out=x", "steps=7", "seed=3"))
    assert pretrain.objective == SceneGraphObjectiveConfig() and pretrain.scenes == SceneTextsConfig()
    assert (pretrain.out, pretrain.trainer.steps, pretrain.trainer.seed) == (Path("x"), 7, 3)
    evaluate = {"checkpoint": "run", "out": "x", "demos": composed("evaluate")["demos"]["split"]}
    assert build(EvaluateConfig, composed("evaluate") | evaluate) == EvaluateConfig(checkpoint=Path("run"), out=Path("x"))
    serve = composed("serve") | {"policy": "random"}
    assert build(ServeConfig, serve) == ServeConfig(policy="random")
    bench = {"operations": "points", "out": Path("x.json")}
    assert build(BenchConfig, composed("bench") | bench) == BenchConfig(**bench)
    view = {"path": Path("demos"), "out": Path("x")}
    assert build(ViewConfig, composed("view") | view) == ViewConfig(**view)
    assert build(CamerasConfig, composed("view_cameras") | view) == CamerasConfig(**view)
    convert = {"source": Path("a.pth"), "out": Path("x")}
    lists = {key: tuple(value) for key, value in composed("convert_checkpoint").items() if isinstance(value, list)}
    built = build(ConvertCheckpointConfig, composed("convert_checkpoint") | lists | convert)
    assert built == ConvertCheckpointConfig(**convert)
    graph = {"input": "open_drawer", "out": Path("x")}
    assert build(GraphConfig, composed("graph") | graph) == GraphConfig(**graph)


def test_sections_of_a_command_are_built() -> None:
    fixed = {"tasks": ["open_drawer"], "out": "x", "policy": "random"}
    values = composed("rollout", "verify.enabled=true", "verify.retries=1") | fixed
    del values["suite"]
    assert build(RolloutConfig, values).verify == VerifyConfig(enabled=True, retries=1)
    with pytest.raises(ConfigError, match=r"verify\.retries: got 1\.5, expected a whole number"):
        build(RolloutConfig, values | {"verify": {"retries": 1.5}})


def test_shortcuts_reach_the_trainer() -> None:
    trainer = run_config(composed("train", "steps=7", "seed=3")).trainer
    assert (trainer.steps, trainer.seed) == (7, 3)
    assert run_config(composed("train", "experiment=tabletop3", "steps=7")).trainer.steps == 7


def test_several_processes_must_mean_the_same_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for words in (["data=a"], ["out=b"]):
        with pytest.raises(ConfigError, match="give data=DIR and out=RUN"):
            run_config(composed("train", *words))
    assert run_config(composed("train", "data=a", "out=b")).out == Path("b")


def test_the_demos_recipe() -> None:
    short, long = (run_config(composed("train", f"experiment={name}")) for name in ("tabletop3", "tabletop3_long"))
    assert short.demos == long.demos
    assert short.demos.tasks == ("pick_and_lift", "place_in_container", "open_drawer") and short.demos.episodes == 50
    assert short.policy_config == long.policy_config
    assert long.trainer.steps > short.trainer.steps


def test_the_published_size() -> None:
    config = BridgeVLAConfig.from_dict(
        {k: v for k, v in composed("train", "policy=bridgevla")["policy"].items() if k != "name"}
    )
    assert config.backbone.size == "paligemma-3b-224"
    assert (config.backbone.resolution, config.backbone.patch, config.backbone.text_width) == (224, 14, 2048)
    assert config.backbone.proprio_dim == 0


def test_the_recommended_recipe() -> None:
    config = run_config(composed("train", "experiment=recommended", "data=demos", "out=run"))
    trainer = config.trainer
    assert (trainer.lr, trainer.weight_decay, trainer.betas) == (8e-5, 0.01, (0.9, 0.95))
    assert (trainer.warmup, trainer.schedule, trainer.task_alpha) == (1500, "constant", 0.3)
    assert trainer.freeze_steps / trainer.steps == pytest.approx(4 / 180, rel=1e-3)
    policy = BridgeVLAConfig.from_dict(dict(config.policy_config))
    assert (policy.rotation, policy.frozen) == ("6d", ("vision_tower", "embeddings"))
    assert policy.backbone.size == "paligemma-3b-224"
    plain = run_config(composed("train")).trainer
    assert (plain.freeze_steps, plain.task_alpha) == (0, 1.0)


def test_the_2025_release_is_the_default_of_its_dataclass() -> None:
    values = {key: value for key, value in composed("train", "policy=bridgevla_v1")["policy"].items() if key != "name"}
    config = BridgeVLAV1Config.from_dict(values)
    assert replace(config, backbone=BridgeVLAV1Config().backbone) == BridgeVLAV1Config()
    assert config.backbone == replace(BridgeVLAV1Config().backbone, max_text_tokens=MAX_TEXT_TOKENS)


def test_out_defaults_to_a_dated_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = dated_folder("train")
    assert first.parts[:2] == ("runs", "train")
    first.mkdir(parents=True)
    assert dated_folder("train") != first  # also within the same second


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("resume=true", "give out=RUN"),
        ("objective.name=scene_grap", "Did you mean 'scene_graph'"),
        ("objective.encoder.width=63", "multiple of heads"),
        ("objective.weights.word_object=[1]", "weights.word_object: got"),
        ("scenes.train=1", "scenes.train: got 1"),
        ("scenes.kind=kitchen", "Unknown kind of scene 'kitchen'"),
        ("scenes=null", "scenes: got None, expected a section"),
    ],
)
def test_pretraining_that_does_not_fit_is_refused(word: str, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        pretrain_config(composed("pretrain", word))


# Building


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    number: int
    share: float = 0.5
    flag: bool = False
    folder: Path | None = None
    tasks: tuple[str, ...] = ()
    either: str | int = 3


def test_values_become_what_the_fields_want() -> None:
    example = build(Example, {"number": 1, "share": 2, "folder": "a", "tasks": "one", "either": "all"})
    assert example == Example(number=1, share=2, folder=Path("a"), tasks=("one",), either="all")


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({}, r"section.number has no value; give section.number=\.\.\."),
        ({"number": 1.5}, "section.number: got 1.5, expected a whole number"),
        ({"number": True}, "section.number: got True"),
        ({"number": 1, "share": "x"}, "section.share: got 'x', expected a number"),
        ({"number": 1, "flag": 1}, "section.flag: got 1, expected true or false"),
        ({"number": 1, "folder": 3}, "section.folder: got 3, expected a path or null"),
        ({"number": 1, "nmber": 1}, "Unknown key 'section.nmber'. Did you mean 'section.number'"),
    ],
)
def test_values_that_do_not_fit(values: dict[str, Any], part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        build(Example, values, "section")


# Recording


def test_the_configuration_is_kept_with_the_results(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    with recorded(out, {"steps": 3}):
        assert (out / "config.yaml").read_text() == "steps: 3\n"
    assert (out / "config.yaml").exists()


def test_a_refused_command_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(DataError), recorded(tmp_path / "deep" / "run", {"steps": 3}):
        raise DataError("no")
    assert not list(tmp_path.iterdir())


def test_a_command_that_failed_midway_keeps_its_configuration(tmp_path: Path) -> None:
    with pytest.raises(DataError), recorded(tmp_path / "run", {"steps": 3}):
        (tmp_path / "run" / "metrics.jsonl").write_text("")
        raise DataError("disk full")
    assert (tmp_path / "run" / "config.yaml").exists()
