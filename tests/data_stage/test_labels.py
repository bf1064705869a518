"""AudioSet's class list, and the classes that the presets map to it."""

from __future__ import annotations

from harness.data.clips.labels import audioset, by_mid, by_name
from harness.data.clips.manifest import SPLITS
from harness.data.clips.splits import folds_of
from harness.data.sources import esc10, instruments

# AudioSet's ontology (Gemmeke et al., 2017), as far as classes of `instruments` have descendants among the 527
BELOW = {
    "Guitar": {"Electric guitar", "Bass guitar", "Acoustic guitar", "Steel guitar, slide guitar"},
    "Piano": {"Electric piano"},
    "Organ": {"Electronic organ", "Hammond organ"},
    "Drum": {"Snare drum", "Rimshot", "Drum roll", "Bass drum", "Timpani", "Tabla"},
    "Snare drum": {"Rimshot", "Drum roll"},
    "Cymbal": {"Hi-hat"},
    "Mallet percussion": {"Marimba, xylophone", "Glockenspiel", "Vibraphone", "Steelpan"},
    "Brass instrument": {"French horn", "Trumpet", "Trombone"},
    "Bowed string instrument": {"String section", "Violin, fiddle", "Pizzicato", "Cello", "Double bass"},
    "Violin, fiddle": {"Pizzicato"},
    "Wind instrument, woodwind instrument": {"Flute", "Saxophone", "Clarinet"},
}


def test_audioset_list_is_complete() -> None:
    labels = audioset()
    assert [label.index for label in labels] == list(range(527))
    assert len(by_mid()) == len(by_name()) == 527
    assert (labels[0].mid, labels[0].name) == ("/m/09x0r", "Speech")
    assert (labels[526].mid, labels[526].name) == ("/m/07hvw1", "Field recording")
    assert by_name()["Piano"].mid == "/m/05r5c"
    assert all(mid.startswith(("/m/", "/t/", "/g/")) for mid in by_mid())


def test_instruments_are_about_twenty_classes_none_below_another() -> None:
    names = {label.name for label in instruments.classes()}
    assert len(names) == 20
    for parent, children in BELOW.items():
        assert parent not in names or not children & names


def test_esc10_has_ten_classes_in_audioset_order() -> None:
    indices = [label.index for label in esc10.classes()]
    assert len(set(indices)) == 10 and indices == sorted(indices)


def test_five_seeds_are_five_folds_with_the_validation_fold_before_the_test_fold() -> None:
    for seed, test_fold, val_fold in [(0, 1, 5), (1, 2, 1), (4, 5, 4), (9, 5, 4)]:
        splits = {split: folds_of(split, seed) for split in SPLITS}
        assert splits["test"] == {f"fold{test_fold}"} and splits["val"] == {f"fold{val_fold}"}
        assert splits["train"] == {f"fold{fold}" for fold in range(1, 6)} - splits["test"] - splits["val"]
