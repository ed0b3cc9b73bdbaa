"""How a Warp kernel becomes a torch operator: launching it on tensors, and registering it with its torch twin.

An operation has three parts. Its door (`vla3d.pointcloud`, `vla3d.views`) validates and documents. Its kernel, in the folder
``kernels`` beside the door, is written in Warp for CPU and CUDA; where the best algorithm differs, ``serial_*`` is the form for
a CPU. Its reference, in ``reference``, is the same in plain torch: the oracle of the tests, and what runs on devices that Warp
does not know. The operator ``torch.ops.vla3d.<name>`` joins them, so that ``torch.compile`` and ``torch.export`` see one opaque
call.
"""
