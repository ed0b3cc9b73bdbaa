"""Procedural scenes: tabletops and simple rooms as scene graphs, with splits that hold compositions out.

The generator decides what there is and where it stands. What holds between things is computed from the boxes by the table in
`vla3d.scene_graphs.predicates.table`, as for any other graph.
"""
