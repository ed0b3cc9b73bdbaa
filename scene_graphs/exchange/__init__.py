"""Graphs in other forms: files, PyTorch Geometric, networkx."""
