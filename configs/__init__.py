"""Hydra YAML only: no code lives here. Python reads it through ``pkg://vla3d.configs``."""

if __name__ != "vla3d.configs":
    raise ImportError("import vla3d.configs, not configs: this folder is installed as a part of vla3d")
