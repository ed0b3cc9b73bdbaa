"""Virtual orthographic views of a point cloud: rendering, heatmap targets, lifting back to 3D."""

from vla3d.views.expectation import lift_expectation
from vla3d.views.frames import render_frames
from vla3d.views.heatmaps import heatmap_targets
from vla3d.views.lifting import lift_candidates, lift_heatmaps
from vla3d.views.projection import project_to_views
from vla3d.views.splat import RenderedViews, render_views
from vla3d.views.view_set import VIEW_PRESETS, ViewSet, VirtualCamera

__all__ = [
    "VIEW_PRESETS",
    "RenderedViews",
    "ViewSet",
    "VirtualCamera",
    "heatmap_targets",
    "lift_candidates",
    "lift_expectation",
    "lift_heatmaps",
    "project_to_views",
    "render_frames",
    "render_views",
]
