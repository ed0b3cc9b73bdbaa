"""Names of the tasks, and of what The COLOSSEUM changes about them. Loads no simulator."""

RLBENCH_18: tuple[str, ...] = (
    "close_jar", "insert_onto_square_peg", "light_bulb_in", "meat_off_grill", "open_drawer", "place_cups",
    "place_shape_in_shape_sorter", "place_wine_at_rack_location", "push_buttons", "put_groceries_in_cupboard",
    "put_item_in_drawer", "put_money_in_safe", "reach_and_drag", "slide_block_to_color_target", "stack_blocks", "stack_cups",
    "sweep_to_dustpan_of_size", "turn_tap",
)  # fmt: skip
"""PerAct's selection (Shridhar et al. 2022), on which RVT, RVT-2 and BridgeVLA are compared. RLBench has more."""

COLOSSEUM: tuple[str, ...] = (
    "basketball_in_hoop", "close_box", "close_laptop_lid", "empty_dishwasher", "get_ice_from_fridge", "hockey",
    "insert_onto_square_peg", "meat_on_grill", "move_hanger", "open_drawer", "place_wine_at_rack_location", "put_money_in_safe",
    "reach_and_drag", "scoop_with_spatula", "setup_chess", "slide_block_to_target", "stack_cups", "straighten_rope",
    "turn_oven_on", "wipe_desk",
)  # fmt: skip

COLOSSEUM_FACTORS: dict[str, int] = {
    "all": 1,
    "mo_color": 2,
    "ro_color": 3,
    "mo_texture": 4,
    "ro_texture": 5,
    "mo_size": 6,
    "ro_size": 7,
    "light_color": 8,
    "table_color": 9,
    "table_texture": 10,
    "distractors": 11,
    "background_texture": 12,
    "task_variations": 13,
    "camera_pose": 14,
    "all_and_task_variations": 15,
    "friction": 16,
    "mass": 17,
}
"""Our name of each variation to its number in The COLOSSEUM's files; 0 there is the unchanged scene."""
