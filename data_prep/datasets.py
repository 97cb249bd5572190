"""The data sets that can be built: their classes, in label order (alphabetical), and who reads
them."""
import os
import re

from data_prep.sets import (
    affectnet,
    ckplus,
    fer2013,
    manifest,
    mmi,
    oulu,
    people,
    rafdb,
    sfew,
    webface,
)

SIX = ('anger', 'disgust', 'fear', 'happy', 'sadness', 'surprise')
SEVEN = tuple(sorted((*SIX, 'contempt')))
EIGHT = tuple(sorted((*SEVEN, 'neutral')))
PEOPLE = 'the people of the set'
FOUND = 'the expressions found in the set'

# name: (classes, loader). A loader takes (raw, classes, frames) and returns (rows, points, report):
# rows    a dict a query: subject, sequence, frame (int), expression, path, reference (paths
# relative to raw, see pictures.py; reference None where there is none) and, where the set ships its
# own split, split, `train` or `test`; sorted by subject, sequence, frame. frames: how many queries
# from a sequence's end; None: all frames after the first points  {path: 5 x 2 array}, the five
# points of every picture in rows, see align.five_points; None where they are yet to be detected
# report  {'unit': what is counted, 'found': number, 'unlabelled': [name], 'left_out': [(name,
# reason)]}, and 'note', a sentence for the account, where there is one. A reason is a few words,
# then a colon and what is particular: the account counts by those words Pictures are not opened by
# a loader. It raises SystemExit where raw is not laid out as the set.
DATASETS = {
    'affectnet': (EIGHT, affectnet.read_set),
    'ckplus7': (SEVEN, ckplus.read_set),
    'ckplus8': (EIGHT, ckplus.read_set),
    'demo': (SEVEN, ckplus.read_set),
    'demo_people': (PEOPLE, people.read_set),
    'fer2013': (tuple(sorted((*SIX, 'neutral'))), fer2013.read_set),
    'manifest': (FOUND, manifest.read_set),
    'mmi': (SIX, mmi.read_set),
    'oulu': (SIX, oulu.read_set),
    'rafdb': (tuple(sorted((*SIX, 'neutral'))), rafdb.read_set),
    'sfew': (tuple(sorted((*SIX, 'neutral'))), sfew.read_set),
    'webface': (PEOPLE, webface.read_set),
}


def get(name, raw):
    """(classes, loader) of a data set. Any other name is a manifest's, where folder `raw` holds
    one; else SystemExit, listing those that exist."""
    if name in DATASETS:
        return DATASETS[name]
    if re.fullmatch(r'\w[\w.-]*', name) and os.path.isfile(os.path.join(raw, 'manifest.csv')):
        return DATASETS['manifest']
    raise SystemExit(
        f'There is no data set {name!r}: DATASET is one of {", ".join(sorted(DATASETS))}, or another '
        'name, of letters and digits, with RAW=folder that holds a manifest.csv.')


def of_people(name):
    """Whether the classes of a data set are its people."""
    return name in DATASETS and DATASETS[name][0] is PEOPLE


def load(name, raw, frames, detected):
    """What the loader of a data set returns. detected(paths): ({path: points}, {path: reason},
    number with several faces), of pictures that only mmi needs to look at, to find the peak."""
    classes, loader = get(name, raw)
    return loader(raw, classes, frames, *([detected] if name == 'mmi' else []))
