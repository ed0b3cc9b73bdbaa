"""Drawing helpers of videos and key-frame strips: fonts, text that fits, heat over a picture, depth as colour."""

import importlib.util
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from vla3d.policies.base import PolicyExplanation

BACKGROUND = (15, 20, 25)
PANEL = (26, 33, 43)
TEXT = (230, 237, 243)
MUTED = (139, 152, 165)
ACCENT = (88, 186, 255)
GOOD = (38, 166, 98)
BAD = (214, 69, 65)
WARNING = (240, 170, 60)
GROUNDED = (90, 255, 140)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Heat runs from violet over red and orange to pale yellow: readable on dark views and for colour-blind eyes.
_HEAT = np.array([[70, 20, 110], [170, 40, 110], [235, 95, 60], [255, 180, 50], [255, 250, 190]], dtype=np.float32)
_DEPTH = np.array([[253, 231, 180], [120, 190, 170], [50, 120, 160], [40, 60, 110], [24, 24, 48]], dtype=np.float32)
# A peak this many times the mean is drawn at full strength; a trained policy's are ten times sharper.
_SHARP = 30.0
_SYSTEM_FONTS = Path("/usr/share/fonts/truetype/dejavu")


@lru_cache(maxsize=64)
def font(size: int, bold: bool = False) -> Font:
    """A sans-serif font: DejaVu (from the system or from matplotlib's files) where there is one, else Pillow's own.

    Args:
        size: height in pixels.
        bold: heavier strokes; Pillow's own font has none.
    """
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    found = importlib.util.find_spec("matplotlib")  # looked up, not imported: importing it takes a second
    folders = [_SYSTEM_FONTS]
    if found is not None and found.submodule_search_locations:
        folders.append(Path(next(iter(found.submodule_search_locations))) / "mpl-data/fonts/ttf")
    for folder in folders:
        if (folder / name).is_file():
            return ImageFont.truetype(str(folder / name), size)
    return ImageFont.load_default(size)


def write_fitting(
    draw: ImageDraw.ImageDraw, text: str, at: tuple[int, int], width: int, *, size: int, least: int = 11, bold: bool = False,
    fill: tuple[int, int, int] = TEXT,
) -> None:  # fmt: skip
    """Write one line, smaller when it is too long, and with an ellipsis when it is too long even at the least size."""
    for pixels in range(size, least - 1, -1):
        chosen = font(pixels, bold)
        if draw.textlength(text, font=chosen) <= width:
            draw.text(at, text, font=chosen, fill=fill)
            return
    kept = len(text)
    while kept > 1 and draw.textlength(text[:kept] + "…", font=chosen) > width:
        kept -= 1
    draw.text(at, text[:kept].rstrip() + "…", font=chosen, fill=fill)


def heat_overlay(view: Float[np.ndarray, "3 R R"], heatmap: Float[np.ndarray, "R R"]) -> UInt8[np.ndarray, "R R 3"]:
    """A rendered view with its heatmap laid over it: opaque where a sharp map peaks, faint where a map hardly prefers anything.

    Args:
        view: RGB in [0, 1]; pure black is empty space and is drawn in the panel's colour.
        heatmap: heat, at least 0; a map that is the same everywhere leaves the view as it is.
    """
    picture = np.moveaxis(np.clip(np.nan_to_num(view), 0, 1), 0, -1).astype(np.float32) * 255
    picture[(picture == 0).all(axis=-1)] = PANEL
    heat = np.clip(np.nan_to_num(heatmap), 0, None).astype(np.float32)
    if heat.max() <= 0:
        return picture.astype(np.uint8)
    strength = min(1.0, math.log(heat.max() / heat.mean()) / math.log(_SHARP))
    heat = heat / heat.max()
    # The square root lets the faint flanks of a sharp peak be seen; the peak stays the only bright spot.
    alpha = 0.85 * strength * np.sqrt(heat)[..., None]
    return np.asarray(picture * (1 - alpha) + ramp(heat, _HEAT) * alpha, dtype=np.uint8)


def prior_outline(picture: UInt8[np.ndarray, "R R 3"], prior: Float[np.ndarray, "R R"]) -> UInt8[np.ndarray, "R R 3"]:
    """A picture with the outlines of what a policy grounds its sentence in.

    Args:
        picture: of a view.
        prior: probability that a pixel shows what is meant; regions of less than a quarter get no line, and a line is the
            brighter the more probable what it surrounds is.
    """
    framed = np.pad(np.nan_to_num(prior), 1)
    least = np.minimum.reduce([framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:]])
    drawn = np.where((prior > least + 0.1) & (prior >= 0.25), prior, 0.0)[..., None]
    return np.asarray(picture * (1 - drawn) + np.array(GROUNDED) * drawn, dtype=np.uint8)


def look_picture(explanation: PolicyExplanation, look: int, view: int) -> UInt8[np.ndarray, "R R 3"]:
    """What a policy saw in one view of one look: its heat, and where it grounds its sentence."""
    picture = heat_overlay(explanation.views[look, view], explanation.heatmaps[look, view])
    return picture if explanation.priors is None else prior_outline(picture, explanation.priors[look, view])


def outlined_views(explanation: PolicyExplanation) -> Float[np.ndarray, "L V 3 R R"]:
    """The views of every look, RGB in [0, 1], with the outlines of what the policy grounds its sentence in."""
    if explanation.priors is None:
        return explanation.views
    views = np.clip(np.nan_to_num(explanation.views), 0, 1)
    outlined = np.empty_like(views)
    for place in np.ndindex(views.shape[:2]):
        picture = np.moveaxis(255 * views[place], 0, -1).astype(np.uint8)
        outlined[place] = np.moveaxis(prior_outline(picture, explanation.priors[place]), -1, 0) / 255
    return outlined


def depth_picture(depth: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Depth in metres as colour, near bright and far dark; pixels without a measurement are drawn in the panel's colour."""
    valid = np.isfinite(depth) & (depth > 0)
    picture = np.empty((*depth.shape, 3), dtype=np.uint8)
    picture[:] = PANEL
    if valid.any():
        near, far = np.percentile(depth[valid], (1, 95))  # a far wall must not eat the range
        scaled = np.clip((depth[valid] - near) / max(far - near, 1e-6), 0, 1).astype(np.float32)
        picture[valid] = ramp(scaled, _DEPTH).astype(np.uint8)
    return picture


def ramp(values: Float[np.ndarray, "*n"], anchors: Float[np.ndarray, "k 3"]) -> Float[np.ndarray, "*n 3"]:
    """Colours for values in [0, 1], linear between equally spaced anchors."""
    grid = np.linspace(0, 1, len(anchors))
    return np.stack([np.interp(values, grid, anchors[:, channel]) for channel in range(3)], axis=-1).astype(np.float32)


def scaled(picture: UInt8[np.ndarray, "H W 3"], size: int) -> Image.Image:
    """The picture as a square of ``size`` pixels; enlarged smoothly."""
    return Image.fromarray(np.ascontiguousarray(picture)).resize((size, size), Image.Resampling.BICUBIC)
