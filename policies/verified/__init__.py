"""Any policy, with each of its keyframes checked against the scene graph."""
