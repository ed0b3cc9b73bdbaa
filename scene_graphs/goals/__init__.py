"""Goals: what a sentence asks for as a change of the scene graph, and whether it has come about."""
