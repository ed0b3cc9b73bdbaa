"""Where graphs come from: known boxes, or posed RGB-D images with and without instance masks."""
