"""Signatures: who published a bundle, by `model-signing` (OpenSSF), with keys, offline.

A signature lies beside the bundle, as `digits-vae.sig` beside `digits-vae` and `digits.vae.sig`
beside `digits.vae`: the files of a bundle are exactly those that its manifest lists. It covers
every byte of every file. It is checked before anything in the bundle is parsed; whoever can change
the bundle between that and its use must be kept from it by other means.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from vae_runtime.bundle.atomic_files import replacing_by_name
from vae_runtime.errors import BundleError, ExportError, MissingExtraError, OptionError


def default_signature(bundle: str | os.PathLike[str]) -> Path:
    """Where the signature of a bundle lies where no place is named: beside it."""
    path = Path(bundle).absolute()
    return path.with_name(f"{path.name}.sig")


def sign(
    bundle: str | os.PathLike[str],
    private_key: str | os.PathLike[str],
    signature: str | os.PathLike[str] | None = None,
    *,
    password: str | None = None,
) -> Path:
    """Signs a bundle with an elliptic-curve key.

    Args:
        bundle: the bundle, a folder or a single file.
        private_key: PEM file of the key.
        signature: file to write; beside the bundle where left out.
        password: of the key, where it has one.

    Returns:
        The signature's file.

    Raises:
        BundleError: the bundle is not whole.
        ExportError: the signature cannot be written.
        OptionError: the key cannot be used, or the signature would lie inside the bundle.
        MissingExtraError: model-signing is not installed.
    """
    from vae_runtime.bundle.bundle import Bundle

    signing = _model_signing("signing")
    target = default_signature(bundle) if signature is None else Path(signature)
    if Path(bundle).resolve() in target.resolve().parents:
        raise OptionError(f"{target} lies inside the bundle: choose a place beside it")
    Bundle(bundle).check_files()
    try:
        config = signing.Config().use_elliptic_key_signer(
            private_key=Path(private_key), password=password
        )
    except (OSError, ValueError, TypeError) as error:
        raise OptionError(
            f"{private_key} cannot sign {bundle}: {_line(error)}: give an elliptic-curve key in PEM"
        ) from error
    try:
        with replacing_by_name(target) as temporary:
            config.sign(Path(bundle), temporary)
    except (ValueError, TypeError) as error:
        raise OptionError(f"{private_key} cannot sign {bundle}: {_line(error)}") from error
    except OSError as error:
        raise ExportError(
            f"{target} cannot be written: {error.strerror}: choose another place; nothing was "
            "changed"
        ) from error
    return target


def check_signature(
    bundle: str | os.PathLike[str],
    public_key: str | os.PathLike[str],
    signature: str | os.PathLike[str] | None = None,
) -> None:
    """Checks who signed a bundle; nothing in it is parsed.

    Args:
        bundle: the bundle, a folder or a single file.
        public_key: PEM file of the key that must have signed it.
        signature: its file; beside the bundle where left out.

    Raises:
        BundleError: there is no signature, it is by another key, or the bundle was changed.
        OptionError: the key cannot be read.
        MissingExtraError: model-signing is not installed.
    """
    verifying = _model_signing("verifying")
    where = default_signature(bundle) if signature is None else Path(signature)
    if not Path(bundle).exists():
        raise BundleError(f"{bundle} does not exist, expected a bundle: check the path")
    if not where.is_file():
        raise BundleError(
            f"{bundle} is not signed: {where} is missing, a signature is required: ask its "
            "publisher for it"
        )
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=Path(public_key))
    except (OSError, ValueError, TypeError) as error:
        raise OptionError(
            f"{public_key} is no public key in PEM: {_line(error)}: give the publisher's"
        ) from error
    try:
        config.verify(Path(bundle), where)
    except Exception as error:  # each layer of model-signing has exceptions of its own
        raise BundleError(
            f"{bundle} does not match its signature {where} by {public_key}: {_line(error)}: it "
            "was changed, or is by another publisher; do not use it"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _model_signing(module: str) -> Any:
    """A module of model-signing, which nothing else needs."""
    try:
        return importlib.import_module(f"model_signing.{module}")
    except ImportError as error:
        raise MissingExtraError("a signature", "model-signing", "sign") from error
