"""Every kernel compiles for GPUs, on a machine without one; and those that must live in registers do."""

import importlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vla3d
from vla3d.kernels.warp_runtime import load_warp
from vla3d.pointcloud.kernels import cluster_sampling

wp = load_warp()
ARCHITECTURES = (80, 90)
NEEDS_CLUSTERS = 90
REGISTERS_OF_A_BLOCK = 65536  # of every architecture so far


def kernel_files() -> list[str]:
    """Names of all ``vla3d.*.kernels.*`` modules."""
    paths = sorted(Path(vla3d.__path__[0]).glob("*/kernels/*.py"))
    return [f"vla3d.{path.parts[-3]}.kernels.{path.stem}" for path in paths if path.stem != "__init__"]


def kernels_in(file: str) -> Iterator[Any]:
    """Kernels that stand in a file by name, or in a table."""
    for value in vars(importlib.import_module(file)).values():
        yield from (item for item in (value.values() if isinstance(value, dict) else [value]) if isinstance(item, wp.Kernel))


CASES = [(file, architecture) for file in kernel_files() for architecture in ARCHITECTURES]


def test_the_files_are_found() -> None:
    forms = ("sampling", "serial_sampling", "cluster_sampling")
    assert {f"vla3d.pointcloud.kernels.{form}" for form in forms} <= set(kernel_files())
    assert len(list(kernels_in("vla3d.pointcloud.kernels.sampling"))) == 2


@pytest.mark.parametrize(("file", "architecture"), CASES)
def test_compiles(file: str, architecture: int, tmp_path: Path) -> None:
    modules = {
        kernel.module
        for kernel in kernels_in(file)
        if kernel.options.get("cluster_dim", 1) == 1 or architecture >= NEEDS_CLUSTERS
    }
    for module in modules:
        (binary,) = wp.compile_aot_module(module, device=None, arch=architecture, module_dir=tmp_path, use_ptx=False)
        assert Path(binary).stat().st_size > 0


@pytest.mark.parametrize("shape", cluster_sampling.SHAPES, ids=str)
def test_clouds_in_clusters_stay_in_registers(shape: cluster_sampling.ClusterShape, tmp_path: Path) -> None:
    module = cluster_sampling.KERNELS[shape].module
    (binary,) = wp.compile_aot_module(module, device=None, arch=NEEDS_CLUSTERS, module_dir=tmp_path, use_ptx=False)
    registers, stack = needs_of(Path(binary))
    assert registers >= 4 * shape.slots, "a cloud of fewer registers than it has coordinates and distances was not read right"
    assert registers * shape.threads <= REGISTERS_OF_A_BLOCK
    assert stack == 0, "what does not fit into registers is spilled to the stack"


def test_a_stack_would_be_seen(tmp_path: Path) -> None:
    """Too many points a thread must spill."""
    kernel = cluster_sampling._make_kernel(cluster_sampling.ClusterShape(2, 1024, 24))
    (binary,) = wp.compile_aot_module(kernel.module, device=None, arch=NEEDS_CLUSTERS, module_dir=tmp_path, use_ptx=False)
    assert needs_of(Path(binary))[1] > 0


# What the compiler says of a kernel, in the section .nv.info of its ELF file: records of a format, an attribute, a size and as
# many bytes. (`cuobjdump --dump-resource-usage` prints the same, where the CUDA toolkit is installed.)

_SIZED, _REGISTERS, _STACK = 4, 0x2F, 0x12


def needs_of(binary: Path) -> tuple[int, int]:
    """Registers and bytes of stack of a thread; the most of all kernels in a file."""
    needs = {_REGISTERS: [0], _STACK: [0]}
    data = _section(binary.read_bytes(), ".nv.info")
    at = 0
    while at < len(data):
        form, attribute, size = struct.unpack_from("<BBH", data, at)
        if form == _SIZED and attribute in needs:
            needs[attribute].append(struct.unpack_from("<II", data, at + 4)[1])
        at += 4 + (size if form == _SIZED else 0)
    return max(needs[_REGISTERS]), max(needs[_STACK])


def _section(elf: bytes, wanted: str) -> bytes:
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    entry, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    heads = [struct.unpack_from("<IIQQQQ", elf, table + index * entry) for index in range(count)]
    for head in heads:
        begin = heads[names][4] + head[0]
        if elf[begin : elf.index(b"\0", begin)].decode() == wanted:
            return elf[head[4] : head[4] + head[5]]
    raise AssertionError(f"no section {wanted}")
