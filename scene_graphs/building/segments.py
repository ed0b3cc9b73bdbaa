"""One view taken apart: the points of every instance in it, and where something hides that it goes on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int16

from vla3d.errors import DataError
from vla3d.geometry import unproject
from vla3d.scene_graphs.colors import lab
from vla3d.scene_graphs.shapes.boxes import OrientedBox
from vla3d.types import RgbdFrame

# Something is before a thing, rather than beside it, when it is nearer by this much, metres.
_BEFORE = 0.01
# An outline that is hidden along less than this still counts as whole: pixels at corners mean nothing.
_CUT_SHARE = 0.12
# How far a surface is followed where it is cut, and how much of that may be outside of a box without meaning anything, metres.
_ONWARD, _SLACK = 0.005, 0.002
# Of the pixels of a thing, the most colourful tell its colour: a button's cap, not its dark rim.
_COLORFUL = 0.75


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """An instance in a view.

    Attributes:
        number: its id in the view's segmentation.
        points: world metres.
        colors: sRGB in [0, 1], of the same pixels.
        outline: length of its outline, pixel sides.
        beyond: where it would go on next to each pixel side at which the picture's border or something before it cuts its
            outline, world metres; not a number where nothing tells.
    """

    number: int
    points: Float[np.ndarray, "N 3"]
    colors: Float[np.ndarray, "N 3"]
    outline: int
    beyond: Float[np.ndarray, "K 3"]

    def cut_by(self, box: OrientedBox) -> bool:
        """Whether it may reach out of a box where this view does not see it."""
        inside = box.contains(self.beyond, margin=_SLACK)  # not a number is outside
        return bool((~inside).sum() > _CUT_SHARE * self.outline)

    @property
    def rgb(self) -> Float[np.ndarray, "3"]:
        """Its colour: the median of the most colourful quarter of its pixels."""
        chroma = np.hypot(*lab(self.colors)[:, 1:].T)
        return np.median(self.colors[chroma >= np.quantile(chroma, _COLORFUL)], axis=0)


def world_points(frame: RgbdFrame) -> tuple[Float[np.ndarray, "H W 3"], Bool[np.ndarray, "H W"]]:
    """World point of each pixel, and which pixels have one."""
    points, valid = unproject(
        torch.from_numpy(frame.depth.astype(np.float64)),
        torch.from_numpy(np.asarray(frame.intrinsics, dtype=np.float64)),
        torch.from_numpy(np.asarray(frame.T_world_camera, dtype=np.float64)),
    )
    return points.numpy(), valid.numpy()


def segments_of(frame: RgbdFrame, points: Float[np.ndarray, "H W 3"], valid: Bool[np.ndarray, "H W"]) -> list[Segment]:
    """Every instance in a view that has a measured point, by id; 0 is the background.

    Args:
        frame: with a segmentation.
        points: what `world_points` returned.
        valid: likewise.

    Raises:
        DataError: no segmentation, or one of another size than the images.
    """
    segmentation = frame.segmentation
    if segmentation is None or segmentation.shape != frame.depth.shape:
        shape = None if segmentation is None else segmentation.shape
        raise DataError(f"Frame: got a segmentation of shape {shape}, expected instance ids of shape {frame.depth.shape}.")
    outline, hidden, beyond = _outlines(segmentation, frame.depth, points, valid)
    # Sorted by id, each instance is one slice.
    flat = segmentation.ravel()
    order = np.argsort(flat, kind="stable")
    numbers, starts = np.unique(flat[order], return_index=True)
    found = []
    for number, pixels in zip(numbers, np.split(order, starts[1:]), strict=True):
        measured = pixels[valid.ravel()[pixels]]
        if not len(measured):
            continue
        found.append(
            Segment(
                number=int(number),
                points=points.reshape(-1, 3)[measured],
                colors=frame.rgb.reshape(-1, 3)[measured] / 255.0,
                outline=int(outline.ravel()[pixels].sum()),
                beyond=beyond[hidden == number],
            )
        )
    return found


def segmentation_of_masks(masks: Bool[np.ndarray, "K H W"], ids: Sequence[int] | None = None) -> Int16[np.ndarray, "H W"]:
    """One image of ids from masks that may overlap: a pixel goes to its smallest mask, so a part stays visible on its whole.

    Args:
        masks: one for each instance.
        ids: of the instances; 1, 2, ... by default.

    Raises:
        DataError: ids that are not unique, or not from 1 to 32767.
    """
    numbers = list(range(1, len(masks) + 1)) if ids is None else list(ids)
    if len(numbers) != len(masks) or len(set(numbers)) != len(numbers) or any(not 1 <= number <= 32767 for number in numbers):
        raise DataError(f"masks: got {len(masks)} masks and the ids {numbers}, expected different ids from 1 to 32767.")
    result = np.zeros(masks.shape[1:], dtype=np.int16)
    sizes = masks.reshape(len(masks), -1).sum(axis=1)
    for row in np.argsort(-sizes, kind="stable"):
        result[masks[row]] = numbers[row]
    return result


def _outlines(
    segmentation: Int16[np.ndarray, "H W"], depth: Float[np.ndarray, "H W"], points: Float[np.ndarray, "H W 3"],
    valid: Bool[np.ndarray, "H W"],
) -> tuple[Int[np.ndarray, "H W"], Int[np.ndarray, "K"], Float[np.ndarray, "K 3"]]:  # fmt: skip
    """How many of each pixel's four sides are outline; ids of things that go on unseen at a side, and where they go on.

    Where they go on is a little further along the line from the pixel before; not a number where there is none before.
    """
    height, width = segmentation.shape
    # One row and column more on each side belong to no instance and are before everything.
    ids = np.pad(segmentation.astype(np.int32), 1, constant_values=-1)
    nearer = np.pad(np.where(valid, depth, np.inf), 1, constant_values=-np.inf)
    places = np.pad(np.where(valid[..., None], points, np.nan), ((1, 1), (1, 1), (0, 0)), constant_values=np.nan)
    outline = np.zeros(segmentation.shape, dtype=np.int64)
    numbers, beyond = [], []
    for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        ahead = np.s_[1 + down : 1 + down + height, 1 + right : 1 + right + width]
        back = np.s_[1 - down : 1 - down + height, 1 - right : 1 - right + width]
        other = ids[ahead] != segmentation
        outline += other
        hidden = other & valid & (nearer[ahead] < depth - _BEFORE)
        rows, columns = np.nonzero(hidden)
        before = np.where((ids[back] == segmentation)[rows, columns, None], places[back][rows, columns], np.nan)
        numbers.append(segmentation[rows, columns].astype(np.int64))
        step = points[rows, columns] - before
        length = np.linalg.norm(step, axis=1, keepdims=True)
        beyond.append(points[rows, columns] + _ONWARD * step / np.where(length > 0, length, np.nan))
    return outline, np.concatenate(numbers), np.concatenate(beyond)
