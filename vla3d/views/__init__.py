"""Virtual orthographic views of a point cloud: rendering, heatmap targets, lifting back to 3D."""

from vla3d.views.expectation import lift_expectation
from vla3d.views.frames import render_frames
from vla3d.views.heatmaps import heatmap_targets
from vla3d.views.lifting import lift_candidates, lift_heatmaps
from vla3d.views.projection import project_to_views
from vla3d.views.reference.rvt2 import VIEWS as RVT2_VIEWS
from vla3d.views.rvt2 import render_rvt2_views, rvt2_bytes, rvt2_channels, rvt2_colors
from vla3d.views.rvt2_heatmaps import (
    lift_rvt2_heatmaps,
    project_to_rvt2_views,
    rvt2_heatmap_targets,
    rvt2_votes,
    sample_by_inverse_distance,
)
from vla3d.views.splat import RenderedViews, render_views
from vla3d.views.view_set import VIEW_PRESETS, ViewSet, VirtualCamera

__all__ = [
    "RVT2_VIEWS",
    "VIEW_PRESETS",
    "RenderedViews",
    "ViewSet",
    "VirtualCamera",
    "heatmap_targets",
    "lift_candidates",
    "lift_expectation",
    "lift_heatmaps",
    "lift_rvt2_heatmaps",
    "project_to_rvt2_views",
    "project_to_views",
    "render_frames",
    "render_rvt2_views",
    "render_views",
    "rvt2_bytes",
    "rvt2_channels",
    "rvt2_colors",
    "rvt2_heatmap_targets",
    "rvt2_votes",
    "sample_by_inverse_distance",
]
