if __name__ != "vla3d.scene_graphs":
    raise ImportError("import vla3d.scene_graphs, not scene_graphs: this folder is installed as a part of vla3d")
