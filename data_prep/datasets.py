"""The data sets that can be built: their classes, in label order (alphabetical), and who reads them."""
from data_prep import ckplus

SEVEN = ['anger', 'contempt', 'disgust', 'fear', 'happy', 'sadness', 'surprise']
EIGHT = sorted(SEVEN + ['neutral'])

# name: (classes, loader). A loader takes (raw, classes, frames) and returns what ckplus.read does.
DATASETS = {
    'ckplus7': (SEVEN, ckplus.read),
    'ckplus8': (EIGHT, ckplus.read),
    'demo': (SEVEN, ckplus.read),
}


def get(name):
    """(classes, loader) of a data set; SystemExit, listing those that exist, for any other name."""
    if name not in DATASETS:
        raise SystemExit(f'There is no data set {name!r}: DATASET is one of {", ".join(sorted(DATASETS))}.')
    return DATASETS[name]
