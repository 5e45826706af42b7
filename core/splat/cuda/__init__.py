"""The kernels' interface on a CUDA device: gsplat draws, tiny-cuda-nn encodes. Both are optional and imported late.

gsplat's part has been run on a card (docs/splatting.md), TINY-CUDA-NN'S HAS NOT. Where there is none, the tests run
these wrappers on the CPU: gsplat's own `rasterization` with its own torch functions in place of its CUDA kernels, and a
stand-in with tiny-cuda-nn's interface. This room must not know of heads.
"""

from core.splat.cuda.device import cuda_device
from core.splat.cuda.grid import encode_triplane
from core.splat.cuda.rasterization import rasterize

__all__ = ["cuda_device", "encode_triplane", "rasterize"]
