"""All rewrites by name, and the form of a graph for a target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from onnx import ModelProto

from vae_export.edge_forms.rewriting.activations import (
    sigmoid_before_reshape,
    sigmoid_written_out,
)
from vae_export.edge_forms.rewriting.casts import folded_casts
from vae_export.edge_forms.rewriting.comparisons import comparisons_by_arithmetic
from vae_export.edge_forms.rewriting.convolutions import even_pads, tile_as_concat
from vae_export.edge_forms.rewriting.logarithms import logarithms_apart
from vae_export.edge_forms.rewriting.normalization import means_in_steps
from vae_export.edge_forms.rewriting.opsets import to_opset
from vae_export.edge_forms.rewriting.outputs import outputs_apart, without_reconstruction
from vae_export.edge_forms.rewriting.pooling import (
    even_pool_pads,
    pads_in_numbers,
    pools_over_two_axes,
)
from vae_export.edge_forms.rewriting.sequences import reversed_by_gather
from vae_export.edge_forms.rewriting.shapes import (
    columns_by_reshape,
    flatten_for_reshape,
    resize_without_roi,
    static_shapes,
    without_value_info,
)
from vae_export.edge_forms.rewriting.splits import (
    split_as_heads,
    split_as_slices,
    split_with_sizes,
)
from vae_export.edge_forms.rewriting.sums import sums_over_three_axes
from vae_export.edge_forms.targets import Target

REWRITES: Final[dict[str, Callable[[ModelProto], ModelProto]]] = {
    rewrite.__name__: rewrite
    for rewrite in (
        columns_by_reshape,
        comparisons_by_arithmetic,
        even_pads,
        even_pool_pads,
        flatten_for_reshape,
        folded_casts,
        logarithms_apart,
        means_in_steps,
        outputs_apart,
        pads_in_numbers,
        pools_over_two_axes,
        resize_without_roi,
        reversed_by_gather,
        sigmoid_before_reshape,
        sigmoid_written_out,
        split_as_heads,
        split_as_slices,
        split_with_sizes,
        static_shapes,
        sums_over_three_axes,
        tile_as_concat,
        without_reconstruction,
        without_value_info,
    )
}


def rewritten(model: ModelProto, target: Target) -> ModelProto:
    """Return a model in the form that a target computes rightly.

    Raises `ExportError`, which names an operator, if the target's opset cannot express it.
    """
    for name in target.rewrites:
        model = REWRITES[name](model)
    return to_opset(model, target.opset)
