"""Initial weights for image encoders that are trained from scratch on a few scenes."""

import math

import torch
from torch import nn

_FREQUENCIES = 4


@torch.no_grad()
def smooth_patch_filters(embedding: nn.Conv2d) -> None:
    """Start a patch embedding from smooth filters, and from silence on black.

    With independent random pixels an object has an unrelated feature wherever it lies in a patch, so that its colour must be
    learnt anew for every place. Here each filter is a random mixture of the lowest cosine frequencies (power falling like the
    spectrum of natural images, Field 1987), which answers to colour first and to place linearly. The bias cancels black pixels
    (value -1 after SigLIP's normalisation), the background of rendered views. Drawn from torch's global generator.

    Args:
        embedding: stride equal to kernel size, three input channels.
    """
    filters, channels, patch, _ = embedding.weight.shape
    frequency = torch.arange(_FREQUENCIES).float()
    cosines = torch.cos(math.pi * frequency[:, None] * (torch.arange(patch) + 0.5) / patch)
    amplitude = 1 / (1 + frequency[:, None] ** 2 + frequency**2)
    mixture = torch.randn(filters, channels, _FREQUENCIES, _FREQUENCIES) * amplitude
    weight = torch.einsum("ocuv,uy,vx->ocyx", mixture, cosines, cosines)
    # The spread that the usual initialisation (LeCun et al. 1998) gives independent pixels.
    weight *= 1 / (weight.std() * math.sqrt(channels * patch**2))
    embedding.weight.copy_(weight)
    if embedding.bias is not None:
        embedding.bias.copy_(weight.sum((1, 2, 3)))
