"""`vla3d bench`: every program runs and gives our answer; what is written can be read; the mistakes."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from vla3d import cli
from vla3d.benchmarks import cases, gathering, lifting, measure, neighbours, run, sampling, splatting, voxels
from vla3d.benchmarks.cases import Case, Contestant
from vla3d.benchmarks.config import OPERATIONS, BenchConfig
from vla3d.benchmarks.report import markdown, plot
from vla3d.errors import ConfigError

CPU = torch.device("cpu")
FIELDS = {"op", "case", "size", "ours_s", "peer", "peer_s", "ratio", "agree", "repeats"}


@pytest.mark.parametrize("operations", OPERATIONS)
def test_operations_through_the_command_line(operations: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "figures.json"
    assert cli.main(["bench", operations, "quick=true", "device=cpu", "threads=1", f"out={out}"]) == 0
    written = json.loads(out.read_text())
    assert set(written) == {"about", "rows"}
    assert written["about"]["torch_threads"] == 1
    assert {"date", "processor", "cores", "load_average", "versions", "settings"} <= set(written["about"])
    assert {row["op"] for row in written["rows"]} == {"points": POINTS, "views": {"splat", "lift"}}[operations]
    for row in written["rows"]:
        assert set(row) == FIELDS
        assert row["agree"], row
        assert row["ratio"] == pytest.approx(row["peer_s"] / row["ours_s"]) and row["ours_s"] > 0
    printed = capsys.readouterr().out
    assert printed.count("\n| ") == len(written["rows"]) + 2
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


POINTS = {operation.case(16, 1, 0, CPU).op for operation in run.OPERATIONS["points"]}


def test_the_fixed_cases_have_their_names() -> None:
    assert sampling.case(sampling.FIXED, 1, 0, CPU).name == "fps:16k->1024"
    assert neighbours.knn_case(neighbours.FIXED, 1, 0, CPU).name == "knn16:100k"
    assert neighbours.ball_case(neighbours.FIXED, 1, 0, CPU).name == "ball_query:4096in100k"
    assert voxels.case(voxels.FIXED, 1, 0, CPU).name == "voxels:100k"
    assert gathering.case(gathering.FIXED, 1, 0, CPU).name == "gather:4096x16of100k"
    assert splatting.case(splatting.FIXED, 1, 0, CPU).name == "splat:100kx3x224"
    assert [cases.short(count) for count in (1000, 1024, 16384, 65536, 100_000, 1500)] == [
        "1k",
        "1k",
        "16k",
        "64k",
        "100k",
        "1500",
    ]


@pytest.mark.parametrize("operations", OPERATIONS)
def test_batches(operations: str) -> None:
    for operation in run.OPERATIONS[operations]:
        case = operation.case(8 if operation.fixed is None else 60, 3, 1, CPU)
        answers = {one.name: one.answer(one.run()) for one in (case.ours, *case.peers)}
        assert all(len(answer) == 3 for answer in answers.values())
        for peer in case.peers:
            assert case.agreement(peer, answers["vla3d"], answers[peer.name]), peer.name


class Clock:
    """Goes only while a program runs."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def program(self, name: str, seconds: float, answer: int = 1) -> Contestant:
        def work() -> torch.Tensor:
            self.now += seconds
            return torch.tensor(answer)

        return Contestant(name=name, run=work)


def test_brute_force_in_parts_is_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    points = cases.uniform((2, 50, 3), 0, CPU)
    whole = neighbours.brute_force(points, points, lambda far: neighbours._first_within(far, 0.3))
    monkeypatch.setattr(neighbours, "_CHUNK", 700)
    assert torch.equal(neighbours.brute_force(points, points, lambda far: neighbours._first_within(far, 0.3)), whole)
    inside = (points[:, :, None].double() - points[:, None].double()).norm(dim=-1) < 0.3
    assert torch.equal((whole >= 0).sum(-1), inside.sum(-1).clamp(max=32))


def test_ratio_and_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(measure, "time", clock)
    peers = (clock.program("slow", 0.03), clock.program("wrong", 0.001, answer=2))
    case = Case(op="nap", name="nap:1", size=1, ours=clock.program("vla3d", 0.005), peers=peers, touched=1)
    slow, wrong = measure.measure(case, 3, 0.05, CPU)
    assert slow["ratio"] == pytest.approx(6) and slow["agree"] is True
    assert wrong["ratio"] == pytest.approx(0.2) and wrong["agree"] is False
    assert (slow["repeats"], wrong["repeats"]) == (2, 3), "what has used up the patience is not measured again"


def test_a_program_with_a_start_of_its_own_is_judged_by_that(monkeypatch: pytest.MonkeyPatch) -> None:
    # Only how answers are judged is tested, so an empty module will do: PyPI has no wheel of fpsample for every Python.
    monkeypatch.setitem(sys.modules, "fpsample", ModuleType("fpsample"))
    case = sampling.case(60, 1, 0, CPU)
    ours = case.ours.run()
    other_start = sampling.farthest_point_sampling(cases.uniform((1, 60, 3), 0, CPU), ours.shape[1], first=torch.tensor([7]))
    peers = {peer.name: peer for peer in case.peers}
    assert not torch.equal(ours, other_start)
    assert case.agreement(peers["fpsample kdline"], ours, other_start)
    assert not case.agreement(peers["fpsample vanilla"], ours, other_start)
    assert not case.agreement(peers["fpsample kdline"], ours, other_start.flip(1))
    assert not case.agreement(peers["fpsample kdline"], ours, other_start.roll(1, 1))


def test_gaps_tell_in_which_order_points_were_picked() -> None:
    points = torch.tensor([[[0.0, 0, 0], [4, 0, 0], [1, 0, 0], [0, 0, 0.5]]])
    assert sampling.gaps(points, torch.tensor([[0, 1, 2, 3]])).tolist() == [[torch.inf, 4, 1, 0.5]]
    assert sampling.gaps(points, torch.tensor([[0, 3, 2, 1]])).tolist()[0][:2] == [torch.inf, 0.5]


def test_voxels_agree_in_any_order_up_to_rounding() -> None:
    means = torch.tensor([[0.1, 0.1, 0.1], [0.1, 0.9, 0.1], [0.9, 0.1, 0.1]])
    rows = voxels.in_order(means[[2, 0, 1]].numpy(), 0.5, 5)
    assert torch.equal(rows, torch.cat((means, torch.zeros(2, 3))))


def test_neighbours_agree_up_to_rounding() -> None:
    points = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [-1, 0, 0], [2, 0, 0]]])
    agree = cases.same_neighbours(points[:, :1], points)
    assert agree(torch.tensor([[[0, 1]]]), torch.tensor([[[0, 2]]]))
    assert not agree(torch.tensor([[[0, 1]]]), torch.tensor([[[0, 3]]]))
    assert not agree(torch.tensor([[[0, 1]]]), torch.tensor([[[0, -1]]]))
    assert agree(torch.tensor([[[0, -1]]]), torch.tensor([[[0, -1]]]))


def test_peers_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("fpsample", "torch_quickfps", "open3d"):
        monkeypatch.setitem(sys.modules, name, None)  # Python's way to say that it cannot be imported
    rows = run.run(BenchConfig(operations="points", out=Path("x.json"), device="cpu", quick=True))
    assert not {"fpsample vanilla", "fpsample kdline", "torch_quickfps", "open3d"} & {row["peer"] for row in rows}
    assert "Left out: fpsample " in capsys.readouterr().out


def test_the_table_and_the_plot_leave_out_what_is_not_known() -> None:
    row = {"op": "fps", "case": "fps:1k->64", "size": 1000, "ours_s": 2.0, "peer": measure.FLOOR, "peer_s": 2e-6}
    row |= {"ratio": 1e-6, "agree": None, "repeats": 1}
    assert markdown([row]).splitlines()[-1] == "| fps:1k->64 | 2 s | memory floor | 2 us | 0.00 |  |"
    assert plot([row, {**row, "op": "lift"}], "title").startswith(b"\x89PNG")


def test_lifting_has_no_fixed_size() -> None:
    config = BenchConfig(operations="views", out=Path("x.json"), sizes=[5], resolutions=[7, 3])
    sizes = {operation.case: run._sizes(config, operation) for operation in run.OPERATIONS["views"]}
    assert sizes == {splatting.case: [5, splatting.FIXED], lifting.case: [3, 7]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"operations": None}, "Got no operations, expected one of points, views"),
        ({"operations": "pionts"}, "Unknown operations 'pionts'. Did you mean 'points'?"),
        ({"device": "cuca"}, "Unknown device 'cuca'. Did you mean 'cuda'?"),
        ({"repeats": 0}, "repeats: got 0, expected a whole number of at least 1"),
        ({"sizes": [0]}, r"sizes: got \[0\]"),
        ({"patience": -1.0}, "patience: got -1.0"),
        ({"out": Path("figures")}, "expected a file that ends in .json"),
    ],
)
def test_bad_settings(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BenchConfig(**{"operations": "points", "out": Path("x.json"), **arguments})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu() -> None:
    with pytest.raises(ConfigError, match="torch sees no GPU"):
        run.run(BenchConfig(operations="points", out=Path("x.json"), device="cuda"))


@pytest.mark.gpu
@pytest.mark.parametrize("operations", OPERATIONS)
def test_operations_on_a_gpu(operations: str) -> None:
    rows = run.run(BenchConfig(operations=operations, out=Path("x.json"), device="cuda", quick=True, batch=2))
    assert measure.FLOOR in {row["peer"] for row in rows}
    assert all(row["agree"] for row in rows if row["peer"] != measure.FLOOR)
