"""The score graph: traced from TensorFlow in two pieces, and joined.

    base   x (and condition)   -> the losses at z = z_mean, fit, activations
    tail   fit, activations    -> score

A variant lowers the base only: the residual of a subspace in few bits would say nothing. The names
of the tail's nodes begin with `KEPT_PREFIX`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf

from vae_export.graphs.convert import KEPT_PREFIX, canonicalize, check_onnx, convert
from vae_export.graphs.functions import call_model, model_input, signature
from vae_export.scoring.activations import Activations
from vae_runtime.bundle.graph_fields import GraphSpec, InputSpec, TensorSpec
from vae_runtime.bundle.scores import ACTIVATIONS, P_VALUE, SCORE
from vae_runtime.decision.scorer import Scorer
from vae_runtime.graph.p_value import with_p_value
from vae_runtime.loss import LOSS_NAMES, losses

PROVISIONAL_SCORES = np.zeros(1, np.float32)
"""Calibration scores of a graph that has not been run yet."""

FIT = "fit"
"""Tensor between the two pieces: the part of the score that the decoder gives."""


@dataclass(frozen=True, eq=False)
class ScoreModel:
    """The models that a score is computed with.

    Attributes:
        encoder: as for `vae_export.export`.
        decoder: as for `vae_export.export`.
        input_spec: a sample.
        scorer: the score and its constants.
        activations: the encoder with its hidden activations; None if the score does not use them.
    """

    encoder: keras.Model
    decoder: keras.Model
    input_spec: InputSpec
    scorer: Scorer
    activations: Activations | None

    def pieces(self, x: Any, *given: Any) -> dict[str, Any]:
        """Return losses, fit and activations of samples, by name."""
        x = model_input(self.input_spec, x)
        loss, hidden = self.scorer.loss, {}
        if self.activations is None:
            code = call_model(self.encoder, x, *given)
            z_mean, z_log_var = code["z_mean"], code["z_log_var"]
        else:
            z_mean, z_log_var, hidden[ACTIVATIONS] = self.activations(x, *given)
        output = call_model(self.decoder, z_mean, *given)
        parts = losses(keras.ops, loss, x, output, z_mean, z_log_var)
        fit = self.scorer.fit(keras.ops, x, output, parts)
        return {**vars(parts), **({} if fit is None else {FIT: tf.identity(fit)}), **hidden}

    def score(self, pieces: dict[str, Any]) -> Any:
        """Return the score of each sample, from its pieces."""
        return self.scorer.score(keras.ops, pieces.get(FIT), pieces.get(ACTIVATIONS))


def score_graph(model: ScoreModel, spec: GraphSpec, metadata: dict[str, str]) -> bytes:
    """Return a score graph without its p-value, an ONNX file; errors are those of `convert`.

    `spec` describes the graph with its p-value.
    """
    between = _names_between(model)
    base_spec = replace(
        spec,
        file=f"base of {spec.file}",
        outputs=tuple(_tensor(name, spec) for name in (*LOSS_NAMES, *between)),
    )
    tail_spec = replace(
        spec,
        file=f"tail of {spec.file}",
        inputs=tuple(_tensor(name, spec) for name in between),
        outputs=(_tensor(SCORE, spec),),
    )
    base = convert(_function(_base(model, spec), base_spec), base_spec, {})
    tail = convert(_function(_tail(model, between), tail_spec), tail_spec, {})
    kept = [tensor.name for tensor in spec.outputs if tensor.name == ACTIVATIONS]
    joined = onnx.compose.merge_models(
        onnx.load_from_string(base),
        onnx.compose.add_prefix(onnx.load_from_string(tail), KEPT_PREFIX),
        io_map=[(name, f"{KEPT_PREFIX}{name}") for name in between],
        outputs=[*LOSS_NAMES, f"{KEPT_PREFIX}{SCORE}", *kept],
    )
    _rename(joined.graph, f"{KEPT_PREFIX}{SCORE}", SCORE)
    canonical = canonicalize(joined, without_p_value_spec(spec), metadata)
    data: bytes = canonical.SerializeToString(deterministic=True)
    return data


def without_p_value_spec(spec: GraphSpec) -> GraphSpec:
    """Return the description of a score graph that has no p-value yet."""
    outputs = tuple(tensor for tensor in spec.outputs if tensor.name != P_VALUE)
    return replace(spec, outputs=outputs)


def finished(graph: bytes, spec: GraphSpec, scores: Any, *, both_tails: bool) -> bytes:
    """Return a score graph with its p-value, checked."""
    data = with_p_value(graph, scores, both_tails=both_tails)
    check_onnx(data, spec)
    return data


def _base(model: ScoreModel, spec: GraphSpec) -> Callable[..., Any]:
    def base(x: Any) -> Any:
        return _copied(model.pieces(x))

    def conditional_base(x: Any, condition: Any) -> Any:
        return _copied(model.pieces(x, condition))

    return conditional_base if len(spec.inputs) > 1 else base


def _tail(model: ScoreModel, between: tuple[str, ...]) -> Callable[..., Any]:
    def only_fit(fit: Any) -> Any:
        return _copied({SCORE: model.score({FIT: fit})})

    def only_activations(activations: Any) -> Any:
        return _copied({SCORE: model.score({ACTIVATIONS: activations})})

    def both(fit: Any, activations: Any) -> Any:
        return _copied({SCORE: model.score({FIT: fit, ACTIVATIONS: activations})})

    if between == (FIT,):
        return only_fit
    return only_activations if between == (ACTIVATIONS,) else both


def _names_between(model: ScoreModel) -> tuple[str, ...]:
    fit = () if model.scorer.name == "novelty" else (FIT,)
    return fit if model.activations is None else (*fit, ACTIVATIONS)


def _function(function: Callable[..., Any], spec: GraphSpec) -> Any:
    return tf.function(function, input_signature=signature(spec.inputs))


def _copied(tensors: dict[str, Any]) -> dict[str, Any]:
    """Return the tensors under names of their own: a loss may be the fit as well."""
    return {name: tf.identity(tensor) for name, tensor in tensors.items()}


def _tensor(name: str, spec: GraphSpec) -> TensorSpec:
    shapes = {tensor.name: tensor.shape for tensor in spec.outputs}
    return TensorSpec(name, "float32", shapes.get(name, ("batch",)))


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for i, name in enumerate(node.output):
            if name == old:
                node.output[i] = new
        for i, name in enumerate(node.input):
            if name == old:
                node.input[i] = new
    for value in graph.output:
        if value.name == old:
            value.name = new
