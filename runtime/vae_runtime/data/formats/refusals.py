"""Files that are not read, the reason, and what to do instead."""

from __future__ import annotations

from pathlib import Path

from vae_runtime.data.folder_layout import find_files

_PICKLE_EXTENSIONS = (".pkl", ".pickle", ".p", ".joblib", ".pck", ".pcl")
_TORCH_EXTENSIONS = (".pt", ".pth", ".ckpt")
_REMEDIES = {
    **dict.fromkeys(
        (".xlsx", ".xls", ".ods", ".xlsm"),
        "is a spreadsheet: save the sheet as .csv in the program that made it",
    ),
    **dict.fromkeys(
        (".tfrecord", ".tfrecords"),
        "holds records whose fields only its maker knows: parse them with "
        "tf.data.TFRecordDataset and tf.io.parse_single_example, and write the samples by "
        "numpy.save('x.npy', array)",
    ),
    **dict.fromkeys(
        (".wav", ".mp3", ".flac", ".ogg", ".m4a"),
        "is sound: cut it into windows of one length, such as spectrograms, and write them by "
        "numpy.save('x.npy', array) with the shape (n, time, channels)",
    ),
    **dict.fromkeys(
        (".dcm", ".dicom"),
        "is a DICOM file, whose values need rescaling: read it with pydicom.dcmread(path)"
        ".pixel_array, and write the samples by numpy.save('x.npy', array)",
    ),
    **dict.fromkeys(
        (".nii", ".mha", ".nrrd", ".mgz"),
        "is a medical volume, whose axes and spacing only its maker knows: read it with "
        "nibabel.load(path).get_fdata() or SimpleITK, and write the samples by "
        "numpy.save('x.npy', array)",
    ),
    **dict.fromkeys(
        (".mp4", ".avi", ".mov", ".mkv", ".webm"),
        "is a video: write its frames as pictures into a folder, such as with "
        "ffmpeg -i video.mp4 frames/%05d.png",
    ),
    **dict.fromkeys(
        (".zip", ".tar", ".tgz", ".7z", ".rar"), "is an archive: unpack it, and give the folder"
    ),
    **dict.fromkeys(
        (".heic", ".heif", ".jp2", ".raw", ".cr2", ".nef", ".dng", ".svg", ".psd", ".avif"),
        "is a picture of a kind that Pillow does not read everywhere: save it as .png",
    ),
    **dict.fromkeys(
        (".rds", ".rda", ".rdata"),
        "is a file of R: write the table by write.csv(x, 'x.csv') in R",
    ),
    **dict.fromkeys(
        (".sav", ".dta", ".sas7bdat", ".por", ".xpt"),
        "is a file of a statistics program: write the table as .csv there, or by pandas "
        "(read_spss, read_stata, read_sas) and to_csv('x.csv')",
    ),
    **dict.fromkeys(
        (".db", ".sqlite", ".sqlite3", ".duckdb"),
        "is a database: write the table that you need as .csv",
    ),
}
"""Extension -> what the file is, and what to do."""

_CIFAR_LINES = (
    "import pathlib, pickle, numpy; "
    "d = pickle.loads(pathlib.Path({path!r}).read_bytes(), encoding='bytes')",
    "numpy.save('x.npy', d[b'data'].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))",
)
_PICKLE_LINES = (
    "import pathlib, pickle, numpy; samples = pickle.loads(pathlib.Path({path!r}).read_bytes())",
    "numpy.save('x.npy', numpy.asarray(samples))",
)
_TORCH_LINES = (
    "import torch, numpy; samples = torch.load({path!r}, weights_only=True)",
    "numpy.save('x.npy', samples.numpy())",
)


def refusal(path: Path) -> str | None:
    """Return why a file is not read and what to do; None if nothing is known about it."""
    suffix = _suffix(path)
    if lines := _pickle_lines(path, suffix):
        first, second = (line.format(path=str(path)) for line in lines)
        return (
            f"{path} is a pickle, which can run any code when it is opened, expected a file of "
            f"numbers: if you trust its maker, convert it in Python with the lines `{first}` and "
            f"`{second}`"
        )
    if suffix in _REMEDIES:
        return f"{path} {_REMEDIES[suffix]}"
    return None


def find_refused(folder: Path) -> Path | None:
    """Return a file in a folder that is not read: a pickle of CIFAR, another pickle, any other."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    pickles = [path for path in files if _pickle_lines(path, _suffix(path))]
    cifar = [path for path in pickles if path.name.startswith("data_batch")]
    if cifar or pickles:
        return (cifar or pickles)[0]
    others = (folder.joinpath(*parts) for parts in find_files(folder, (*_REMEDIES, ".gz")))
    return next((path for path in others if _suffix(path) in _REMEDIES), None)


def _pickle_lines(path: Path, suffix: str) -> tuple[str, str] | None:
    if suffix in _TORCH_EXTENSIONS:
        return _TORCH_LINES
    is_pickle = suffix in _PICKLE_EXTENSIONS or (not suffix and _starts_as_pickle(path))
    if not is_pickle:
        return None
    is_cifar = path.name.startswith(("data_batch", "test_batch")) or path.name in ("train", "test")
    return _CIFAR_LINES if is_cifar else _PICKLE_LINES


def _starts_as_pickle(path: Path) -> bool:
    """Return whether a file begins and ends as a binary pickle does."""
    with path.open("rb") as file:
        start = file.read(2)
        if len(start) < 2 or start[0] != 0x80 or start[1] > 5:
            return False
        file.seek(-1, 2)
        return file.read(1) == b"."


def _suffix(path: Path) -> str:
    """Return the extension in lower case, without that of gzip."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix
