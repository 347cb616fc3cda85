"""FID and KID in the features of Inception-v3, through torchmetrics: the optional extra ``fid``.

Heusel et al. 2017 (FID); Binkowski et al. 2018, *Demystifying MMD GANs* (KID). The network's weights are
fetched by torch-fidelity on first use.
"""

from __future__ import annotations

from importlib import import_module

import torch
from torch import Tensor, nn

BATCH = 50  # pictures at once, resized to 299 px
KID_SUBSET = 1000  # pictures of each of the subsets that KID averages over, as in the paper


class InceptionMissingError(Exception):
    """Inception-v3 cannot be had; the message says why and what to do."""


class Inception:
    """FID and KID of sets of pictures to one reference [N, 3, r, r] uint8.

    Raises ``InceptionMissingError`` if the package or its weights cannot be had.
    """

    def __init__(self, reference: Tensor, seed: int) -> None:
        self.seed = seed
        subset = min(KID_SUBSET, len(reference))
        try:
            fid, kid = import_module("torchmetrics.image.fid"), import_module("torchmetrics.image.kid")
            self.fid = fid.FrechetInceptionDistance(reset_real_features=False)
            self.kid = kid.KernelInceptionDistance(
                nn.Identity(), subset_size=subset, reset_real_features=False
            )
        except OSError as error:
            raise InceptionMissingError(
                f"FID and KID are left out, the weights of Inception-v3 cannot be fetched ({error}): "
                "go online once, or put their file into the folder hub/checkpoints of TORCH_HOME"
            ) from None
        except (ImportError, RuntimeError) as error:  # also a torchvision made for another PyTorch
            raise InceptionMissingError(
                f"FID and KID are left out, their packages do not load ({error}): "
                "pip install -e '.[fid]' in this project's folder, with the torchvision made for this PyTorch"
            ) from None
        # The network's time is nearly all there is: each picture passes it once, for both measures.
        self.network, self.fid.inception = self.fid.inception, nn.Identity()
        self._update(reference, real=True)

    def measures(self, pictures: Tensor) -> dict[str, float]:
        """FID, and KID x 1000, of pictures [N, 3, r, r] uint8."""
        self._update(pictures, real=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)  # KID draws its subsets
            found = {"fid": float(self.fid.compute()), "kid": 1000 * float(self.kid.compute()[0])}
        self.fid.reset()
        self.kid.reset()
        return found

    @torch.no_grad()
    def _update(self, pictures: Tensor, real: bool) -> None:
        for part in torch.split(pictures, BATCH):
            vectors = self.network(part)  # [B, 2048]
            self.fid.update(vectors, real=real)
            self.kid.update(vectors, real=real)
