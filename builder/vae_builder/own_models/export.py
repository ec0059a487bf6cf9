"""Export of an encoder and a decoder, or of one VAE that holds both, as a bundle."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import keras
import numpy as np

from vae_builder.data import Dataset
from vae_builder.data.score_samples import score_samples
from vae_builder.own_models.files import load_model
from vae_builder.training.train import data_spec
from vae_export import Exported, ExportOptions, Provenance, ScorePlan, adopt, export
from vae_export.adoption.parts import find_parts
from vae_export.adoption.tracing.probes import PROBES
from vae_export.adoption.tracing.readings import Scale
from vae_runtime.data.numbers.standardization import Standardization, standardize
from vae_runtime.data.samples.inputs import to_scaled_float32
from vae_runtime.errors import ExportError, OptionError
from vae_runtime.loss import LossSpec


class OwnModelOptions(ExportOptions, total=False):
    """Options of `export_models`, which explains them."""

    loss: LossSpec | None
    scale: Scale | None
    decoder_scale: Scale | None
    input_shape: Sequence[int] | None
    standardization: Standardization | None
    value_range: tuple[float, float] | None


def export_model(
    vae: Any, dataset: Dataset, path: str | Path, **options: Unpack[OwnModelOptions]
) -> Exported:
    """Export one VAE that was trained elsewhere and holds an encoder and a decoder.

    Args:
        vae: the path of a `.keras` or `.h5` file, a Keras model, or any object or dict with an
            encoder and a decoder. `vae_export.adoption.parts` lists where the two are searched.
        dataset: the data that the model was trained on, as in `export_models`.
        path: folder of the bundle.
        **options: see `OwnModelOptions` and `vae_export.ExportOptions`.

    Returns:
        The published bundle, verified.

    Raises:
        ExportError: the two parts are not found, or as `export_models`.
        InputError: as `export_models`.
        OptionError: as `export_models`.
    """
    return export_models(vae, dataset=dataset, path=path, **options)


def export_models(
    encoder: Any,
    decoder: keras.Model | str | Path | None = None,
    dataset: Dataset | None = None,
    path: str | Path | None = None,
    *,
    loss: LossSpec | None = None,
    scale: Scale | None = None,
    decoder_scale: Scale | None = None,
    input_shape: Sequence[int] | None = None,
    standardization: Standardization | None = None,
    value_range: tuple[float, float] | None = None,
    **options: Unpack[ExportOptions],
) -> Exported:
    """Export an encoder and a decoder that were trained elsewhere.

    Args:
        encoder: a Keras model that returns z_mean and z_log_var, or the path of its file: `.keras`,
            `.h5`, or the folder of a SavedModel. `vae_export.adopt` lists the accepted forms.
            Without a decoder: one VAE that holds both, as `export_model` takes it.
        decoder: a Keras model of z that ends in logits or a sigmoid (bce) or in values (mse), or
            the path of its file.
        dataset: the data that the model was trained on. Test samples become part of the proof and
            are shown in the model card.
        path: folder of the bundle.
        loss: the loss; by default bce with kl_weight 1.
        scale: what the encoder's second output is: `log_var`, `log_std`, `std` or `var`. The
            graphs convert it to z_log_var. By default it is found as in `vae_export.adopt`.
        decoder_scale: what the second head of a decoder is that gives mean and log variance of
            each element, if it is no log variance.
        input_shape: shape of one sample as the encoder takes it, where it leaves sizes open; by
            default that of the data.
        standardization: standardization of the samples in training, if there was one. The exported
            graphs then apply it. `Dataset.standardization()` computes the usual one.
        value_range: raw values of the data that stood for 0 and 1 in training, such as (0, 255),
            instead of `standardization`. The exported graphs take raw values.
        **options: see `vae_export.ExportOptions`.

    Returns:
        The published bundle, verified.

    Raises:
        ExportError: a model file cannot be read, or as `vae_export.adopt` and
            `vae_export.export`.
        InputError: shapes or values of the data do not fit the models.
        OptionError: an unknown scale, or as `vae_export.export`.
    """
    if dataset is None or path is None:
        raise OptionError(
            "dataset or path is left out: call export_models(encoder, decoder, dataset, path), or "
            "export_model(vae, dataset, path)"
        )
    if decoder is None:
        vae = _read_if_path(encoder, "VAE")
        encoder, decoder = find_parts(vae, input_shape or dataset.input_shape)
    loss = loss or LossSpec()
    models = (_read_if_path(encoder, "encoder"), _read_if_path(decoder, "decoder"))
    shape = tuple(input_shape) if input_shape else _sample_shape(models[0])
    dataset = dataset.in_shape(shape or dataset.input_shape)
    data, scaling, allowed = data_spec(dataset), standardization, loss.value_range
    if value_range is not None:
        dataset, scaling = dataset.undivided(), Standardization.of_range(*value_range)
        allowed = allowed and scaling.unit_range()
    dataset.require_range(allowed)
    samples = to_scaled_float32(np.asarray(dataset.train[:PROBES]))
    samples = standardize(np, scaling, samples)
    adopted = adopt(
        *models,
        loss,
        dataset.input_shape,
        scale=scale,
        decoder_scale=decoder_scale,
        encoder_shape=input_shape,
        samples=samples,
        conditions=dataset.conditions_of("train", PROBES),
    )
    plan = options.get("scoring") or ScorePlan()
    options["scoring"] = plan.with_samples(score_samples(dataset))
    return export(
        adopted.encoder,
        adopted.decoder,
        dataset.held_out(),
        path,
        loss=adopted.loss,
        conditions=dataset.held_out_conditions(),
        standardization=standardization,
        value_range=value_range,
        provenance=Provenance(data=data, adoption=adopted.adoption),
        **options,
    )


def _read_if_path(model: keras.Model | str | Path, role: str) -> keras.Model:
    if not isinstance(model, str | Path):
        return model
    if role == "VAE" and Path(model).is_dir():
        raise ExportError(
            f"{model} is a folder, and a SavedModel is one function, not an encoder and a decoder: "
            "save the two as SavedModels and give both (--encoder and --decoder)"
        )
    loaded = load_model(model)
    if not isinstance(loaded, keras.Model):
        raise ExportError(
            f"{model} holds a {type(loaded).__name__}, expected the {role}: save a keras.Model"
        )
    return loaded


def _sample_shape(encoder: Any) -> tuple[int, ...] | None:
    """Return the shape of a sample as an encoder takes it; None if it does not say so."""
    shapes = list((getattr(encoder, "_build_shapes_dict", None) or {}).values())
    with contextlib.suppress(AttributeError, ValueError):  # subclassed models may not know it
        shapes = [tensor.shape for tensor in encoder.inputs]
    if not shapes or not isinstance(shapes[0], tuple) or None in shapes[0][1:]:
        return None
    return tuple(shapes[0][1:])
