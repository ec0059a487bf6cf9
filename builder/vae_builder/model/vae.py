"""`VAE`: a Keras model that computes the combined loss.

It works with Keras's own training loop,

```python
vae = VAE(encoder, decoder)
vae.compile(optimizer="adam")
vae.fit(x_train, x_train, epochs=50, batch_size=128, validation_data=(x_test, x_test))
```

and `vae_builder.training.loop` trains it in a faster loop. A conditional model takes a list of
samples and conditions: `vae.fit([x_train, c_train], x_train)`. The loss is defined in
`vae_runtime.loss`. Noise is a pure function of (seed, step, position in the batch), so training has
no random state, and the shares of a batch get the same noise wherever they are trained on.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import tensorflow as tf

from vae_builder.config import Variance
from vae_builder.model.objective import Objective
from vae_builder.model.random_numbers import Share, dropout, standard_normal
from vae_export.graphs.functions import call_model, latent_shape
from vae_runtime.data.numbers.standardization import Standardization, restore, standardize
from vae_runtime.errors import OptionError
from vae_runtime.loss import (
    LOSS_NAMES,
    MAX_VARIANCE,
    MIN_VARIANCE,
    Losses,
    LossSpec,
    gaussian,
    kl_terms,
    losses,
    reparameterize,
)

VARIANCE_MOMENTUM = 0.99
"""Momentum of the running mean of the batches' variances, which is used outside of training."""

VARIANCES: tuple[Variance, ...] = ("fixed", "optimal", "learned")
"""Ways to find the one variance of a Gaussian likelihood."""

EVALUATION_STEP = -1
"""Step number of the noise in Keras's evaluation. Training never has this step."""


@dataclass(frozen=True)
class BatchMeans:
    """Means over a whole batch that the gradient of one of its samples depends on.

    `squared_error` is a scalar, `kl_units` has shape `latent_shape`.
    """

    squared_error: Any
    kl_units: Any


@keras.saving.register_keras_serializable("build_vae")
class VAE(keras.Model):
    """A variational autoencoder with its loss.

    The encoder and the decoder stay usable by themselves. All arguments are attributes of the same
    name; the attribute `spec` has the variance that training has reached.

    Args:
        encoder: Keras model from x to a dict of z_mean and z_log_var. Encoder and decoder of a
            conditional model take a list of x or z and the condition.
        decoder: Keras model from z to logits or probabilities (bce), to the reconstruction (mse,
            gaussian), or to a dict of mean and log_var, as `spec.decoder` says.
        spec: the loss; by default bce with kl_weight 1. Its variance is the initial one if
            `variance` is not `fixed`.
        seed: seed of the noise.
        objective: what training minimizes; by default the loss.
        variance: `fixed` at `spec.variance`; `optimal`, the mean squared error of each batch, which
            maximizes the likelihood of the batch; or `learned` like a weight. `optimal` and
            `learned` need the gaussian loss.
        standardization: applied to samples before the encoder and undone in reconstructions. The
            loss is that of the standardized values.
        name: name of the Keras model.

    Raises:
        OptionError: an unknown `variance`, or one that the loss does not have.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        spec: LossSpec | None = None,
        *,
        seed: int = 0,
        objective: Objective | None = None,
        variance: Variance = "fixed",
        standardization: Standardization | None = None,
        name: str = "vae",
    ) -> None:
        super().__init__(name=name)
        self.encoder, self.decoder = encoder, decoder
        self._spec = spec or LossSpec()
        self.seed = seed
        self.objective = objective or Objective(self._spec.kl_weight)
        self.variance = variance
        self.standardization = standardization
        if variance != "fixed":
            self._log_variance = self._add_variance_weight()
        # Keras's evaluate returns the loss first.
        self._means = [keras.metrics.Mean(name=name) for name in reversed(LOSS_NAMES)]
        self.built = True

    def _add_variance_weight(self) -> Any:
        if self.variance not in VARIANCES or self._spec.variance is None:
            raise OptionError(
                f"variance is {self.variance!r} with the {self._spec.reconstruction} loss of "
                f"{self._spec.decoder}: the gaussian loss of values takes {', '.join(VARIANCES)}, "
                "others fixed only"
            )
        return self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(math.log(self._spec.variance)),
            trainable=self.variance == "learned",
            name="log_variance",
        )

    @property
    def spec(self) -> LossSpec:
        """The loss, with the variance that training has reached."""
        if self.variance == "fixed":
            return self._spec
        return replace(self._spec, variance=float(self._clipped(tf.exp(self._log_variance))))

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of z for one sample, `(latent_dim,)` or with more axes."""
        return latent_shape(self.decoder)

    @property
    def latent_dim(self) -> int:
        """Number of latent dimensions."""
        return math.prod(self.latent_shape)

    @property
    def metrics(self) -> list[Any]:
        """Keras metrics: running means of the loss and its parts."""
        return self._means

    def noise(self, step: Any, count: Any, share: Share | None = None) -> Any:
        """Return the noise of one step, a pure function of (seed, step, position in the batch).

        Args:
            step: number of the step, int32 or int64 scalar.
            count: number of samples.
            share: which samples of the batch they are; by default all.

        Returns:
            N(0, I) noise, shape `(count, *latent_shape)`, float32; the same, up to rounding, on
            every device, compiled or not.
        """
        eps = standard_normal(self.seed, step, count, self.latent_dim, share)
        return tf.reshape(eps, (-1, *self.latent_shape))

    def losses_of(
        self, x: Any, eps: Any, condition: Any = None, *, training: bool = False
    ) -> Losses[Any]:
        """Return the loss of each sample and its parts.

        Args:
            x: samples, shape `(batch, *input_shape)`, float32 or uint8.
            eps: noise, shape `(batch, *latent_shape)`.
            condition: conditions of the samples; None if the model is not conditional.
            training: passed on to the layers.

        Returns:
            Three tensors of shape `(batch,)`.
        """
        x = self.prepared(x)
        return self._losses_and_code(x, x, eps, condition, training=training)[0]

    def _outputs(
        self, encoder_input: Any, eps: Any, condition: Any, *, training: bool
    ) -> tuple[dict[str, Any], Any]:
        """Return the outputs of the encoder and of the decoder."""
        given = () if condition is None else (condition,)
        code = call_model(self.encoder, encoder_input, *given, training=training)
        z = reparameterize(keras.ops, code["z_mean"], code["z_log_var"], eps)
        return code, call_model(self.decoder, z, *given, training=training)

    def _losses_and_code(
        self,
        x: Any,
        encoder_input: Any,
        eps: Any,
        condition: Any,
        *,
        training: bool,
        whole: BatchMeans | None = None,
    ) -> tuple[Losses[Any], dict[str, Any]]:
        """Return the losses of prepared samples x, and the encoder's outputs."""
        code, output = self._outputs(encoder_input, eps, condition, training=training)
        if self.variance == "fixed":
            return losses(keras.ops, self._spec, x, output, **code), code
        squared_error, kl_loss, _ = losses(keras.ops, LossSpec("mse"), x, output, **code)
        elements = math.prod(x.shape[1:])
        mean_error = tf.reduce_mean(squared_error) if whole is None else whole.squared_error
        variance = self._current_variance(mean_error, elements, training=training)
        likelihood = gaussian(keras.ops, squared_error, elements, variance)
        return Losses(likelihood, kl_loss, likelihood + self._spec.kl_weight * kl_loss), code

    def _current_variance(self, mean_error: Any, elements: int, *, training: bool) -> Any:
        """Return the variance for a batch; `optimal` updates its running mean in training."""
        running = tf.exp(self._log_variance)
        if self.variance == "learned" or not training:
            return self._clipped(running)
        batch_variance = self._clipped(mean_error / elements)
        mean = VARIANCE_MOMENTUM * running + (1 - VARIANCE_MOMENTUM) * batch_variance
        self._log_variance.assign(tf.math.log(mean))
        return batch_variance

    @staticmethod
    def _clipped(variance: Any) -> Any:
        return tf.clip_by_value(variance, MIN_VARIANCE, MAX_VARIANCE)

    @tf.function(reduce_retracing=True)
    def test_losses(self, x: Any, eps: Any, condition: Any = None) -> Any:
        """Return `losses_of` from a compiled function, stacked to shape `(3, batch)`."""
        return tf.stack([*self.losses_of(x, eps, condition)])

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the reconstruction of x from z_mean, shape `(batch, *input_shape)`.

        A conditional model takes a list of x and the condition.
        """
        x, *given = x if isinstance(x, list | tuple) else [x]
        code = call_model(self.encoder, self.prepared(x), *given, training=training)
        output = call_model(self.decoder, code["z_mean"], *given, training=training)
        if self._spec.has_two_heads:
            output = output["mean"]
        if self._spec.decoder == "logits":
            output = keras.ops.sigmoid(output)
        return restore(keras.ops, self.standardization, output)

    def prepared(self, x: Any) -> Any:
        """Return samples as the encoder takes them: float32, uint8 as [0, 1], standardized."""
        x = tf.cast(x, tf.float32) / (255.0 if x.dtype == tf.uint8 else 1.0)
        return standardize(keras.ops, self.standardization, x)

    def update(self, x: Any, condition: Any = None) -> Losses[Any]:
        """Take one step of the optimizer on one batch.

        Args:
            x: samples, shape `(batch, *input_shape)`, float32 or uint8.
            condition: conditions of the samples; None if the model is not conditional.

        Returns:
            The mean losses of the batch before the step, three scalars.
        """
        means, gradients = self.gradients(x, condition)
        self.optimizer.apply(gradients, self.trainable_variables)
        return means

    def gradients(
        self,
        x: Any,
        condition: Any = None,
        share: Share | None = None,
        whole: BatchMeans | None = None,
    ) -> tuple[Losses[Any], list[Any]]:
        """Return the mean losses of a batch, and the gradients of the objective.

        Args:
            x: samples, shape `(batch, *input_shape)`, float32 or uint8.
            condition: conditions of the samples; None if the model is not conditional.
            share: which samples of a larger batch x holds; by default x is the batch.
            whole: means over the larger batch, if `needs_batch_means`.

        Returns:
            Three scalars, and a gradient for each trainable variable. Those of a share are its part
            in those of the batch: sums over all shares are the means and gradients of the batch.
        """
        step = self.optimizer.iterations
        x, encoder_input, eps = self._training_inputs(x, share)
        with tf.GradientTape() as tape:
            per_sample, code = self._losses_and_code(
                x, encoder_input, eps, condition, training=True, whole=whole
            )
            means = Losses(*(_mean_of(part, share) for part in per_sample))
            units = _mean_of(kl_terms(keras.ops, code["z_mean"], code["z_log_var"]), share)
            objective = self.objective(means, units, step, whole and whole.kl_units)
        missing = "none" if share is None else "zero"
        return means, tape.gradient(objective, self.trainable_variables, None, missing)

    def _training_inputs(self, x: Any, share: Share | None) -> tuple[Any, Any, Any]:
        """Return prepared samples, what the encoder sees of them in this step, and the noise."""
        step = self.optimizer.iterations
        eps = self.noise(step, tf.shape(x)[0], share)
        x = self.prepared(x)
        return x, dropout(self.seed, step, x, self.objective.input_dropout, share), eps

    @property
    def needs_batch_means(self) -> bool:
        """Whether the gradient of a share depends on the other samples of the batch."""
        return self.variance == "optimal" or self.objective.free_bits > 0

    def batch_means(self, x: Any, condition: Any, share: Share) -> BatchMeans:
        """Return the part of a share in the means over the batch, as for `gradients`."""
        x, encoder_input, eps = self._training_inputs(x, share)
        code, output = self._outputs(encoder_input, eps, condition, training=True)
        units = _mean_of(kl_terms(keras.ops, code["z_mean"], code["z_log_var"]), share)
        error = tf.zeros(())
        if self.variance == "optimal":
            losses_of_values = losses(keras.ops, LossSpec("mse"), x, output, **code)
            error = _mean_of(losses_of_values.reconstruction_loss, share)
        return BatchMeans(error, units)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Train on one batch of Keras's `fit`; y is ignored.

        Raises:
            OptionError: samples are weighted.
        """
        x, condition = _samples(data)
        return self._record(self.update(x, condition), tf.shape(x)[0])

    def test_step(self, data: Any) -> dict[str, Any]:
        """Evaluate one batch of Keras's `evaluate`; all batches of one size get the same noise.

        Raises:
            OptionError: samples are weighted.
        """
        x, condition = _samples(data)
        count = tf.shape(x)[0]
        eps = self.noise(EVALUATION_STEP, count)
        return self._record(_mean(self.losses_of(x, eps, condition)), count)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, for Keras to save."""
        return {
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "spec": asdict(self.spec),
            "objective": asdict(self.objective),
            "variance": self.variance,
            "standardization": self.standardization and asdict(self.standardization),
            "seed": self.seed,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> VAE:
        """Build the model that `get_config` describes, for Keras to load."""
        models = {
            role: keras.saving.deserialize_keras_object(config[role])
            for role in ("encoder", "decoder")
        }
        if constants := config["standardization"]:
            constants = Standardization(**{name: tuple(c) for name, c in constants.items()})
        objective, spec = Objective(**config["objective"]), LossSpec(**config["spec"])
        options = {"objective": objective, "spec": spec, "standardization": constants}
        return cls(**{**config, **models, **options})

    def _record(self, batch_means: Losses[Any], count: Any) -> dict[str, Any]:
        for metric in self._means:
            metric.update_state(getattr(batch_means, metric.name), sample_weight=count)
        return {metric.name: metric.result() for metric in self._means}


def _samples(data: Any) -> tuple[Any, Any]:
    """Return x of a Keras batch, and its conditions or None."""
    x, _, weight = keras.utils.unpack_x_y_sample_weight(data)
    if weight is not None:
        raise OptionError(
            "sample_weight or class_weight is given, expected neither, since all samples count the "
            "same: leave it out, compile again, and repeat samples that are to count more"
        )
    if isinstance(x, list | tuple):
        samples, condition = x
        return samples, condition
    return x, None


def _mean(parts: Losses[Any]) -> Losses[Any]:
    return Losses(*map(tf.reduce_mean, parts))


def _mean_of(values: Any, share: Share | None) -> Any:
    """Return the mean of values over the samples, or the part of a share in that of its batch."""
    if share is None:
        return tf.reduce_mean(values, axis=0)
    return tf.reduce_sum(values, axis=0) / share.batch
