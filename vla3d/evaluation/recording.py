"""Watches an episode and writes it as a Rerun recording."""

from pathlib import Path

from vla3d.evaluation.controls import Sentences
from vla3d.evaluation.drawing import outlined_views
from vla3d.evaluation.poses import pose_error, pose_words
from vla3d.evaluation.results import EpisodeRecord
from vla3d.policies.base import Decision
from vla3d.types import KeyframeAction, Observation, Workspace
from vla3d.viz.rerun import EpisodeLog


class EpisodeRecording:
    """A watcher for ``run_episode``; needs the ``viz`` extra."""

    every_tick = True

    def __init__(self, path: Path, *, workspace: Workspace) -> None:
        self._log = EpisodeLog(path, workspace=workspace, name=f"{path.parent.name} {path.stem}")
        self._seconds = 0.0
        self._step = 0

    def began(self, observation: Observation, said: Sentences) -> None:
        """Log the first images and the sentence."""
        self._log.at(0.0, 0)
        self._log.sentence(said.shown)
        self._log.observation(observation)

    def decided(self, observation: Observation, decision: Decision, thought: KeyframeAction | None = None) -> None:
        """Log what the policy looked at, concluded and chose, and what another one would have chosen."""
        self._step += 1
        self._log.at(self._seconds, self._step)
        looked = decision.explanation
        if looked is not None:
            self._log.looks(looked.view_names, outlined_views(looked), looked.heatmaps, looked.positions)
        if decision.verdict is not None:
            self._log.say(decision.verdict)
        self._log.action(decision.action)
        if thought is not None:
            self._log.prediction(thought)
            self._log.say(f"predicted {pose_words(pose_error(thought, decision.action))} from the executed keyframe")

    def moved(self, observation: Observation, seconds: float) -> None:
        """Log the images of one tick."""
        self._seconds = seconds
        self._log.at(seconds, self._step)
        self._log.observation(observation)

    def carried_out(self, observation: Observation, failure: str | None) -> None:
        """Log where the hand came to rest, and why it did not get where it should."""
        self._log.observation(observation)
        if failure is not None:
            self._log.say(failure.replace("_", " "), level="WARN")

    def ended(self, observation: Observation, record: EpisodeRecord) -> None:
        """Log the outcome and close the file."""
        if record.success:
            self._log.say("success")
        else:
            self._log.say(f"failure: {(record.failure or 'unknown').replace('_', ' ')}", level="ERROR")
        self._log.close()
