"""ViTGAN (Lee et al., ICLR 2022) in PyTorch: a library of its own, with no service in it.

Reading order: ``config`` (sizes and presets), ``layers`` (the transformer's parts), ``siren`` (the
patch painter), ``generator``, ``discriminator``, ``losses`` and ``augment``, ``training`` (the loop),
``rendering`` (pixels at any resolution).
"""
