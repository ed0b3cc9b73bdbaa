"""Stack four blocks of the named colours in the named order."""

from math import perm

from vla3d.envs.tabletop.tasks.stack_blocks import NUM_BLOCKS, StackBlocks


class StackFourBlocks(StackBlocks):
    """Five cubes; the goal is a tower of the four named ones in their order, each within 1 cm over the next, let go."""

    name = "stack_four_blocks"
    tower_height = 4
    num_candidates = perm(NUM_BLOCKS, 4)
    templates = (
        "stack the {second} block on the {base} block, then the {third} block on top, then the {fourth} block",
        "put the {second} cube on the {base} cube, the {third} cube on that and the {fourth} cube on top",
        "build a tower with {base} at the bottom, then {second}, then {third} and {fourth} on top",
        "place the {second} block on the {base} one, then the {third} block and last the {fourth} block",
        "make a stack of four: {base} below, then {second}, then {third}, then {fourth}",
        "set the {second} cube on top of the {base} cube, then add the {third} cube and the {fourth} cube",
    )
    unseen_templates = (
        "pile up four blocks from the table upwards, first {base}, next {second}, then {third}, last {fourth}",
        "the {fourth} block belongs on the {third} one, that on the {second} one, that on the {base} one",
    )
    expert_keyframes = 17
    held_out = True
