"""The points around a point: the nearest ones, or those within a radius."""

from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from vla3d.kernels.launching import Argument, launch
from vla3d.kernels.operators import Operator, register
from vla3d.kernels.sharing import in_shares
from vla3d.pointcloud.cells import CELLS_PER_POINT, build_cell_table, find_clouds, neighbours_together, put_in_one_cell
from vla3d.pointcloud.gathering import gather_rows, sum_rows
from vla3d.pointcloud.reference import neighbours as reference
from vla3d.pointcloud.rows import Rows, check_count, check_device, cloud_of_points, rows_of

Order = Literal["index", "nearest"]
Pad = Literal["none", "repeat"]

# So few cells that those around a query hold somewhat more than k points where points fill space.
_CELLS_PER_NEIGHBOUR = 16
# Looking at so many pairs of a query and a point, or at all points for so many queries a cloud, takes less time on a CPU than
# sorting points.
_FEW_PAIRS = 1 << 17
_FEW_QUERIES = 8
# Queries whose time outweighs that of starting a thread.
_FEWEST_TO_SHARE = 2048


def knn(
    query: Float[Tensor, "*query_shape 3"],
    points: Float[Tensor, "*shape 3"],
    k: int,
    query_lengths: Int[Tensor, "B"] | None = None,
    lengths: Int[Tensor, "B"] | None = None,
    *,
    query_offsets: Int[Tensor, "B_plus_1"] | None = None,
    offsets: Int[Tensor, "B_plus_1"] | None = None,
) -> tuple[Float[Tensor, "*query_shape k"], Int64[Tensor, "*query_shape k"]]:
    """The ``k`` nearest points of each query, in the query's own cloud, nearest first, equally far ones by index.

    Exact: distances are ``(x * x + y * y) + z * z`` of the differences, rounded to float32 (float64 if one of both is) after
    each operation, with the same result on every device. Points and queries with a non-finite coordinate are nobody's
    neighbours, and neither are points so far away that the squared distance overflows. Points are sorted into cells of equal
    size, so it takes long where a small part of the space that a cloud fills holds most of its points.

    Args:
        query: where to look from, padded ``(B, M, 3)`` or packed ``(Tq, 3)``.
        points: clouds, padded ``(B, N, 3)`` or packed ``(T, 3)``; as many as there are of queries.
        k: how many.
        query_lengths: real queries of each padded cloud; all when None.
        lengths: real points of each padded cloud; all when None.
        query_offsets: borders of packed queries.
        offsets: borders of packed clouds.

    Returns:
        Squared distances in m^2, differentiable with respect to both, and indices, in the shape of ``query``. Indices count
        within the cloud, or, for packed points, in the flat tensor. Where there are fewer points, and for queries that are
        padding, the distance is infinite and the index -1.

    Raises:
        ValueError: when shapes, types, devices or sizes do not fit.
    """
    check_count("k", k)
    queries, clouds = _both(query, points, query_lengths, lengths, query_offsets, offsets)
    squared_distance, index = _knn(
        queries.points, queries.starts, queries.lengths, clouds.points, clouds.starts, clouds.lengths, k
    )
    shape = (*query.shape[:-1], k)
    return squared_distance.view(shape), _outward(index, queries, clouds).view(shape)


def ball_query(
    query: Float[Tensor, "*query_shape 3"],
    points: Float[Tensor, "*shape 3"],
    radius: float,
    k: int,
    query_lengths: Int[Tensor, "B"] | None = None,
    lengths: Int[Tensor, "B"] | None = None,
    *,
    query_offsets: Int[Tensor, "B_plus_1"] | None = None,
    offsets: Int[Tensor, "B_plus_1"] | None = None,
    order: Order = "index",
    pad: Pad = "none",
) -> tuple[Int64[Tensor, "*query_shape k"], Int64[Tensor, "*query_shape"]]:
    """Up to ``k`` points of each query's own cloud that are nearer than ``radius`` (Qi et al. 2017, "PointNet++").

    Nearer means that the squared distance, computed as in `knn`, is below ``radius * radius`` in the same precision: points at
    exactly the radius are outside. Clouds are handed over as for `knn`, and what is invalid there is invalid here.

    Args:
        query: where to look from, padded ``(B, M, 3)`` or packed ``(Tq, 3)``.
        points: clouds, padded ``(B, N, 3)`` or packed ``(T, 3)``; as many as there are of queries.
        radius: in metres; nothing lies within 0.
        k: how many at most.
        query_lengths: real queries of each padded cloud; all when None.
        lengths: real points of each padded cloud; all when None.
        query_offsets: borders of packed queries.
        offsets: borders of packed clouds.
        order: take those of lowest ``"index"``, in its order, or the ``"nearest"``, nearest first, equally far ones by index.
        pad: what follows when there are fewer: -1 (``"none"``), or the first of them again as in PointNet++ (``"repeat"``), and
            -1 only where there are none at all.

    Returns:
        Indices in the shape of ``query``, counted as by `knn`, and how many of them were found, at most ``k``.

    Raises:
        ValueError: when shapes, types, devices or sizes do not fit.
    """
    check_count("k", k)
    if isinstance(radius, bool) or not isinstance(radius, int | float) or not radius >= 0:
        raise ValueError(f"radius: got {radius!r}, expected metres, at least 0.")
    for name, value, kinds in (("order", order, get_args(Order)), ("pad", pad, get_args(Pad))):
        if value not in kinds:
            raise ValueError(f"{name}: got {value!r}, expected one of {', '.join(map(repr, kinds))}.")
    queries, clouds = _both(query.detach(), points.detach(), query_lengths, lengths, query_offsets, offsets)
    flat = (queries.points, queries.starts, queries.lengths, clouds.points, clouds.starts, clouds.lengths)
    index, count = _ball_query(*flat, float(radius), k, order == "nearest")
    index = _outward(index, queries, clouds)
    if pad == "repeat" and k > 0:
        index = torch.where(index < 0, index[:, :1], index)
    return index.view(*query.shape[:-1], k), count.view(query.shape[:-1])


def _both(
    query: Tensor,
    points: Tensor,
    query_lengths: Tensor | None,
    lengths: Tensor | None,
    query_offsets: Tensor | None,
    offsets: Tensor | None,
) -> tuple[Rows, Rows]:
    check_device("query", query, points)
    wide = torch.promote_types(query.dtype, points.dtype)
    if wide == torch.float64:
        query, points = query.to(wide), points.to(wide)
    queries = rows_of("query", query, query_lengths, query_offsets, prefix="query_")
    clouds = rows_of("points", points, lengths, offsets)
    if queries.starts.shape != clouds.starts.shape:
        got, expected = queries.starts.shape[0], clouds.starts.shape[0]
        raise ValueError(f"query: got {got} clouds of queries, expected {expected}, as many as there are of points.")
    return queries, clouds


def _outward(index: Tensor, queries: Rows, clouds: Rows) -> Tensor:
    """Indices of each query as the caller counts them; -1 stays."""
    if not clouds.packed:
        return index
    start = clouds.starts[cloud_of_points(queries.starts, index.shape[0])]
    return torch.where(index >= 0, index + start[:, None], index)


def _knn_kernel(
    queries: Tensor, query_starts: Tensor, query_lengths: Tensor, points: Tensor, starts: Tensor, lengths: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    from vla3d.pointcloud.kernels import neighbours as kernels

    shape = (len(queries), k)
    if 0 in (len(queries), len(points), k):
        return queries.new_full(shape, torch.inf), torch.full(shape, -1, device=queries.device)
    squared_distance, index = queries.new_empty(shape), queries.new_empty(shape, dtype=torch.int64)
    cells = {"cells_per_point": min(CELLS_PER_POINT, _CELLS_PER_NEIGHBOUR / k)}
    clouds = (queries, query_starts, query_lengths, points, starts, lengths)
    _search(kernels.nearest_neighbours, clouds, cells, squared_distance, index)
    return squared_distance, index


def _ball_kernel(
    queries: Tensor,
    query_starts: Tensor,
    query_lengths: Tensor,
    points: Tensor,
    starts: Tensor,
    lengths: Tensor,
    radius: float,
    k: int,
    by_distance: bool,
) -> tuple[Tensor, Tensor]:
    from vla3d.pointcloud.kernels import neighbours as kernels

    if 0 in (len(queries), len(points), k, radius):
        index = torch.full((len(queries), k), -1, device=queries.device)
        return index, torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    index, count = (torch.empty(shape, dtype=torch.int64, device=queries.device) for shape in ((len(queries), k), len(queries)))
    clouds = (queries, query_starts, query_lengths, points, starts, lengths)
    _search(kernels.neighbours_within, clouds, {"smallest": radius}, radius, int(by_distance), index, count)
    return index, count


def _search(kernel: Any, clouds: tuple[Tensor, ...], cells: dict[str, float], *others: Argument) -> None:
    """Run a kernel that has one thread a query, those of one cell next to each other; ``cells`` says how large those are."""
    queries, query_starts, query_lengths, points, starts, lengths = clouds
    cloud = find_clouds(queries, query_starts, query_lengths)
    pairs = len(queries) * len(points) // len(starts)
    if points.device.type == "cpu" and pairs <= max(_FEW_PAIRS, _FEW_QUERIES * len(points)):
        table, sequence = put_in_one_cell(points, starts, lengths), torch.arange(len(queries))
    else:
        table = build_cell_table(points, starts, lengths, **cells)
        sequence = neighbours_together(queries, cloud, table)

    def answer(some: slice) -> None:
        which = sequence[some]
        launch(kernel, len(which), queries, cloud, which, starts, *table.content, *table.grid, *others)

    if len(sequence) < _FEWEST_TO_SHARE:
        answer(slice(None))
    else:
        in_shares(len(sequence), queries.device, answer, most=len(sequence))


def _knn_fake(
    queries: Tensor, query_starts: Tensor, query_lengths: Tensor, points: Tensor, starts: Tensor, lengths: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    shape = (queries.shape[0], k)
    return queries.new_empty(shape), queries.new_empty(shape, dtype=torch.int64)


def _ball_fake(queries: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    *_, k, _ = others
    return queries.new_empty((queries.shape[0], k), dtype=torch.int64), queries.new_empty(queries.shape[0], dtype=torch.int64)


def _knn_save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    queries, query_starts, _, points, starts, _, _ = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(queries, query_starts, points, starts, output[1])


def _knn_backward(ctx: Any, gradient: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    """Twice the difference, to the query and, summed in the order of the queries, against it to the point."""
    queries, query_starts, points, starts, index = ctx.saved_tensors
    start = starts[cloud_of_points(query_starts, queries.shape[0])]
    found = index >= 0
    at = torch.where(found, index + start[:, None], -1).reshape(-1)
    difference = queries[:, None] - gather_rows(points, at).view(*index.shape, 3)
    pull = torch.where(found[..., None], gradient[..., None] * (2 * difference), 0.0)
    to_points = sum_rows(-pull.reshape(-1, 3), at, points.shape[0])
    return pull.sum(1), None, None, to_points, None, None, None


_CLOUDS = "Tensor queries, Tensor query_starts, Tensor query_lengths, Tensor points, Tensor starts, Tensor lengths"

_knn = register(
    Operator(
        schema=f"knn({_CLOUDS}, SymInt k) -> (Tensor, Tensor)",
        kernel=_knn_kernel,
        reference=reference.knn,
        fake=_knn_fake,
        save=_knn_save,
        backward=_knn_backward,
    )
)

_ball_query = register(
    Operator(
        schema=f"ball_query({_CLOUDS}, float radius, SymInt k, bool by_distance) -> (Tensor, Tensor)",
        kernel=_ball_kernel,
        reference=reference.ball_query,
        fake=_ball_fake,
    )
)
