"""The embedded simulator: a Franka Panda at a table in MuJoCo, with RGB-D cameras and language-conditioned tasks."""
