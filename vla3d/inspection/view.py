"""`vla3d view`: from a path to pictures of its episodes."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

from vla3d.data import DemoSource, EpisodeRef, open_demos
from vla3d.errors import ConfigError
from vla3d.evaluation.layout import outcome_text
from vla3d.evaluation.policies import resolve_device
from vla3d.inspection.config import ViewConfig
from vla3d.inspection.demos import demo_workspace, show_demo
from vla3d.inspection.outputs import ViewFolder
from vla3d.inspection.rollouts import RolloutTheatre, records
from vla3d.inspection.sources import Source, chosen, find_source
from vla3d.inspection.viewers import Audience, Viewer, open_viewer, suffixes
from vla3d.policies.learned import LearnedPolicy, load_policy
from vla3d.types import Workspace
from vla3d.viz.rerun import unfinished

# For episodes that do not tell their workspace: a metre before the robot.
_ANYWHERE = Workspace.from_bounds([0.0, -0.5, -0.1], [1.0, 0.5, 0.9])


def view(config: ViewConfig) -> Iterator[str]:
    """Show episodes; yields lines to print, as the work goes on.

    Raises:
        Vla3dError: anything the user can mend.
    """
    source = find_source(config.path)
    asked = suffixes(config)
    settings = {
        key: value if isinstance(value, str | int | list | None) else str(value) for key, value in asdict(config).items()
    }
    folder = ViewFolder(config.out, settings)
    show = _demos if source.kind == "dataset" else _rollout
    yield from show(config, source, folder, asked)


def _demos(config: ViewConfig, source: Source, folder: ViewFolder, asked: tuple[str, ...]) -> Iterator[str]:
    dataset = open_demos(source.folder)
    refs = dataset.episodes()
    episodes = {task: [ref.attempt for ref in refs if ref.task == task] for task in dataset.tasks()}
    _say_why_it_failed(dataset, source, episodes)
    picked = chosen(source, episodes, {}, config.picks)
    policy = None if config.checkpoint is None else _load(config.checkpoint, config.device)
    shown = "demonstration" if policy is None else f"demonstration, {policy.name} thinks along"
    for task, number in picked:
        episode = dataset.read(EpisodeRef(task, number))
        workspace = demo_workspace(episode, _ANYWHERE)
        with _opened(folder, asked, task, number, source=shown, control="none", workspace=workspace) as (viewers, paths):
            show_demo(episode, number, Audience(viewers, workspace), policy)
        yield f"{task} {number}: “{episode.instruction}”"
        yield from _written(paths)


def _rollout(config: ViewConfig, source: Source, folder: ViewFolder, asked: tuple[str, ...]) -> Iterator[str]:
    found = records(source.folder)
    episodes = {task: [record.index for record in listed] for task, listed in found.items()}
    failed = {task: [record.index for record in listed if not record.success] for task, listed in found.items()}
    picked = chosen(source, episodes, failed, config.picks)
    checkpoint = None if config.checkpoint is None else _policy_folder(config.checkpoint)
    with closing(RolloutTheatre(source.folder, checkpoint=checkpoint, device=config.device)) as theatre:
        for task in dict.fromkeys(task for task, _ in picked):
            theatre.check_task(task)
        if theatre.note is not None:
            yield theatre.note
        shown = theatre.policy if checkpoint is None else f"{theatre.policy}, another policy thinks along"
        for task, number in picked:
            record = next(record for record in found[task] if record.index == number)
            with _opened(
                folder, asked, task, number, source=shown, control=theatre.control, workspace=theatre.workspace(task)
            ) as (viewers, paths):
                same = theatre.show(record, viewers)
            yield f"{task} {number}: {outcome_text(record)[0].lower()}, “{record.shown or record.instruction}”"
            yield from _written(paths)
            if not same:
                yield (
                    f"{task} {number} took another course than the one recorded: the simulator, a package or the machine is "
                    "not the one of the rollout (settings.json names the versions)."
                )


@contextmanager
def _opened(
    folder: ViewFolder, asked: tuple[str, ...], task: str, number: int, *, source: str, control: str, workspace: Workspace
) -> Iterator[tuple[list[Viewer], list[Path]]]:
    """The viewers of an episode and the files they write; what is unfinished when it ends is taken away."""
    paths = [folder.claim(f"{task}_{number:04d}{suffix}") for suffix in asked]
    try:
        yield [open_viewer(path, task=task, source=source, control=control, workspace=workspace) for path in paths], paths
    finally:
        for path in paths:
            unfinished(path).unlink(missing_ok=True)


def _written(paths: Sequence[Path]) -> list[str]:
    return [f"  {path}" for path in paths if path.exists()]


def _say_why_it_failed(dataset: DemoSource, source: Source, episodes: dict[str, list[int]]) -> None:
    if source.task in episodes and source.number is not None and source.number not in episodes[source.task]:
        reason = dataset.failures(source.task).get(source.number)
        if reason is not None:
            raise ConfigError(
                f"{dataset.path} did not keep attempt {source.number} of {source.task}: it failed ({reason}). Give an episode "
                f"that succeeded: {', '.join(map(str, episodes[source.task][:8]))}."
            )


def _policy_folder(path: Path) -> Path:
    from vla3d.training.checkpoint import policy_directory

    return policy_directory(path)


def _load(checkpoint: Path, device: str) -> LearnedPolicy:
    return load_policy(_policy_folder(checkpoint), map_location=resolve_device(device))
