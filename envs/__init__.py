"""Environments: the protocol, finding them by name, the embedded tabletop simulator, adapters to others."""

if __name__ != "vla3d.envs":
    raise ImportError("import vla3d.envs, not envs: this folder is installed as a part of vla3d")

from vla3d.envs.registration import register_gymnasium

register_gymnasium()
