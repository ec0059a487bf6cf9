"""Splits and labels of files in folders, as data sets lie on disks."""

import pytest

from vae_runtime.data.folder_layout import arrange


def layout(*paths):
    return arrange([tuple(path.split("/")) for path in paths])


def splits(found):
    return {split: [file.path for file in files] for split, files in found.of_splits().items()}


def labels(files):
    return [file.label for file in files]


def test_files_in_one_folder():
    found = layout("b.png", "a.png")
    assert splits(found) == {"train": ["a.png", "b.png"]}
    assert labels(found.scored()) == ["", ""]
    assert found.notes == ()


def test_folders_of_classes_are_labels():
    found = layout("cats/1.png", "dogs/1.png", "cats/0.png", "dogs/old/2.png")
    assert splits(found)["train"] == ["cats/0.png", "cats/1.png", "dogs/1.png", "dogs/old/2.png"]
    assert labels(found.scored()) == ["cats", "cats", "dogs", "dogs/old"]


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Train", "Validation", "Test"),
        ("training", "valid", "testing"),
        ("training_set", "validation_set", "test_set"),
        ("train_images", "val_images", "test_images"),
        ("data/train", "data/val", "data/test"),
    ],
)
def test_folders_of_splits(train, validation, test):
    tests = [f"{test}/a/1.png", f"{test}/b/2.png"]
    found = layout(f"{train}/a/1.png", f"{train}/b/1.png", f"{validation}/b/1.png", *tests)
    assert splits(found) == {
        "train": [f"{train}/a/1.png", f"{train}/b/1.png"],
        "validation": [f"{validation}/b/1.png"],
        "test": tests,
    }
    assert [file.path for file in found.scored()] == tests
    assert [label[-1] for label in labels(found.scored())] == ["a", "b"]


MVTEC = (
    *(f"train/good/{i:03}.png" for i in range(5)),
    *(f"test/good/{i:03}.png" for i in range(2)),
    *(f"test/broken_large/{i:03}.png" for i in range(3)),
    *(f"test/contamination/{i:03}.png" for i in range(4)),
    *(f"ground_truth/broken_large/{i:03}_mask.png" for i in range(3)),
)


@pytest.mark.parametrize("category", ["", "bottle/"])
def test_mvtec(category):
    found = layout(*(category + path for path in MVTEC), "license.txt.png")
    assert splits(found) == {
        "train": [f"{category}train/good/{i:03}.png" for i in range(5)],
        "test": [f"{category}test/good/{i:03}.png" for i in range(2)],
    }
    assert len(found.scored()) == 9
    assert {file.label.removeprefix("bottle/") for file in found.scored()} == {
        "good",
        "broken_large",
        "contamination",
    }
    assert "left out 3 masks: " in found.notes[0]
    assert "left out 1 file outside of the splits: license.txt.png (1)" in found.notes[1]
    assert "7 files are of classes that training has not seen" in found.held_back_note[0]


def test_all_categories_of_mvtec():
    found = layout(*(f"{category}/{path}" for category in ("bottle", "cable") for path in MVTEC))
    assert {split: len(files) for split, files in splits(found).items()} == {"train": 10, "test": 4}
    assert len(found.scored()) == 18


def test_classes_of_training_are_all_in_the_test_split():
    found = layout("train/a/1.png", "train/b/1.png", "test/a/1.png", "test/c/1.png")
    assert splits(found)["test"] == ["test/a/1.png", "test/c/1.png"]
    assert found.held_back_note == ()


def test_a_class_may_be_called_train():
    found = layout("train/1.png", "car/1.png", "plane/1.png")
    assert splits(found) == {"train": ["car/1.png", "plane/1.png", "train/1.png"]}
    assert labels(found.scored()) == ["car", "plane", "train"]


@pytest.mark.parametrize("only", ["train", "test"])
def test_one_split_alone_is_all_samples(only):
    found = layout(f"{only}/a/1.png", f"{only}/b/1.png")
    assert len(splits(found)["train"]) == 2
    assert labels(found.scored()) == ["a", "b"]


def test_languages_are_no_splits():
    assert len(splits(layout("tr/1.png", "te/1.png", "de/1.png"))["train"]) == 3


def test_masks_beside_images_are_left_out():
    found = layout(
        "train/images/1.png", "train/masks/1.png", "test/images/1.png", "test/masks/1.png"
    )
    assert splits(found) == {"train": ["train/images/1.png"], "test": ["test/images/1.png"]}
    assert found.notes == ("left out 2 masks: test/masks (1), train/masks (1)",)
    assert len(splits(layout("masks/1.png", "faces/1.png"))["train"]) == 2  # may be a class


def test_masks_alone_are_samples():
    assert len(splits(layout("ground_truth/a/1.png", "ground_truth/b/1.png"))["train"]) == 2
