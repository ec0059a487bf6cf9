"""Code that computes the loss from the outputs of encoder and decoder: C, JavaScript and Swift.

It is for runtimes that have no loss graph. It computes what `vae_runtime.loss` defines, with the
specification of one bundle, for one sample:

    x, decoder's output, z_mean, z_log_var  ->  reconstruction_loss, kl_loss, loss

Inputs are float32, or uint8 for raw pixels. The code computes in double precision, because its
sums have no tree: a sum of thousands of float32 numbers, one by one, would lose digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.manifest import decoder_outputs
from vae_runtime.loss import CLIP_EPSILON

_TERMS: Final = {
    "logits": "{max}(r, 0.0) - r * v + {log}(1.0 + {exp}(-{abs}(r)))",
    "probabilities": "-(v * {log}(p) + (1.0 - v) * {log}(1.0 - p))",
    "values": "(v - r) * (v - r)",
    "mean_log_var": "0.5 * ((v - r) * (v - r) * {exp}(-s) + s)",
}
"""Share of an element in the reconstruction loss, before its scale and constant.

`v` is the element as the model sees it, `r` the decoder's output, `p` the same clipped, `s` the log
variance.
"""
_KL: Final = "-0.5 * (1.0 + {{b}} - {{a}} * {{a}} - {exp}({{b}}))"


@dataclass(frozen=True)
class _Language:
    """How a language writes the parts of the code.

    Attributes:
        file: name of the file.
        functions: names of `max`, `min`, `abs`, `exp` and `log`.
        number: the conversion of an array's element, with `{}` for the element.
        text: the file, with `{...}` for the parts.
        array: an array of numbers, with `{name}`, `{count}` and `{numbers}`.
        variable: the definition of a number, with `{name}` and `{value}`.
        element: type of an array of the decoder's outputs, in a signature.
        byte: the same of uint8.
    """

    file: str
    functions: dict[str, str]
    number: str
    text: str
    array: str
    variable: str
    element: str
    byte: str


_C: Final = _Language(
    file="loss.c",
    functions={"max": "fmax", "min": "fmin", "abs": "fabs", "exp": "exp", "log": "log"},
    number="(double){}",
    array="static const double {name}[{count}] = {{{numbers}}};\n",
    variable="double {name} = {value};",
    element="const float *{}",
    byte="const unsigned char *{}",
    text="""/* {title}
 *
 * Losses of one sample: {x} numbers x, {x} of each output of the decoder, {z} latents.
 * Compile it with -lm. */
#include <math.h>

typedef struct {{
    double reconstruction_loss;
    double kl_loss;
    double loss;
}} vae_losses;

{arrays}vae_losses vae_loss({parameters}) {{
    double reconstruction_loss = 0.0, kl_loss = 0.0;
    for (int i = 0; i < {x}; i++) {{
        {element}
        reconstruction_loss += {term};
    }}
    reconstruction_loss = {whole};
    for (int i = 0; i < {z}; i++) {{
        kl_loss += {kl};
    }}
    vae_losses result = {{reconstruction_loss, kl_loss, reconstruction_loss + {weight} * kl_loss}};
    return result;
}}
""",
)
_JAVASCRIPT: Final = _Language(
    file="loss.mjs",
    functions={name: f"Math.{name}" for name in ("max", "min", "abs", "exp", "log")},
    number="{}",
    array="const {name} = [{numbers}];\n",
    variable="const {name} = {value};",
    element="{}",
    byte="{}",
    text="""// {title}
//
// Losses of one sample: typed arrays of {x} numbers x, {x} of each output of the decoder,
// {z} latents.
{arrays}export function vaeLoss({parameters}) {{
  let reconstruction_loss = 0, kl_loss = 0;
  for (let i = 0; i < {x}; i++) {{
    {element}
    reconstruction_loss += {term};
  }}
  reconstruction_loss = {whole};
  for (let i = 0; i < {z}; i++) {{
    kl_loss += {kl};
  }}
  return {{ reconstruction_loss, kl_loss, loss: reconstruction_loss + {weight} * kl_loss }};
}}
""",
)
_SWIFT: Final = _Language(
    file="Loss.swift",
    functions={name: name for name in ("max", "min", "abs", "exp", "log")},
    number="Double({})",
    array="private let {name}: [Double] = [{numbers}]\n",
    variable="let {name} = {value}",
    element="{}: [Float]",
    byte="{}: [UInt8]",
    text="""// {title}
//
// Losses of one sample: {x} numbers x, {x} of each output of the decoder, {z} latents.
import Foundation

struct VaeLosses {{
    let reconstruction_loss: Double
    let kl_loss: Double
    let loss: Double
}}

{arrays}func vaeLoss({parameters}) -> VaeLosses {{
    var reconstruction_loss = 0.0
    var kl_loss = 0.0
    for i in 0..<{x} {{
        {element}
        reconstruction_loss += {term}
    }}
    reconstruction_loss = {whole}
    for i in 0..<{z} {{
        kl_loss += {kl}
    }}
    return VaeLosses(
        reconstruction_loss: reconstruction_loss, kl_loss: kl_loss,
        loss: reconstruction_loss + {weight} * kl_loss)
}}
""",
)
LANGUAGES: Final = (_C, _JAVASCRIPT, _SWIFT)


def loss_code(manifest: Manifest) -> dict[str, str]:
    """Return the code for a bundle's loss: `loss.c`, `loss.mjs` and `Loss.swift`, by file."""
    return {language.file: _write(manifest, language) for language in LANGUAGES}


def loss_arguments(manifest: Manifest) -> tuple[str, ...]:
    """Return the tensors that the code takes, in order: x, outputs of decoder and encoder."""
    first = decoder_outputs(manifest.input, manifest.loss)[0]
    heads = (first, "log_var") if manifest.loss.has_two_heads else (first,)
    return ("x", *heads, "z_mean", "z_log_var")


def _write(manifest: Manifest, language: _Language) -> str:
    sample, loss = manifest.input, manifest.loss
    _, *names = loss_arguments(manifest)
    x_type = language.byte if sample.dtype == "uint8" else language.element
    a, b = (language.number.format(f"{name}[i]") for name in ("z_mean", "z_log_var"))
    arrays, constants = "", sample.standardization
    if constants:
        parts = (("mean", constants.mean), ("scale", constants.scale))
        arrays = "".join(_array(language, name, numbers) for name, numbers in parts) + "\n"
    return language.text.format(
        title=f"Loss of {' '.join(manifest.name.split())}, from the outputs of its graphs.".replace(
            "*/", "* /"
        ),
        x=math.prod(sample.shape),
        z=manifest.latent_dim,
        arrays=arrays,
        parameters=", ".join([x_type.format("x"), *map(language.element.format, names)]),
        element=_element(manifest, language, *names[:-2]),
        term=_TERMS[loss.decoder].format(**language.functions),
        whole=_whole(manifest),
        kl=_KL.format(**language.functions).format(a=a, b=b),
        weight=_number(loss.kl_weight),
    )


def _element(manifest: Manifest, language: _Language, output: str, *log_var: str) -> str:
    """Return the lines that define v, r and p or s."""
    v, constants = language.number.format("x[i]"), manifest.input.standardization
    if manifest.input.dtype == "uint8":
        v = f"{v} / 255.0"
    if constants:
        mean, scale = (
            f"{name}[i % {len(numbers)}]" if len(numbers) > 1 else f"{name}[0]"
            for name, numbers in (("mean", constants.mean), ("scale", constants.scale))
        )
        v = f"({v} - {mean}) / {scale}"
    variables = {"v": v, "r": language.number.format(f"{output}[i]")}
    if manifest.loss.decoder == "probabilities":
        low, high = map(_number, (CLIP_EPSILON, 1 - CLIP_EPSILON))
        p = f"{{min}}({{max}}(r, {low}), {high})".format(**language.functions)
        variables["p"] = p
    for name in log_var:
        variables["s"] = language.number.format(f"{name}[i]")
    indent = "    " if language is _JAVASCRIPT else "        "
    lines = [language.variable.format(name=n, value=value) for n, value in variables.items()]
    return f"\n{indent}".join(lines)


def _whole(manifest: Manifest) -> str:
    """Return the reconstruction loss from the sum of the terms, with the density's constant."""
    loss, elements = manifest.loss, math.prod(manifest.input.shape)
    if loss.variance is not None:
        variance = float(np.float32(loss.variance))
        constant = 0.5 * elements * math.log(2 * math.pi * variance)
        return f"reconstruction_loss / {2 * variance!r} + {constant!r}"
    if loss.has_two_heads:
        return f"reconstruction_loss + {0.5 * elements * math.log(2 * math.pi)!r}"
    return "reconstruction_loss"


def _array(language: _Language, name: str, numbers: Iterable[float]) -> str:
    written = [_number(number) for number in numbers]
    return language.array.format(name=name, count=len(written), numbers=", ".join(written))


def _number(value: float) -> str:
    """Return a float32 number, as the graphs hold it, with all of its digits."""
    return repr(float(np.float32(value)))
