"""The section of the model card on the mixture prior."""

from __future__ import annotations

import re

from vae_export.card.figures import FOLDER, SAMPLES
from vae_runtime.bundle.fields import PriorSpec

HEADING = "## The mixture prior"
MIXTURE_SAMPLES = f"{FOLDER}/samples_mixture.png"
BEFORE = "## Use\n"
"""Heading that the section stands before."""


def with_prior_section(card: str, spec: PriorSpec, *, has_picture: bool) -> str:
    """Return a card with this section, in place of an old one if there is one."""
    old = re.compile(rf"^{HEADING}\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    before, heading, after = old.sub("", card).partition(f"\n{BEFORE}")
    return f"{before}\n{prior_section(spec, has_picture=has_picture)}{heading}{after}"


def prior_section(spec: PriorSpec, *, has_picture: bool) -> str:
    """Return the section as Markdown."""
    gaussians = "one Gaussian" if spec.components == 1 else f"{spec.components} Gaussians"
    text = f"""{HEADING}

Draws from N(0, I) also fall where no data lies. `{spec.file}` holds a mixture of {gaussians},
fitted to the latent samples of {spec.samples} training samples. The mean log-likelihood of
{spec.held_out} held-out latent samples is {spec.log_likelihood:.2f} nats under the mixture, and
{spec.normal_log_likelihood:.2f} nats under N(0, I).

```python
images = vae.sample(16, prior="mixture")
```
"""
    if not has_picture:
        return text
    return f"""{text}
| N(0, I) | mixture |
|---|---|
| ![samples from N(0, I)]({SAMPLES}) | ![samples from the mixture]({MIXTURE_SAMPLES}) |
"""
