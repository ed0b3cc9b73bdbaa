"""Plain torch forms of the view operations: what every faster kernel must equal."""
