"""Farthest point sampling in a thread-block cluster, without one: its CPU branch; its CUDA algorithm on emulated threads."""

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vla3d.kernels import clusters
from vla3d.kernels.operators import reference_kernels
from vla3d.pointcloud import farthest_point_sampling, sampling
from vla3d.pointcloud.kernels import cluster_sampling
from vla3d.pointcloud.kernels.cluster_sampling import ClusterShape

sys.path.insert(0, str(Path(__file__).parents[1] / "pointcloud"))
from cloud_cases import CLOUDS

SHAPES = [ClusterShape(2, 64, 4), ClusterShape(4, 32, 3)]


def by_reference(points: Tensor, k: int, lengths: Tensor, first: Tensor) -> Tensor:
    with reference_kernels():
        return farthest_point_sampling(points, k, lengths, first=first)


# The CPU branch, and all that leads to the kernel


@pytest.fixture
def clusters_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "uses_clusters", lambda device: True)


@pytest.mark.usefixtures("clusters_everywhere")
@pytest.mark.parametrize("name", CLOUDS)
def test_the_way_to_the_kernel(name: str) -> None:
    clouds = [CLOUDS[name](120, seed) for seed in range(3)]
    size = len(clouds[0])
    points, lengths = torch.stack(clouds), torch.tensor([size, size // 2, 0])
    first = torch.tensor([3, size, 5])
    for k in (1, 20, size + 2):
        expected = by_reference(points, k, lengths, first)
        assert torch.equal(farthest_point_sampling(points, k, lengths, first=first), expected)
        packed = torch.cat((points[0], points[1, : size // 2]))
        offsets = torch.tensor([0, size, size + size // 2, size + size // 2])
        outward = torch.where(expected >= 0, expected + offsets[:-1, None], -1)
        assert torch.equal(farthest_point_sampling(packed, k, offsets=offsets, first=first), outward)


@pytest.mark.usefixtures("clusters_everywhere")
def test_larger_clouds_are_left_to_the_other_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    points = CLOUDS["random"](600, 0)[None]
    monkeypatch.setattr(cluster_sampling, "CAPACITY", 599)
    monkeypatch.setattr(cluster_sampling, "KERNELS", {})
    lengths, first = torch.tensor([600]), torch.tensor([0])
    assert torch.equal(farthest_point_sampling(points, 30), by_reference(points, 30, lengths, first))


def test_shapes_fit_what_they_are_chosen_for() -> None:
    assert [shape.capacity for shape in cluster_sampling.SHAPES] == sorted(shape.capacity for shape in cluster_sampling.SHAPES)
    for longest in (1, 4096, 4097, 16384, 16385, cluster_sampling.CAPACITY):
        assert cluster_sampling.shape_for(longest).capacity >= longest
    for shape in cluster_sampling.SHAPES:
        assert shape.blocks <= 8 and shape.threads % 32 == 0 and shape.threads <= 1024


def test_clusters_are_off_and_only_for_devices_that_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, capability = torch.device("cuda"), {"of": (9, 0)}
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability["of"])
    assert not clusters.uses_clusters(gpu)
    with clusters.cluster_kernels():
        assert clusters.uses_clusters(gpu) and not clusters.uses_clusters(torch.device("cpu"))
        capability["of"] = (8, 9)
        assert not clusters.uses_clusters(gpu)
    assert not clusters.uses_clusters(gpu)


# The CUDA algorithm, word for word, on emulated threads

Emulation = Callable[[Tensor, int, int, int], Tensor]


def emulation(folder: Path, shape: ClusterShape, algorithm: str) -> Emulation:
    """Compile the algorithm for emulated threads: ``(cloud, first, steps, seed) -> picks``."""
    text = Path(__file__).with_name("cluster_emulation.cpp").read_text()
    text = text.replace("//CONSTANTS//", cluster_sampling.constants(shape)).replace("//ALGORITHM//", algorithm)
    source, library = folder / "emulation.cpp", folder / "emulation.so"
    source.write_text(text)
    options = ["-std=c++17", "-O1", "-ffp-contract=off", "-fPIC", "-shared", "-o", str(library)]
    subprocess.run(["g++", *options, str(source)], check=True, capture_output=True, timeout=120)
    function = ctypes.CDLL(str(library)).emulate

    def run(cloud: Tensor, first: int, steps: int, seed: int) -> Tensor:
        chosen = torch.full((steps,), -1)
        pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (cloud, chosen)]
        function(pointers[0], len(cloud), first, steps, pointers[1], seed)
        return chosen

    return run


needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to compile the emulation with")


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def emulated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ClusterShape, Emulation]:
    return request.param, emulation(tmp_path_factory.mktemp("emulation"), request.param, cluster_sampling.ALGORITHM)


@needs_compiler
@pytest.mark.parametrize("name", [name for name in CLOUDS if name != "all invalid"])
def test_the_algorithm_on_emulated_threads(name: str, emulated: tuple[ClusterShape, Emulation]) -> None:
    shape, emulate = emulated
    for count in (7, shape.capacity - 41):
        cloud = CLOUDS[name](count, 0)[: shape.capacity]
        valid = int(cloud.isfinite().all(1).sum())
        first = int(cloud.isfinite().all(1).nonzero()[valid // 2])
        expected = by_reference(cloud[None], min(valid, 25), torch.tensor([len(cloud)]), torch.tensor([first]))[0]
        assert torch.equal(emulate(cloud, first, min(valid, 25), count), expected)


@needs_compiler
def test_the_emulation_sees_a_missing_buffer(tmp_path: Path) -> None:
    """Without the second buffer, a block that is ahead overwrites what another still reads."""
    broken = cluster_sampling.ALGORITHM.replace("step % 2", "0u")
    assert broken != cluster_sampling.ALGORITHM
    shape, cloud = SHAPES[0], CLOUDS["random"](300, 0)
    emulate = emulation(tmp_path, shape, broken)
    expected = by_reference(cloud[None], 40, torch.tensor([300]), torch.tensor([0]))[0]
    assert not all(torch.equal(emulate(cloud, 0, 40, seed), expected) for seed in range(5))
