"""Reader of one picture or a folder of pictures, as uint8 pixels with one or three channels.

Conventions:
    - The pixels are grey if all pictures are grey, otherwise RGB. A palette is grey if all its
      entries are.
    - Transparency is composited onto black. 16-bit values keep their high byte.
    - The Exif orientation is applied. A picture with many frames gives the first one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.pictures.pixel_array import allocate_pixels
from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.errors import InputError, MissingExtraError, OptionError

if TYPE_CHECKING:
    from PIL import Image

PICTURE_EXTENSIONS = tuple(
    f".{name}" for name in ("bmp", "gif", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp")
)
"""Extensions of files that are read as pictures, in lower case."""

_GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"}
_ALPHA_MODES = {"LA", "La", "PA", "RGBA", "RGBa"}
_MODES = {1: "L", 3: "RGB"}


def read_folder(
    folder: Path, image_size: tuple[int, int] | None = None, channels: int | None = None
) -> NDArray[np.uint8]:
    """Read all pictures in a folder and its subfolders, ordered by relative path.

    Hidden files and folders are skipped. `image_size` is height and width to resize to. Returns
    shape `(n, height, width, channels)`, memory-mapped if large. Raises `InputError` if sizes
    differ.
    """
    _check_options(image_size, channels)
    require_pillow("reading pictures")
    files = _picture_files(folder)
    pixels: NDArray[np.uint8] | None = None
    for i, file in enumerate(files):
        picture = _decode(file, image_size, channels)
        if pixels is None:
            pixels = allocate_pixels((len(files), *picture.shape))
        elif picture.shape[:2] != pixels.shape[1:3]:
            raise InputError(
                f"{file} is {_format_size(picture)} (height x width), {files[0].name} is "
                f"{_format_size(pixels[0])}, expected pictures of one size: resize them, e.g. with "
                f"--image-size {_format_size(pixels[0])}"
            )
        if picture.shape[-1] > pixels.shape[-1]:  # the first colour picture after grey ones
            pixels = _grey_to_rgb(pixels, i)
        pixels[i] = picture  # broadcasting repeats a grey channel
    assert pixels is not None  # `_picture_files` refuses an empty folder
    return pixels


def read_picture(
    path: Path, image_size: tuple[int, int] | None = None, channels: int | None = None
) -> NDArray[np.uint8]:
    """Read one picture as a batch of one, shape `(1, height, width, channels)`."""
    _check_options(image_size, channels)
    require_pillow("reading a picture")
    return _decode(path, image_size, channels)[np.newaxis]


def _check_options(image_size: tuple[int, int] | None, channels: int | None) -> None:
    if image_size is not None and min(image_size) < 1:
        height, width = image_size
        raise OptionError(f"image size is {height}x{width}, expected at least 1x1")
    if channels is not None and channels not in _MODES:
        raise OptionError(f"channels is {channels}, expected 1 (grey) or 3 (RGB)")


def require_pillow(purpose: str) -> None:
    """Raise `MissingExtraError` if Pillow is not installed; `purpose` is for the message."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(purpose, "pillow", "pictures") from error


def _picture_files(folder: Path) -> list[Path]:
    with wrap_read_errors(folder, "folder"):
        files = sorted(_visible_pictures(folder, ()))
    if not files:
        raise InputError(
            f"{folder} has no pictures ({', '.join(PICTURE_EXTENSIONS)}) and is not a folder of "
            "MNIST's IDX files: give a folder of pictures, or a file"
        )
    return [folder.joinpath(*parts) for parts in files]


def _visible_pictures(folder: Path, parts: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the pictures below a folder as the parts of their relative paths.

    `os.scandir` knows the type of each entry; `Path.rglob` would need a system call per file.
    """
    with os.scandir(folder.joinpath(*parts)) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _visible_pictures(folder, (*parts, entry.name))
            elif Path(entry.name).suffix.lower() in PICTURE_EXTENSIONS and entry.is_file():
                yield (*parts, entry.name)


def _grey_to_rgb(grey: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Allocate an RGB array for the same pictures and copy the first `count` of them."""
    pixels = allocate_pixels((*grey.shape[:3], 3))
    for start in range(0, count, 1024):
        part = slice(start, start + 1024)
        pixels[part] = grey[part]
    return pixels


def _is_grey(image: Image.Image) -> bool:
    """Return whether mode and palette of a picture have no colour."""
    if image.mode not in ("P", "PA"):
        return image.mode in _GREY_MODES
    entries = np.reshape(image.getpalette("RGB") or [], (-1, 3))
    return bool((entries == entries[:, :1]).all())


def _decode(
    path: Path, image_size: tuple[int, int] | None, channels: int | None
) -> NDArray[np.uint8]:
    """Read one picture, shape `(height, width, channels)`; by default with its own channels."""
    from PIL import Image, ImageOps

    with wrap_read_errors(path, "picture"), Image.open(path) as image:
        if channels is None:
            channels = 1 if _is_grey(image) else 3
        upright = ImageOps.exif_transpose(image)
        picture = _over_black(_to_8_bits(upright, path)).convert(_MODES[channels])
        if image_size is not None:
            height, width = image_size
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        pixels = np.asarray(picture, np.uint8)
    return pixels.reshape(*pixels.shape[:2], channels)


def _to_8_bits(image: Image.Image, path: Path) -> Image.Image:
    """Keep the high byte of 16-bit grey; some versions of Pillow clip at 255 instead."""
    from PIL import Image

    if not image.mode.startswith(("I", "F")):
        return image
    words = np.asarray(image)
    if words.dtype.kind == "f" or words.min() < 0 or words.max() > 0xFFFF:
        raise InputError(
            f"{path} has pixels of mode {image.mode} that are not 8 or 16 bits: "
            "save the data as .npy instead"
        )
    return Image.fromarray((words >> 8).astype(np.uint8))


def _over_black(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode not in _ALPHA_MODES and "transparency" not in image.info:
        return image
    pixels = np.asarray(image.convert("RGBA")).astype(np.uint16)
    return Image.fromarray(((pixels[..., :3] * pixels[..., 3:] + 127) // 255).astype(np.uint8))


def _format_size(picture: NDArray[np.uint8]) -> str:
    height, width, _ = picture.shape
    return f"{height}x{width}"
