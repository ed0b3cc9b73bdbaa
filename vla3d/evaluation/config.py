"""What `vla3d rollout` is asked to do, checked before anything is loaded. Importing this loads no torch and no simulator."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla3d.errors import ConfigError, unknown_name
from vla3d.policies.base import GRAPH_CONTROLS
from vla3d.policies.verified.config import VerifyConfig

CONTROLS: tuple[str, ...] = ("none", "swap", "mask_text", "absent")
"""``none``: the episode's own sentence. ``swap``: it names another object that is present. ``mask_text``: no sentence.
``absent``: it names something that is not there."""

VIDEO_WORDS: tuple[str, ...] = ("all", "failures", "none")


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """One evaluation: a policy, tasks, how many episodes, and what to leave behind.

    Attributes:
        tasks: names of the tasks, each once.
        out: folder of the results; the same configuration continues there, another one is refused.
        checkpoint: a folder that a policy's ``save_pretrained`` wrote; `vla3d rollout` also takes a training run. Needed unless
            ``policy`` names one without weights.
        policy: ``"scripted"``, ``"random"`` or another policy without weights; None takes the one in ``checkpoint``.
        episodes: episodes of each task.
        repeats: how often they are run: each time with other scenes, or, where episodes were recorded, with the same ones.
            The spread over repeats is reported beside the interval.
        test_demos: recorded test episodes, for simulators that begin from them (RLBench).
        seed: picks the test scenes; episode i of a task has the same scene whatever the policy and the control.
        control: one of ``CONTROLS``.
        graph: what is done to what a policy takes from its scene graph, one of ``GRAPH_CONTROLS``.
        factors: what is to differ from training scenes (``vla3d.envs.make_env``).
        num_workers: processes; 0 takes one per core.
        videos: ``"all"``, ``"failures"``, ``"none"``, or N: of each task the first N successes and the first N failures.
        rerun: also write a Rerun recording of each filmed episode (needs the ``viz`` extra).
        report: write ``report.html``.
        compare: other rollouts' folders, shown beside this one in the report.
        states: folder of recorded initial states to start from, instead of drawing scenes.
        save_states: folder to record the initial states into.
        image_size: height and width of the camera images, pixels.
        renderer: how the simulator makes images.
        verify: whether and how keyframes are checked against the scene graph (``vla3d.policies.verified``).
        device: torch device of a learned policy; ``"auto"`` takes the GPU when there is one.
    """

    tasks: Sequence[str]
    out: Path
    checkpoint: Path | None = None
    policy: str | None = None
    episodes: int = 25
    repeats: int = 1
    test_demos: Path | None = None
    seed: int = 1000
    control: str = "none"
    graph: str = "none"
    factors: Sequence[str] = ()
    num_workers: int = 0
    videos: str | int = 3
    rerun: bool = False
    report: bool = True
    compare: Sequence[Path] = ()
    states: Path | None = None
    save_states: Path | None = None
    image_size: int = 128
    renderer: str = "warp"
    device: str = "auto"
    verify: VerifyConfig = field(default_factory=VerifyConfig)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", tuple(self.tasks))
        object.__setattr__(self, "factors", tuple(self.factors))
        object.__setattr__(self, "compare", tuple(Path(folder) for folder in self.compare))
        for name in ("out", "checkpoint", "states", "save_states", "test_demos"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else Path(value))
        self._check_tasks()
        self._check_policy()
        for name, least in (("episodes", 1), ("repeats", 1), ("num_workers", 0), ("image_size", 16), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{name}: got {value!r}, expected a whole number of at least {least}.")
        if self.control not in CONTROLS:
            raise unknown_name("control", self.control, CONTROLS)
        self._check_graph()
        self._check_videos()
        if self.states is not None and self.states == self.save_states:
            raise ConfigError(
                f"states and save_states: got {self.states} for both; states are read from one or written to the other."
            )

        if self.states is not None and self.repeats > 1:
            raise ConfigError(f"repeats: got {self.repeats} with states, expected 1; the same states give the same episodes.")

    @property
    def episodes_in_all(self) -> int:
        """Episodes of each task, repeats included."""
        return self.episodes * self.repeats

    @property
    def recorded(self) -> dict[str, Any]:
        """What ``make_env`` is told of recorded episodes: nothing where there are none."""
        return {} if self.test_demos is None else {"demos": self.test_demos}

    def _check_tasks(self) -> None:
        if not self.tasks:
            raise ConfigError("tasks: got none, expected at least one; for example tasks=[pick_and_lift].")
        twice = sorted({task for task in self.tasks if list(self.tasks).count(task) > 1})
        if twice:
            raise ConfigError(f"tasks: got {', '.join(twice)} more than once; name each task once.")

    def _check_policy(self) -> None:
        if self.policy is None and self.checkpoint is None:
            raise ConfigError("Got no policy: give checkpoint=RUN, or policy=scripted or policy=random.")
        if self.policy is not None and self.checkpoint is not None:
            raise ConfigError(f"Got checkpoint={self.checkpoint} and policy={self.policy}; give one of the two.")

    def _check_graph(self) -> None:
        if self.graph not in GRAPH_CONTROLS:
            raise unknown_name("graph control", self.graph, GRAPH_CONTROLS)
        if self.graph == "oracle" and self.control in ("swap", "absent"):
            raise ConfigError(
                f"graph=oracle: got control={self.control}, expected none or mask_text; the expert knows what the episode's "
                "own sentence means, and no other."
            )

    def _check_videos(self) -> None:
        if isinstance(self.videos, bool) or not isinstance(self.videos, str | int):
            raise ConfigError(f"videos: got {self.videos!r}, expected all, failures, none, or how many of each task.")
        if isinstance(self.videos, str) and self.videos not in VIDEO_WORDS:
            raise unknown_name("choice of videos", self.videos, VIDEO_WORDS)
        if isinstance(self.videos, int) and self.videos < 0:
            raise ConfigError(f"videos: got {self.videos}, expected 0 or more; 0 records none.")
