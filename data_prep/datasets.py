"""The data sets that can be built: their classes, in label order (alphabetical), and who reads them."""
from data_prep import ckplus, people, webface

SEVEN = ['anger', 'contempt', 'disgust', 'fear', 'happy', 'sadness', 'surprise']
EIGHT = sorted(SEVEN + ['neutral'])

# name: (classes, loader). A loader takes (raw, classes, frames) and returns what ckplus.read does, with None
# for the points where they are yet to be detected. Classes None: the people found, in ascending order.
DATASETS = {
    'ckplus7': (SEVEN, ckplus.read),
    'ckplus8': (EIGHT, ckplus.read),
    'demo': (SEVEN, ckplus.read),
    'demo_people': (None, people.read),
    'webface': (None, webface.read),
}


def get(name):
    """(classes, loader) of a data set; SystemExit, listing those that exist, for any other name."""
    if name not in DATASETS:
        raise SystemExit(f'There is no data set {name!r}: DATASET is one of {", ".join(sorted(DATASETS))}.')
    return DATASETS[name]
