"""Reader of pictures, as uint8 pixels with one or three channels.

Conventions:
    - The pixels are grey if all pictures are grey, otherwise RGB. A palette is grey if all its
      entries are.
    - Transparency is composited onto black. 16-bit values keep their high byte.
    - The Exif orientation is applied.
    - Each page of a TIFF, and each frame of an animation, is a sample, called `stack.tif#3`.
      Smaller copies of a page are none. A JPEG of a phone gives its picture, not its previews.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.pictures.pixel_array import PixelArray
from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.errors import InputError, MissingExtraError, OptionError

if TYPE_CHECKING:
    from PIL import Image

PICTURE_EXTENSIONS = tuple(
    f".{name}" for name in ("bmp", "gif", "jpeg", "jpg", "pgm", "png", "ppm", "tif", "tiff", "webp")
)
"""Extensions of files that are read as pictures, in lower case."""

MAX_LISTED = 10
"""Most files that a message names."""

_NEW_SUBFILE_TYPE = 254  # tag of TIFF; bit 0: a reduced-resolution version of another page
_GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"}
_ALPHA_MODES = {"LA", "La", "PA", "RGBA", "RGBa"}
_MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class Pictures:
    """Pictures of one size.

    Attributes:
        pixels: shape `(n, height, width, channels)`, memory-mapped if large.
        names: where each picture is: the name of its file, and its page if the file has several.
        file_of: index of each picture's file.
        notes: files that were left out, or that have several pages; a line each.
    """

    pixels: NDArray[np.uint8]
    names: tuple[str, ...]
    file_of: NDArray[np.intp]
    notes: tuple[str, ...]


def read_pictures(
    folder: Path,
    files: Sequence[str],
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    *,
    skip_unreadable: bool = False,
) -> Pictures:
    """Read pictures in the order of `files`, which are paths relative to a folder.

    `image_size` is height and width to resize to. An `InputError` names all files that cannot be
    read; with `skip_unreadable` they are left out. It also names the first file of another size.
    """
    _check_options(image_size, channels)
    require_pillow("reading pictures" if len(files) > 1 else "reading a picture")
    pixels = PixelArray(len(files))
    names: list[str] = []
    file_of: list[int] = []
    unreadable: dict[str, InputError] = {}
    stacks: list[str] = []
    for i, file in enumerate(files):
        before, misfit = len(pixels), None
        try:
            for picture in _decode(folder / file, image_size, channels):
                if pixels.size not in (None, picture.shape[:2]):
                    misfit = picture
                    break
                pixels.append(picture)
        except InputError as error:
            unreadable[file] = error
            pixels.truncate(before)
            continue
        if misfit is not None:
            raise _size_error(pixels, misfit, folder / file, names)
        pages = len(pixels) - before
        stacks += [file] * (pages > 1)
        names += [f"{file}#{n}" for n in range(1, pages + 1)] if pages > 1 else [file]
        file_of += [i] * pages
    if unreadable and (not skip_unreadable or not names):
        raise _unreadable_error(folder, unreadable, len(files))
    notes = []
    if unreadable:
        notes.append(f"left out {_listed(list(unreadable), 'unreadable picture')}")
    if stacks:
        notes.append(f"each page is a sample: {_listed(stacks, 'file')}")
    return Pictures(pixels.finish(), tuple(names), np.array(file_of, np.intp), tuple(notes))


def read_picture(
    content: bytes, name: str, image_size: tuple[int, int] | None, channels: int | None
) -> list[NDArray[np.uint8]]:
    """Read the pages of one picture whose file is in memory, of one size.

    `name` is for messages; the other arguments and the errors are those of `read_pictures`.
    """
    _check_options(image_size, channels)
    require_pillow("reading a picture")
    pages = [*_decode(Path(name), image_size, channels, io.BytesIO(content))]
    if any(page.shape != pages[0].shape for page in pages):
        raise InputError(f"{name} has pages of several sizes: resize them, e.g. with --image-size")
    return pages


def _size_error(
    pixels: PixelArray, picture: NDArray[np.uint8], path: Path, names: list[str]
) -> InputError:
    found, first = ("x".join(map(str, s)) for s in (picture.shape[:2], pixels.size or ()))
    other = names[0] if names else "its first page"
    return InputError(
        f"{path} is {found} (height x width), {other} is {first}, "
        f"expected pictures of one size: resize them, e.g. with --image-size {first}"
    )


def _unreadable_error(folder: Path, errors: dict[str, InputError], count: int) -> InputError:
    """Return one error for all files that cannot be read."""
    (first, error), *rest = errors.items()
    if count == 1:
        return error
    reason = str(error).removeprefix(str(folder / first)).rpartition(":")[0].strip()
    if not rest:
        return InputError(
            f"{folder / first} {reason}: repair it, or leave it out with --skip-unreadable"
        )
    return InputError(
        f"{folder} has {_listed(list(errors), 'unreadable picture')} ({first} {reason}): repair "
        "them, or leave them out with --skip-unreadable"
    )


def _listed(files: Sequence[str], what: str) -> str:
    """Return `2 files: a, b`, at most `MAX_LISTED` names."""
    shown = ", ".join(files[:MAX_LISTED])
    more = f" and {len(files) - MAX_LISTED} more" if len(files) > MAX_LISTED else ""
    return f"{len(files)} {what}{'s' if len(files) > 1 else ''}, {shown}{more}"


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


def _is_grey(image: Image.Image) -> bool:
    """Return whether mode and palette of a picture have no colour."""
    if image.mode not in ("P", "PA"):
        return image.mode in _GREY_MODES
    entries = np.reshape(image.getpalette("RGB") or [], (-1, 3))
    return bool((entries == entries[:, :1]).all())


def _decode(
    path: Path,
    image_size: tuple[int, int] | None,
    channels: int | None,
    content: IO[bytes] | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Read the pages of a picture one by one, each of shape `(height, width, channels)`.

    By default each has its own channels. `content` is read instead of the file at `path`.
    """
    from PIL import Image

    with wrap_read_errors(path, "picture"), Image.open(content or path) as image:
        for page in range(_page_count(image)):
            if page:
                image.seek(page)
            if not (page and _is_smaller_copy(image)):
                yield _page_pixels(image, path, image_size, channels)


def _page_count(image: Image.Image) -> int:
    return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)


def _is_smaller_copy(image: Image.Image) -> bool:
    """Return whether a page of a TIFF is a preview of another page."""
    return bool(getattr(image, "tag_v2", {}).get(_NEW_SUBFILE_TYPE, 0) & 1)


def _page_pixels(
    image: Image.Image, path: Path, image_size: tuple[int, int] | None, channels: int | None
) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

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
