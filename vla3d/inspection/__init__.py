"""Looking at what is recorded: episodes, rollouts and camera sets as pictures, videos and Rerun recordings."""
