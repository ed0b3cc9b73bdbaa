if __name__ != "vla3d.policies":
    raise ImportError("import vla3d.policies, not policies: this folder is installed as a part of vla3d")
