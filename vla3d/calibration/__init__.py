"""Do calibrated RGB-D cameras agree with each other? Camera sets from files, their consistency, and the workspace they see."""
