"""Plain torch forms of the point operations: what every kernel must equal, and what runs where Warp does not."""
