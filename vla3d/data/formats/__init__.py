"""Formats of demonstrations, one module each; ``vla3d.data.sources`` tells them apart."""
