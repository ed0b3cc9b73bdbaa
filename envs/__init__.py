if __name__ != "vla3d.envs":
    raise ImportError("import vla3d.envs, not envs: this folder is installed as a part of vla3d")
