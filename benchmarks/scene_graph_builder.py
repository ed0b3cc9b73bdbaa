"""Scene graphs from images beside the simulator's truth: objects found, triplets right, time.

    python benchmarks/scene_graph_builder.py [--scenes 500] [--seed 0] [--out runs/scene_graphs.jsonl]

Each scene is an episode of one of the tasks, in turn, with the scripted expert's first few actions done, so that things are
held, stacked, put away and opened. Its four images become graphs in two ways: with instance masks, and by clustering alone. A
line of ``--out`` holds one scene; scenes that it holds are not done again. Where the truth is undecided nothing is counted.
"""

import argparse
import json
import platform
import time
from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from vla3d.envs.registration import BUILT_IN
from vla3d.envs.tabletop.env import TabletopEnv
from vla3d.envs.tabletop.scene_nodes import SLIDES, scene_nodes
from vla3d.evaluation.statistics import wilson_interval
from vla3d.scene_graphs.build import graph_of
from vla3d.scene_graphs.builder import BuilderConfig, SceneGraphBuilder
from vla3d.scene_graphs.clustering import ClusterConfig, with_clusters
from vla3d.scene_graphs.graph import SceneGraph
from vla3d.scene_graphs.gripper import GripperReading
from vla3d.scene_graphs.memory import GRIPPER_ID, TABLE_ID
from vla3d.scene_graphs.metrics import Counts, match_nodes, object_counts, state_counts, triplet_counts
from vla3d.scene_graphs.node import SceneNode
from vla3d.scene_graphs.relations import relate
from vla3d.seeding import scene_seed
from vla3d.types import Observation

MOST_ACTIONS = 7
WAYS = ("masks", "clusters")


def arrange(env: TabletopEnv, seed: int) -> Observation:
    """A scene in the middle of things."""
    env.begin(seed=seed)
    expert, actions = env.expert(), int(np.random.default_rng(seed).integers(MOST_ACTIONS))
    for _ in range(actions):
        result = env.advance(expert.next_action())
        if result.terminated or result.truncated:
            break
    return env.observe()


def judge_scene(env: TabletopEnv, seed: int) -> dict[str, Any]:
    """Counts and times of one scene, JSON-able."""
    seen, nodes = arrange(env, seed), scene_nodes(env)
    truth, relations = graph_of(nodes), relate(nodes)
    gripper = GripperReading.of(seen)
    record: dict[str, Any] = {"task": env.task, "seed": seed}
    for way in WAYS:
        began, cpu = time.perf_counter(), time.process_time()
        if way == "masks":
            builder = SceneGraphBuilder(env.instance_names, BuilderConfig(slides=SLIDES))
            builder.add(seen.frames, gripper)
        else:
            builder = SceneGraphBuilder()
            builder.add(with_clusters(seen.frames, ClusterConfig(workspace=env.workspace)), gripper)
        spent = {"wall_ms": 1e3 * (time.perf_counter() - began), "cpu_ms": 1e3 * (time.process_time() - cpu)}
        matches = match_nodes(builder.graph, truth, labels=way == "masks")
        objects = object_counts(builder.graph, truth, matches)
        lost = [node for node in nodes if node.id not in (TABLE_ID, GRIPPER_ID, *matches.values())]
        why = Counter(failure(node, builder.graph, truth) for node in lost)
        matches |= {number: number for number in (TABLE_ID, GRIPPER_ID) if number in builder.graph}
        triplets = triplet_counts(builder.graph, relations, matches)
        among = triplet_counts(builder.graph, relations, matches, among_matched=True)
        states = state_counts(builder.graph, relations, matches)
        record[way] = {
            **spent,
            "objects": counted(objects),
            "predicates": {name: counted(count) for name, count in (triplets | states).items()},
            "among_found": counted(sum(among.values(), Counts())),
            "lost": dict(why),
        }
    return record


def failure(node: SceneNode, found: SceneGraph, truth: SceneGraph) -> str:
    """Why a thing was not found."""
    mine = [other for other in found.find(kind="object") + found.find(kind="part") if covers(other, node)]
    if not mine:
        return "nothing there"
    covered = [other for other in truth.nodes if other.kind in ("object", "part") and covers(mine[0], other)]
    if len(covered) > 1:
        return "joined with what it touches"
    return "another box" if mine[0].label == node.label or mine[0].label == "unknown" else "another label"


def covers(box: SceneNode, node: SceneNode) -> bool:
    """Whether a node's middle is in another one's box."""
    return bool(box.box.contains(node.box.center[None], margin=0.005)[0])


def counted(counts: Counts) -> list[int]:
    """Counts as a list."""
    return [counts.right, counts.wrong, counts.missed]


def read_records(path: Path) -> dict[tuple[str, int], Mapping[str, Any]]:
    """Scenes that are done; a line that was cut off is not."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
            found[record["task"], record["seed"]] = record
        except (ValueError, KeyError):
            continue
    return found


def cut_off(path: Path) -> bool:
    """Whether a file's last line has no end."""
    return path.exists() and not path.read_text().endswith("\n") and path.stat().st_size > 0


def report(records: list[Mapping[str, Any]]) -> str:
    """Tables of all scenes."""
    lines = [
        f"{len(records)} scenes of {len({record['task'] for record in records})} tasks, four cameras of 128 x 128 pixels",
        f"{date.today()}, Python {platform.python_version()}, NumPy {np.__version__}, {platform.machine()}, one thread",
    ]
    for way in WAYS:
        rows = [record[way] for record in records]
        objects = total(row["objects"] for row in rows)
        there = objects.right + objects.missed
        interval = wilson_interval(objects.right, there)
        names = list(rows[0]["predicates"])
        by_name = {name: total(row["predicates"][name] for row in rows) for name in names}
        everything = sum((by_name[name] for name in names), Counts())
        cpu = np.array([row["cpu_ms"] for row in rows])
        lines += [
            "",
            f"{way}: object recall {objects.recall:.4f} [{interval.low:.4f}, {interval.high:.4f}] of {there}, "
            f"precision {objects.precision:.4f}",
            f"{way}: triplet F1 {everything.f1:.4f}, precision {everything.precision:.4f}, recall {everything.recall:.4f}",
            f"{way}: triplet F1 between things that were found {total(row['among_found'] for row in rows).f1:.4f}",
            f"{way}: processor time of a graph, ms: median {np.median(cpu):.0f}, 95 % {np.percentile(cpu, 95):.0f}",
            f"{way}: things not found: {why(rows)}",
            f"  {'predicate':<16}{'F1':>7}{'right':>8}{'wrong':>7}{'missed':>8}",
        ]
        for name, count in by_name.items():
            lines.append(f"  {name:<16}{count.f1:>7.3f}{count.right:>8}{count.wrong:>7}{count.missed:>8}")
    return "\n".join(lines)


def total(rows: Any) -> Counts:
    """Sum of lists of counts."""
    right, wrong, missed = np.sum(list(rows), axis=0).tolist()
    return Counts(right=right, wrong=wrong, missed=missed)


def why(rows: list[Mapping[str, Any]]) -> str:
    """Failure classes, the most frequent first."""
    reasons: Counter[str] = Counter()
    for row in rows:
        reasons.update(row["lost"])
    return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "none"


def main() -> None:
    """Judge what is not done yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/scene_graphs.jsonl"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    tasks = list(BUILT_IN)
    wanted = [
        (tasks[index % len(tasks)], scene_seed("test", options.seed, tasks[index % len(tasks)], index))
        for index in range(options.scenes)
    ]
    done = read_records(options.out)
    for task in tasks:
        todo = [seed for name, seed in wanted if name == task and (task, seed) not in done]
        if not todo:
            continue
        env = BUILT_IN[task].load()()
        with options.out.open("a") as file:
            file.write("\n" if cut_off(options.out) else "")
            for seed in todo:
                file.write(json.dumps(judge_scene(env, seed)) + "\n")
                file.flush()
        env.close()
    done = read_records(options.out)
    print(report([done[key] for key in wanted if key in done]))


if __name__ == "__main__":
    main()
