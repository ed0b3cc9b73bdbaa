"""What holds between two nodes: one table of predicates, three-valued, and their evaluation on many nodes at once."""
