"""A module in evaluation mode whose self-attention copies less between its matrix products."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import torch
from torch import nn

from .torch_fused import has_hooks


def with_self_attention(module: nn.Module) -> nn.Module | None:
    """Make a module with the same function and parameters whose self-attention takes less time.

    Parameters
    ----------
    module
        In evaluation mode; it is not changed.

    Returns
    -------
    Module
        With the parameters and buffers of the module, by the same names; None where no layer is a
        ``nn.MultiheadAttention`` that attends to its own inputs alone.
    """
    if not any(_is_plain(layer) for layer in module.modules()):
        return None
    kept = {id(tensor): tensor for tensor in itertools.chain(module.parameters(), module.buffers())}
    other = copy.deepcopy(module, kept)
    for layer in other.modules():
        if _is_plain(layer):
            layer.__class__ = SelfAttention
    return other


def _is_plain(layer: nn.Module) -> bool:
    """Whether queries, keys and values come from one matrix, and nothing is added to them."""
    return (
        type(layer) is nn.MultiheadAttention
        and layer._qkv_same_embed_dim
        and layer.bias_k is None
        and not layer.add_zero_attn
        and not has_hooks(layer)
        and not has_hooks(layer.out_proj)
    )


class SelfAttention(nn.MultiheadAttention):
    """Attention of a batch of sequences to themselves, whose heads are views and no copies.

    ``nn.MultiheadAttention`` copies queries, keys and values into an order by heads, and their gradients back. It is
    called for all other inputs.
    """

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> Any:
        """Compute (N, L, E) from (N, L, E), or (L, N, E) from (L, N, E) without ``batch_first``; no weights."""
        own = query is key and key is value and query.ndim == 3
        if not own or need_weights or key_padding_mask is not None or (is_causal and attn_mask is None):
            rest = (key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal)
            return super().forward(query, key, value, *rest)
        mask = attn_mask
        if mask is not None and mask.ndim == 3:
            mask = mask.unflatten(0, (-1, self.num_heads))
        if mask is not None and mask.dtype == torch.bool:  # true where positions are left out, here where they are not
            mask = mask.logical_not()
        order = (0, 2, 1, 3) if self.batch_first else (1, 2, 0, 3)
        together = nn.functional.linear(query, self.in_proj_weight, self.in_proj_bias)
        parts = together.split(self.embed_dim, -1)
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)).permute(order) for part in parts)
        found = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        back = (0, 2, 1, 3) if self.batch_first else (2, 0, 1, 3)
        return self.out_proj(found.permute(back).flatten(2)), None
