"""Signatures that show who published a bundle: OpenSSF's `model-signing` with keys, offline.

A signature lies beside the bundle, as `digits-vae.sig` beside `digits-vae` and `digits.vae.sig`
beside `digits.vae`, because a bundle may hold only the files that its manifest lists. It covers
every byte of every file. It is checked before anything in the bundle is parsed. You must ensure
by other means that nobody can change the bundle between this check and its use.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from vae_runtime.errors import BundleError, ExportError, MissingExtraError, OptionError
from vae_runtime.files.atomic_files import replacing_path
from vae_runtime.files.paths import absolute


def default_signature(bundle: str | os.PathLike[str]) -> Path:
    """Return the default path of a bundle's signature, beside the bundle."""
    path = absolute(bundle)
    return path.with_name(f"{path.name}.sig")


def sign(
    bundle: str | os.PathLike[str],
    private_key: str | os.PathLike[str],
    signature: str | os.PathLike[str] | None = None,
    *,
    password: str | None = None,
) -> Path:
    """Sign a bundle with an elliptic-curve key (PEM file), and return the signature's path.

    Raises:
        BundleError: a file of the bundle is missing or changed.
        ExportError: the signature cannot be written.
        OptionError: the key cannot be used, or the signature would lie inside the bundle.
        MissingExtraError: model-signing is not installed.
    """
    from vae_runtime.bundle.bundle import Bundle

    signing = _model_signing("signing")
    target = default_signature(bundle) if signature is None else absolute(signature)
    if Path(bundle).resolve() in target.resolve().parents:
        raise OptionError(f"{target} lies inside the bundle: choose a path beside it")
    Bundle(bundle).check_files()
    try:
        config = signing.Config().use_elliptic_key_signer(
            private_key=Path(private_key), password=password
        )
    except (OSError, ValueError, TypeError) as error:
        raise OptionError(
            f"{private_key} cannot sign {bundle}: {_one_line(error)}: give an elliptic-curve key "
            "in PEM"
        ) from error
    try:
        with replacing_path(target) as temporary:
            config.sign(Path(bundle), temporary)
    except (ValueError, TypeError) as error:
        raise OptionError(f"{private_key} cannot sign {bundle}: {_one_line(error)}") from error
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
    """Check that a bundle was signed with the publisher's key (PEM file), without parsing it.

    Raises:
        BundleError: the signature is missing or by another key, or the bundle was changed.
        OptionError: the key cannot be read.
        MissingExtraError: model-signing is not installed.
    """
    verifying = _model_signing("verifying")
    path = default_signature(bundle) if signature is None else Path(signature)
    if not Path(bundle).exists():
        raise BundleError(f"{bundle} does not exist, expected a bundle: check the path")
    if not path.is_file():
        raise BundleError(
            f"{bundle} is not signed: {path} is missing, a signature is required: ask the "
            "publisher for it"
        )
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=Path(public_key))
    except (OSError, ValueError, TypeError) as error:
        raise OptionError(
            f"{public_key} is not a public key in PEM: {_one_line(error)}: give the publisher's key"
        ) from error
    try:
        config.verify(Path(bundle), path)
    except Exception as error:  # each layer of model-signing raises its own exceptions
        raise BundleError(
            f"{bundle} does not match its signature {path} by {public_key}: {_one_line(error)}: "
            "it was changed, or is by another publisher; do not use it"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _model_signing(module: str) -> Any:
    """Import a module of model-signing."""
    try:
        return importlib.import_module(f"model_signing.{module}")
    except ImportError as error:
        raise MissingExtraError("a signature", "model-signing", "sign") from error
