"""Pictures: a folder of them, or one file, as uint8 pixels of one or three channels.

Conventions:
    - Grey if all pictures are grey (a palette too, if its entries are), otherwise RGB.
    - Transparency is composited onto black; of 16 bits the high byte is kept.
    - A photograph stands as its Exif orientation says; a picture of many frames gives its first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.pixel_array import pixel_array
from vae_runtime.data.reading import reading
from vae_runtime.errors import InputError, MissingExtraError, OptionError

if TYPE_CHECKING:
    from PIL import Image

EXTENSIONS = frozenset(["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff", "ppm", "pgm"])
"""Extensions that are read as pictures, in any case."""

_GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"}
_ALPHA_MODES = {"LA", "La", "PA", "RGBA", "RGBa"}
_MODES = {1: "L", 3: "RGB"}


def is_picture(path: Path) -> bool:
    """Tells by its extension whether a file is read as a picture."""
    return path.suffix.lower().removeprefix(".") in EXTENSIONS


def read_folder(
    folder: Path, image_size: tuple[int, int] | None = None, channels: int | None = None
) -> NDArray[np.uint8]:
    """Reads all pictures in a folder and the folders in it, ordered by relative path.

    Hidden files and folders, and files with other extensions, are left out.

    Args:
        folder: the folder.
        image_size: height and width that every picture is resized to; `None` keeps their size.
        channels: 1 for grey, 3 for RGB; `None` for grey if all pictures are grey.

    Returns:
        Pixels, shape `(n, height, width, channels)`; mapped where `pixel_array` says so.

    Raises:
        InputError: no pictures, one that cannot be read, sizes that differ, or no room for the
            pixels.
        MissingExtraError: Pillow is not installed.
        OptionError: `image_size` below 1, or `channels` not 1 or 3.
    """
    _check_options(image_size, channels)
    require_pillow("reading pictures")
    files = _picture_files(folder)
    pixels: NDArray[np.uint8] | None = None
    for i, file in enumerate(files):
        picture = _read(file, image_size, channels)
        if pixels is None:
            pixels = pixel_array((len(files), *picture.shape))
        elif picture.shape[:2] != pixels.shape[1:3]:
            raise InputError(
                f"{file} is {_size(picture)} (height x width), {files[0].name} is "
                f"{_size(pixels[0])}, expected pictures of one size: resize them, e.g. with "
                f"--image-size {_size(pixels[0])}"
            )
        if picture.shape[-1] > pixels.shape[-1]:  # the first with colour: those before were grey
            pixels = _in_colour(pixels, i)
        pixels[i] = picture  # grey among colour is repeated
    assert pixels is not None  # `_picture_files` refuses an empty folder
    return pixels


def read_picture(
    path: Path, image_size: tuple[int, int] | None = None, channels: int | None = None
) -> NDArray[np.uint8]:
    """Read one picture as a batch of one.

    Args:
        path: the file.
        image_size: height and width to resize to; `None` keeps its size.
        channels: 1 for grey, 3 for RGB; `None` keeps what it is.

    Returns:
        Pixels, shape `(1, height, width, channels)`.

    Raises:
        InputError: the picture cannot be read.
        MissingExtraError: Pillow is not installed.
        OptionError: `image_size` below 1, or `channels` not 1 or 3.
    """
    _check_options(image_size, channels)
    require_pillow("reading a picture")
    return _read(path, image_size, channels)[np.newaxis]


def _check_options(image_size: tuple[int, int] | None, channels: int | None) -> None:
    if image_size is not None and min(image_size) < 1:
        height, width = image_size
        raise OptionError(f"image size is {height}x{width}, expected at least 1x1")
    if channels is not None and channels not in _MODES:
        raise OptionError(f"channels is {channels}, expected 1 (grey) or 3 (RGB)")


def require_pillow(purpose: str) -> None:
    """Check that Pillow is installed.

    Args:
        purpose: what it is needed for, for the error message.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(purpose, "pillow", "pictures") from error


def _picture_files(folder: Path) -> list[Path]:
    with reading(folder, "folder"):
        files = sorted(_visible_pictures(folder, ()))
    if not files:
        raise InputError(
            f"{folder} has no pictures ({', '.join(sorted(EXTENSIONS))}) and is not a folder of "
            "MNIST's IDX files: give a folder of pictures, or a file"
        )
    return [folder.joinpath(*parts) for parts in files]


def _visible_pictures(folder: Path, parts: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The pictures below a folder as the parts of their relative paths.

    `os.scandir` knows what each entry is; `Path.rglob` would ask for every file.
    """
    with os.scandir(folder.joinpath(*parts)) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _visible_pictures(folder, (*parts, entry.name))
            elif is_picture(Path(entry.name)) and entry.is_file():
                yield (*parts, entry.name)


def _in_colour(grey: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Room for the same pictures in RGB, the first `count` of them filled in."""
    pixels = pixel_array((*grey.shape[:3], 3))
    for start in range(0, count, 1024):
        part = slice(start, start + 1024)
        pixels[part] = grey[part]
    return pixels


def _is_grey(image: Image.Image) -> bool:
    """Whether a picture has no colour, by its mode and palette."""
    if image.mode not in ("P", "PA"):
        return image.mode in _GREY_MODES
    entries = np.reshape(image.getpalette("RGB") or [], (-1, 3))
    return bool((entries == entries[:, :1]).all())


def _read(
    path: Path, image_size: tuple[int, int] | None, channels: int | None
) -> NDArray[np.uint8]:
    """One picture, shape `(height, width, channels)`; in its own channels where none are given."""
    from PIL import Image, ImageOps

    with reading(path, "picture"), Image.open(path) as image:
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
    """The high byte of 16-bit grey; Pillow's own conversion cuts off at 255 in some versions."""
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


def _size(picture: NDArray[np.uint8]) -> str:
    height, width, _ = picture.shape
    return f"{height}x{width}"
