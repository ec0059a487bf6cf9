"""The card's section on the anomaly score: what it says, and how it replaces an old one."""

from dataclasses import replace

import pytest

from vae_runtime import Bundle
from vae_runtime.bundle.score_section import (
    HEADING,
    MEANINGS,
    calibration_table,
    score_section,
    with_score_section,
)
from vae_runtime.bundle.scores import (
    SCORE_NAMES,
    ActivationSpec,
    CalibrationSpec,
    LevelSpec,
    NoveltySpec,
    PartSpec,
)

UPPER = LevelSpec(0.05, 12.34567891, None, (0.0376, 0.0643), 0.048)
BOTH = LevelSpec(0.05, 12.34567891, 0.25, (0.0376, 0.0643), None)


def manifest_with(manifest, level, tails="upper", **changes):
    checked = 0 if level.found is None else 900
    calibration = CalibrationSpec(1000, 0.000999, "0" * 64, checked, (level,))
    score = replace(
        manifest.score, tails=tails, data="line 3", calibrations={"float32": calibration}, **changes
    )
    return replace(manifest, score=score)


@pytest.fixture(scope="module")
def manifest(exported):
    return Bundle(exported()).manifest


def test_every_score_is_explained():
    assert {*MEANINGS, "combined"} == {*SCORE_NAMES}


def test_a_section(manifest):
    text = score_section(manifest_with(manifest, UPPER))
    assert text.startswith(f"{HEADING}\n\n`{manifest.score.name}` is a number for each sample;")
    assert f"It is {MEANINGS[manifest.score.name]}. All is computed at z = z_mean." in text
    assert "Calibration: 1,000 samples (line 3), checked on 900 others." in text
    assert "The smallest p-value is 0.000999.\n" in text
    assert text.endswith("|---|---|---|---|\n| 0.05 | above 12.3457 | 3.76 % to 6.43 % | 4.8 % |\n")


def test_a_sum_of_parts(manifest):
    part = PartSpec(1.0, 0.5)
    novelty = NoveltySpec((ActivationSpec("hidden_2", 256, 64),), True, 5000, 500, "novelty.npz")
    parts = {"excess_loss": part, "novelty_1": part}
    for part_samples, words in ((0, "training samples"), (200, "200 held-out samples of their")):
        changes = {"parts": parts, "part_samples": part_samples, "novelty": novelty}
        text = score_section(manifest_with(manifest, UPPER, name="combined", **changes))
        assert f"It is {MEANINGS['excess_loss']}; and {MEANINGS['novelty']}. All is" in text
        assert "principal axes: `hidden_2` (256, 64), scaled to length 1.\n" in text
        assert "Each part (`excess_loss`, `novelty_1`) counts as `softplus(2 (log(part) -" in text
        assert f"`mean` and `std` come from {words}" in text


def test_both_tails_without_a_check(manifest):
    text = score_section(manifest_with(manifest, BOTH, "both"))
    assert "low scores are unusual too" in text and "checked on" not in text
    assert text.endswith("| below 0.25 or above 12.3457 | 3.76 % to 6.43 % | - |\n")


def test_no_score_has_no_section(manifest):
    assert score_section(replace(manifest, score=None)) == ""
    assert calibration_table(replace(manifest, score=None)) == ""


@pytest.mark.parametrize("rest", ["", "\n## Use\n\n```sh\n# a comment\n```\n\n## Files\n\nmany\n"])
def test_it_replaces_the_old_one_only(manifest, rest):
    new = manifest_with(manifest, UPPER)
    old = f"{HEADING}\n\nstale words\n\n### Figures\n\n![a](figures/a.png)\n"
    card = f"# a\n\n## Training\n\ntext\n\n{old}{rest}"
    found = with_score_section(card, new)
    assert found == f"# a\n\n## Training\n\ntext\n\n{score_section(new)}{rest}"
    assert with_score_section(found, new) == found
    assert with_score_section(f"# a\n{rest}", new) == f"# a\n{rest}"


def test_the_table_of_the_command_line(manifest):
    name = manifest.score.name
    assert calibration_table(manifest_with(manifest, UPPER)).splitlines() == [
        f"float32, score {name}: 1,000 samples (line 3), checked on 900 others, smallest p-value "
        "0.000999",
        "alpha  alarm if the score is  rate of 95 % of calibrations  rate found",
        "0.05   above 12.3457          3.76 % to 6.43 %              4.8 %",
    ]
