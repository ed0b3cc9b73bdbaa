"""What suites change about a scene: colours, textures, sizes, surroundings, physics, words, instances."""
