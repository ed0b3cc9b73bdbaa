"""Open the drawer of the named colour and put the two cubes of the named colours into it."""

from math import comb

from vla3d.envs.tabletop.objects import NUM_DRAWERS, inside_drawer
from vla3d.envs.tabletop.tasks.cubes import cube_names, underside
from vla3d.envs.tabletop.tasks.drawers import CABINET, DRAWERS
from vla3d.envs.tabletop.tasks.put_item_in_drawer import PutItemInDrawer
from vla3d.envs.tabletop.world import World

NUM_CUBES = 4


class PutTwoInDrawer(PutItemInDrawer):
    """A cabinet with three drawers and four cubes; the goal is two named cubes at rest in the named drawer, the hand open."""

    name = "put_two_in_drawer"
    cubes = cube_names(NUM_CUBES)
    num_items = 2
    instances = (*cubes, *DRAWERS, CABINET)
    num_candidates = comb(NUM_CUBES, 2) * NUM_DRAWERS
    templates = (
        "open the {drawer} drawer and put the {item} cube and the {other} cube in it",
        "put the {other} cube and the {item} cube in the {drawer} drawer",
        "place the {item} block and the {other} block inside the {drawer} drawer",
        "pull out the {drawer} drawer and drop the {other} block and the {item} block into it",
        "the {item} cube and the {other} cube belong in the drawer with the {drawer} handle",
        "store the {other} cube and the {item} cube in the {drawer} drawer",
    )
    unseen_templates = (
        "hide both the {item} block and the {other} block in the {drawer} drawer",
        "get the {drawer} drawer open, then let the {other} cube and the {item} cube fall into it",
    )
    expert_keyframes = 15
    held_out = True
    manipulated = cubes
    drops = (0.045, 0.105)

    def inside(self, world: World, cube: str, drawer: str) -> bool:
        """Whether a cube is in a drawer, be it on another one there: its underside is."""
        return inside_drawer(world.to_body(drawer, underside(world, cube)))
