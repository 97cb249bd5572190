"""The data sets that can be built: their classes, in label order, and who reads them."""
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
SIX_AND_NEUTRAL = tuple(sorted((*SIX, 'neutral')))

# name: (classes, loader). Without classes they are those found in the set.
#
# A loader takes (raw, classes, frames) and returns (rows, points, report):
#
# rows    a dict a query: subject, sequence, frame (int), expression, path, reference (paths
#         relative to raw, see pictures.py; reference None where there is none) and, where the set
#         ships its own split, split, `train` or `test`; sorted by subject, sequence, frame. frames:
#         how many queries from a sequence's end; None: all frames after the first
# points  {path: 5 x 2 array}, the five points of every picture in rows, see align.five_points;
#         None where they are yet to be detected
# report  {'unit': what is counted, 'found': number, 'unlabelled': [name], 'left_out': [(name,
#         reason)]}, and 'note', a sentence for the account, where there is one. A reason is a few
#         words, then a colon and what is particular: the account counts by those words
#
# Pictures are not opened by a loader. It raises SystemExit where raw is not laid out as the set.
DATASETS = {
    'affectnet': (EIGHT, affectnet.read_set),
    'ckplus7': (SEVEN, ckplus.read_set),
    'ckplus8': (EIGHT, ckplus.read_set),
    'demo': (SEVEN, ckplus.read_set),
    'demo_people': (None, people.read_set),
    'fer2013': (SIX_AND_NEUTRAL, fer2013.read_set),
    'ferplus': (EIGHT, fer2013.read_plus),
    'ferplus7': (SIX_AND_NEUTRAL, fer2013.read_plus),
    'manifest': (None, manifest.read_set),
    'mmi': (SIX, mmi.read_set),
    'oulu': (SIX, oulu.read_set),
    'rafdb': (SIX_AND_NEUTRAL, rafdb.read_set),
    'sfew': (SIX_AND_NEUTRAL, sfew.read_set),
    'webface': (None, webface.read_set),
}
# Here the label is the person: for pre-training.
OF_PEOPLE = {'demo_people', 'webface'}
# Nobody says who is on the pictures of these: each counts as a person of its own.
OF_STRANGERS = {'affectnet', 'fer2013', 'ferplus', 'ferplus7', 'rafdb', 'sfew'}
# The pictures that the makers of a set have cut out and aligned have this in their paths.
MAKERS_CROPS = {'fer2013': '.csv#', 'ferplus': '.csv#', 'ferplus7': '.csv#',
                'rafdb': 'aligned', 'sfew': 'Aligned_Faces'}
# (labelled sequences that can be used, people) in the paper, Section 4.
PUBLISHED = {'ckplus7': (327, 118), 'ckplus8': (327, 118), 'mmi': (205, 30), 'oulu': (480, 80)}
# Ending of the name of a build whose test part is a part of the training people, see build.py.
VALIDATION = '_validation'
# And of one of the pairs with a reference alone.
REFERRED = '_referred'


def built_from(name):
    """The name of a data set, without what a build of a part of it has at the end."""
    return name.removesuffix(VALIDATION).removesuffix(REFERRED)


def referred(name):
    """The name of the build of a data set's pairs with a reference; name: as it was built."""
    ending = VALIDATION if name.endswith(VALIDATION) else ''
    return name.removesuffix(ending) + REFERRED + ending


def get(name, raw):
    """(classes, loader) of a data set. Any other name is a manifest's, where folder `raw` holds
    one; else SystemExit, listing those that exist."""
    name = built_from(name)
    if name in DATASETS:
        return DATASETS[name]
    if re.fullmatch(r'\w[\w.-]*', name) and os.path.isfile(os.path.join(raw, 'manifest.csv')):
        return DATASETS['manifest']
    there = '' if os.path.isdir(raw) else f', and {raw} is not a folder'
    raise SystemExit(
        f'There is no data set {name!r}{there}: DATASET is one of {", ".join(sorted(DATASETS))}, '
        'or another name, of letters and digits, with RAW=folder that holds a manifest.csv.')


def of_people(name):
    """Whether the classes of a data set are its people."""
    return name in OF_PEOPLE


def knows_people(name):
    """Whether a data set says who is on its pictures."""
    return built_from(name) not in OF_STRANGERS


def ships_crops(name, paths):
    """Whether the pictures at `paths` were all cut out and aligned by the makers of the set."""
    return name in MAKERS_CROPS and all(MAKERS_CROPS[name] in path for path in paths)


def load(name, raw, frames, detected):
    """What the loader of a data set returns. detected(paths): ({path: points}, {path: reason},
    number with several faces), of pictures that only mmi needs to look at, to find the peak."""
    classes, loader = get(name, raw)
    name = built_from(name)
    rows, points, report = loader(raw, classes, frames, *([detected] if name == 'mmi' else []))
    # Each picture of these is of another person, whose first neutral picture is this one or none.
    # (Not looked up by subject: in SFEW that is a file's name, which two folders may have.)
    if name in OF_STRANGERS:
        rows = [{**row, 'reference': row['path']} if row['expression'] == 'neutral' else row
                for row in rows]
    return rows, points, report
