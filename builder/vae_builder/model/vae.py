"""The model that is trained: a Keras model that owns the combined loss.

It works in the recipe that everyone knows,

```python
vae = VAE(encoder, decoder)
vae.compile(optimizer="adam")
vae.fit(x_train, x_train, epochs=50, batch_size=128, validation_data=(x_test, x_test))
```

and `vae_builder.training.loop` runs the same loss in a faster loop. The loss itself stands in
`vae_runtime.loss`; noise is a pure function of (seed, step), so training holds no random state.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any, get_args

import keras
import tensorflow as tf

from vae_builder.config import Variance
from vae_builder.model.draws import dropped, normal
from vae_builder.model.objective import Objective
from vae_runtime.data.standardization import Standardization, restore, standardize
from vae_runtime.errors import OptionError
from vae_runtime.loss import (
    LOSS_NAMES,
    MAX_VARIANCE,
    MIN_VARIANCE,
    Losses,
    LossSpec,
    draw,
    gaussian,
    kl_terms,
    losses,
)

VARIANCE_DECAY = 0.99
"""Of the running mean of the batches' variances, which is the variance outside of training."""

TEST_STEP = -1
"""The step whose noise evaluation uses: one that training never reaches."""


@keras.saving.register_keras_serializable("build_vae")
class VAE(keras.Model):
    """A variational autoencoder with its loss.

    Attributes:
        encoder: x to a dict of z_mean and z_log_var.
        decoder: z to what `spec.decoder` says.
        spec: which loss.
        seed: of the noise.
        objective: what training minimises.
        variance: `fixed` at that of the loss; `optimal`, the mean squared error of each batch,
            which maximises its likelihood; or `learned` like a weight. The last two are for the
            gaussian loss.
        standardization: what is done to samples before the encoder sees them, and undone in
            reconstructions; the loss is that of standardised values.
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
        """Joins an encoder and a decoder; both stay usable by themselves.

        Args:
            encoder: x to a dict of z_mean and z_log_var.
            decoder: z to logits or probabilities (bce), or to the reconstruction (mse, gaussian),
                as `spec.decoder` says.
            spec: which loss; bce with kl_weight 1 where left out. Its variance is the first one
                where it does not stay.
            seed: of the noise.
            objective: what training minimises; the loss itself where left out.
            variance: `fixed`, `optimal` or `learned`.
            standardization: what is done to samples before the encoder sees them.
            name: of the Keras model.

        Raises:
            OptionError: an unknown `variance`, or one that the loss does not have.
        """
        super().__init__(name=name)
        self.encoder = encoder
        self.decoder = decoder
        self._spec = spec or LossSpec()
        self.seed = seed
        self.objective = objective or Objective(self._spec.kl_weight)
        self.variance = variance
        self.standardization = standardization
        if variance != "fixed":
            self._log_variance = self._variance_weight()
        # The loss first, as in what Keras's evaluate gives.
        self._means = [keras.metrics.Mean(name=name) for name in reversed(LOSS_NAMES)]
        self.built = True

    def _variance_weight(self) -> Any:
        if self.variance not in get_args(Variance) or self._spec.variance is None:
            raise OptionError(
                f"variance is {self.variance!r} with the {self._spec.reconstruction} loss: the "
                f"gaussian loss takes {', '.join(get_args(Variance))}, others fixed only"
            )
        return self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(math.log(self._spec.variance)),
            trainable=self.variance == "learned",
            name="log_variance",
        )

    @property
    def spec(self) -> LossSpec:
        """Which loss; with the variance that training has reached."""
        if self.variance == "fixed":
            return self._spec
        return replace(self._spec, variance=float(self._clipped(tf.exp(self._log_variance))))

    @property
    def latent_dim(self) -> int:
        """Length of z."""
        return int(self.decoder.input_shape[-1])

    @property
    def metrics(self) -> list[Any]:
        """Running means of the loss and its parts."""
        return self._means

    def noise(self, step: Any, count: Any) -> Any:
        """Noise of one training step: a pure function of (seed, step).

        Args:
            step: number of the step, int32 or int64 scalar.
            count: number of samples.

        Returns:
            N(0, I) draws, shape `(count, latent_dim)`, float32; the same, up to rounding, on every
            device, compiled or not.
        """
        return normal(self.seed, step, count, self.latent_dim)

    def losses_of(self, x: Any, eps: Any, *, training: bool = False) -> Losses[Any]:
        """The loss of each sample, in its parts.

        Args:
            x: samples, shape `(batch, *input_shape)`, float32 or uint8.
            eps: noise, shape `(batch, latent_dim)`.
            training: passed on to the layers.

        Returns:
            Three tensors of shape `(batch,)`.
        """
        x = self.prepared(x)
        return self._losses_and_code(x, x, eps, training=training)[0]

    def _losses_and_code(
        self, x: Any, seen: Any, eps: Any, *, training: bool
    ) -> tuple[Losses[Any], dict[str, Any]]:
        """The losses of x, from what the encoder has seen of it; both prepared."""
        code = self.encoder(seen, training=training)
        z = draw(keras.ops, code["z_mean"], code["z_log_var"], eps)
        output = self.decoder(z, training=training)
        if self.variance == "fixed":
            return losses(keras.ops, self._spec, x, output, **code), code
        parts = losses(keras.ops, LossSpec("mse"), x, output, **code)
        elements = math.prod(x.shape[1:])
        variance = self._current_variance(parts.reconstruction_loss, elements, training=training)
        likelihood = gaussian(keras.ops, parts.reconstruction_loss, elements, variance)
        loss = likelihood + self._spec.kl_weight * parts.kl_loss
        return Losses(likelihood, parts.kl_loss, loss), code

    def _current_variance(self, squared_error: Any, elements: int, *, training: bool) -> Any:
        """The variance that a batch is judged by; in training, `optimal` is that of the batch."""
        running = tf.exp(self._log_variance)
        if self.variance == "learned" or not training:
            return self._clipped(running)
        of_batch = self._clipped(tf.reduce_mean(squared_error) / elements)
        mean = VARIANCE_DECAY * running + (1 - VARIANCE_DECAY) * of_batch
        self._log_variance.assign(tf.math.log(mean))
        return of_batch

    @staticmethod
    def _clipped(variance: Any) -> Any:
        return tf.clip_by_value(variance, MIN_VARIANCE, MAX_VARIANCE)

    @tf.function(reduce_retracing=True)
    def test_losses(self, x: Any, eps: Any) -> Any:
        """`losses_of` as one TensorFlow function, stacked to shape `(3, batch)`."""
        parts = self.losses_of(x, eps)
        return tf.stack([*parts])

    def call(self, x: Any, training: bool = False) -> Any:
        """The reconstruction of x from its mean code, shape `(batch, *input_shape)`."""
        code = self.encoder(self.prepared(x), training=training)
        output = self.decoder(code["z_mean"], training=training)
        if self._spec.decoder == "logits":
            return keras.ops.sigmoid(output)
        return restore(keras.ops, self.standardization, output)

    def prepared(self, x: Any) -> Any:
        """What the encoder sees of samples: float32, standardised."""
        return standardize(keras.ops, self.standardization, _as_float(x))

    def update(self, x: Any) -> Losses[Any]:
        """One step of the optimizer on one batch.

        Args:
            x: samples, shape `(batch, *input_shape)`, float32 or uint8.

        Returns:
            The mean losses of the batch before the step, three scalars.
        """
        step = self.optimizer.iterations
        eps = self.noise(step, tf.shape(x)[0])
        x = self.prepared(x)
        seen = dropped(self.seed, step, x, self.objective.input_dropout)
        with tf.GradientTape() as tape:
            per_sample, code = self._losses_and_code(x, seen, eps, training=True)
            parts = _mean(per_sample)
            terms = kl_terms(keras.ops, code["z_mean"], code["z_log_var"])
            objective = self.objective(parts, terms, step)
        gradients = tape.gradient(objective, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return parts

    def train_step(self, data: Any) -> dict[str, Any]:
        """Keras's hook for `fit`; what is to be reconstructed is x itself, whatever y is.

        Raises:
            OptionError: samples are weighted.
        """
        x = _samples(data)
        return self._record(self.update(x), tf.shape(x)[0])

    def test_step(self, data: Any) -> dict[str, Any]:
        """Keras's hook for `evaluate`; batches of one size meet the same noise, at any time.

        Raises:
            OptionError: samples are weighted.
        """
        x = _samples(data)
        count = tf.shape(x)[0]
        return self._record(_mean(self.losses_of(x, self.noise(TEST_STEP, count))), count)

    def get_config(self) -> dict[str, Any]:
        """Keras's hook for saving."""
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
        """Keras's hook for loading."""
        config = dict(config)
        encoder, decoder = (
            keras.saving.deserialize_keras_object(config.pop(part))
            for part in ("encoder", "decoder")
        )
        if constants := config.pop("standardization"):
            numbers = {name: tuple(values) for name, values in constants.items()}
            config["standardization"] = Standardization(**numbers)
        spec, objective = LossSpec(**config.pop("spec")), Objective(**config.pop("objective"))
        return cls(encoder, decoder, spec, objective=objective, **config)

    def _record(self, parts: Losses[Any], count: Any) -> dict[str, Any]:
        for metric in self._means:
            metric.update_state(getattr(parts, metric.name), sample_weight=count)
        return {metric.name: metric.result() for metric in self._means}


def _samples(data: Any) -> Any:
    """The samples in a batch of Keras's."""
    x, _, weight = keras.utils.unpack_x_y_sample_weight(data)
    if weight is not None:
        raise OptionError(
            "sample_weight or class_weight is given, expected neither, since all samples count the "
            "same: leave it out, compile again, and repeat samples that are to count more"
        )
    return x


def _as_float(x: Any) -> Any:
    """float32; uint8 pixels become [0, 1], as everywhere."""
    return tf.cast(x, tf.float32) / (255.0 if x.dtype == tf.uint8 else 1.0)


def _mean(parts: Losses[Any]) -> Losses[Any]:
    return Losses(*map(tf.reduce_mean, parts))
