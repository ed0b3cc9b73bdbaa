"""Speed of the point and view operations beside that of their peers, in one run and on the same data: `vla3d bench`."""
