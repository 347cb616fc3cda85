"""How every preset starts: no layer dead or saturated, every seed its own, the picture seen."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from model.discriminator import AnyDiscriminator, Discriminator, discriminator_of
from model.discriminator_stylegan2 import EqualizedConv, EqualizedLinear
from model.generator import Generator
from model.layers import ISNLinear, L2SelfAttention, SelfModulatedLayerNorm, split_heads
from model.presets import PRESETS, preset
from model.siren import ModulatedLinear

LAYERS = (
    nn.Linear, ISNLinear, ModulatedLinear, nn.LayerNorm, SelfModulatedLayerNorm,
    EqualizedConv, EqualizedLinear,
)  # fmt: skip
# Standard deviation of a layer's outputs over everything. Inside, signals are near 1; louder are the
# position's angles (3 radians). Fainter on purpose: colours (gain 0.3), SLN's gamma and beta (gain 1/4), the
# tied query (gain 1/4), and attention's output, a mean over tokens.
ORDINARY = (0.2, 4.0)
EXCEPTIONS = {
    "siren.rgb": (0.05, 1.0),
    "gamma": (0.1, 0.6),
    "beta": (0.1, 0.6),
    "attention.query": (0.1, 0.6),
    "attention.out": (0.05, 4.0),
    "head.2": (0.02, 4.0),
    "head": (0.02, 4.0),
}


@cache
def networks(name: str) -> tuple[Generator, AnyDiscriminator]:
    torch.manual_seed(0)
    config = preset(name)
    return (
        Generator(config.generator).requires_grad_(False),
        discriminator_of(config.discriminator).requires_grad_(False),
    )


def outputs(network: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    """What each layer gives for those inputs, by its name."""
    found: dict[str, Tensor] = {}
    handles = [
        layer.register_forward_hook(lambda _, __, out, name=name: found.setdefault(name, out))
        for name, layer in network.named_modules()
        if isinstance(layer, LAYERS)
    ]
    network(inputs)
    for handle in handles:
        handle.remove()
    assert len(found) == len(handles)
    return found


def bounds(name: str) -> tuple[float, float]:
    return next((pair for end, pair in EXCEPTIONS.items() if name.endswith(end)), ORDINARY)


def pictures(name: str, count: int) -> Tensor:
    """Smooth pictures, each with colours of its own."""
    side = preset(name).generator.resolution
    coarse = torch.rand(count, 3, 4, 4) * 2 - 1
    return nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")


def in_range(found: dict[str, Tensor]) -> None:
    for name, out in found.items():
        low, high = bounds(name)
        assert out.isfinite().all(), name
        assert low < float(out.std(correction=0) if out.numel() > 4 else out.abs().mean()) < high, (
            name,
            float(out.std()),
        )


@pytest.mark.parametrize("name", PRESETS)
def test_every_layer_of_the_generator_starts_in_range(name: str) -> None:
    generator, _ = networks(name)
    in_range(outputs(generator, torch.randn(4, preset(name).generator.z_dim)))


@pytest.mark.parametrize("name", PRESETS)
def test_every_layer_of_the_discriminator_starts_in_range(name: str) -> None:
    in_range(outputs(networks(name)[1], pictures(name, 4)))


@pytest.mark.parametrize("name", PRESETS)
def test_first_pictures_are_faint_and_differ_between_seeds(name: str) -> None:
    drawn = networks(name)[0](torch.randn(4, preset(name).generator.z_dim))
    assert 0.1 < drawn.std() < 0.9
    assert (drawn.abs() < 1).float().mean() > 0.9  # few are clipped
    assert drawn.std(0).mean() > 0.03


@pytest.mark.parametrize("name", PRESETS)
def test_the_style_enters_through_sln_alone(name: str) -> None:
    """With the weights of every gamma and beta at zero all seeds are one picture, to the bit."""
    config = preset(name)
    generator = Generator(config.generator).requires_grad_(False)
    for module in generator.modules():
        if isinstance(module, SelfModulatedLayerNorm):
            module.gamma.weight.zero_()
            module.beta.weight.zero_()
    drawn = generator(torch.randn(3, config.generator.z_dim))
    assert drawn.std() > 0.05
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("name", PRESETS)
def test_each_sub_layer_has_its_own_sln(name: str) -> None:
    generator, _ = networks(name)
    norms = [module for module in generator.modules() if isinstance(module, SelfModulatedLayerNorm)]
    assert len(norms) == 2 * preset(name).generator.blocks + 1
    weights = [layer.weight for norm in norms for layer in (norm.gamma, norm.beta)]
    assert len({weight.data_ptr() for weight in weights}) == 2 * len(norms)


def class_token(discriminator: Discriminator, images: Tensor) -> Tensor:
    return outputs(discriminator, images)["norm"]


@pytest.mark.parametrize("name", [name for name in PRESETS if preset(name).discriminator.kind == "vit"])
def test_the_class_token_sees_the_picture(name: str) -> None:
    token = class_token(networks(name)[1], pictures(name, 6))
    assert float(token.std(0).mean()) > 0.1 * float(token.std())


def self_weight(attention: L2SelfAttention, x: Tensor) -> float:
    """Mean weight of a token on itself."""
    q = split_heads(attention.query(x), attention.heads)
    logits = -torch.cdist(q, q).square() / q.shape[-1] ** 0.5
    return float(logits.softmax(-1).diagonal(dim1=-2, dim2=-1).mean())


def test_a_full_query_gain_is_blind_and_the_default_is_not() -> None:
    """Why ``query_gain`` is 1/4: at 1 the tied queries are so far apart that each token sees itself alone."""
    config = preset("vitgan-s-32")
    x = torch.randn(2, 65, config.discriminator.width)
    seen = {}
    for gain in (0.25, 1.0):
        blind = config.with_setting(f"discriminator.query_gain={gain}").discriminator
        seen[gain] = self_weight(Discriminator(blind).requires_grad_(False).blocks[0].attention, x)
    assert seen[1.0] > 0.95
    assert seen[0.25] < 0.2


def test_the_authors_residual_adds_the_normalised_tokens() -> None:
    """y = SLN(h) + MSA(SLN(h)), then SLN(y) + MLP(SLN(y)); the paper adds h and y themselves."""
    config = preset("vitgan-ti-32").with_setting("generator.residual=normalised")
    generator = Generator(config.generator).requires_grad_(False)
    block, h, w = generator.blocks[0], torch.randn(2, 64, 96), torch.randn(2, 96)
    x = block.norm_attention(h, w)
    y = x + block.attention(x)
    x = block.norm_mlp(y, w)
    torch.testing.assert_close(block(h, w), x + block.mlp(x))
    block.residual = "input"
    y = h + block.attention(block.norm_attention(h, w))
    torch.testing.assert_close(block(h, w), y + block.mlp(block.norm_mlp(y, w)))
