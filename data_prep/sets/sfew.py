"""SFEW 2.0, frames of films. Of its three parts Train is trained on and Val tested on; Test, whose
labels are not public, is not read.

    Train/Angry/Airheads_000519240_00000005.png                       the whole frame; 958 of them
    Val/Angry/…                                                       436
    Train/Train_Aligned_Faces/Angry/Airheads_000519240_00000005.png   the face, cut out by the
                                                                      makers; 891
    Val/Val_Aligned_Faces_new/Val_Aligned_Faces/Angry/…               431

A frame often shows several people and its label is of one: so the aligned faces are read where both
parts have them, else the frames. An archive may have been unpacked in RAW, in Train or Val, or in a
folder of its own name. Archives: Facial_Expressions_Databases_Classifier of
github.com/AntonioMarceddu, a program that takes them as they are shipped (Train_Aligned_Faces.zip,
Val_Aligned_Faces_new.zip). The numbers of pictures are those that users of the set report.
"""
import glob
import os

from data_prep.folds import ascending
from data_prep.sets.layout import pictures, visible, wrong_folder

EXPRESSIONS = {
    'Angry': 'anger', 'Disgust': 'disgust', 'Fear': 'fear', 'Happy': 'happy', 'Neutral': 'neutral',
    'Sad': 'sadness', 'Surprise': 'surprise'
}
SPLIT = {'Train': 'train', 'Val': 'test'}
# Where the class folders of a part may be, in order of preference.
PLACES = {'aligned faces': ('{0}_Aligned_Faces*', '{0}_Aligned_Faces*/{0}_Aligned_Faces*',
                            '{0}/{0}_Aligned_Faces*', '{0}/{0}_Aligned_Faces*/{0}_Aligned_Faces*'),
          'whole frames': ('{0}', '{0}/{0}')}
EXPECTED = ('Train and Val of SFEW 2.0, or Train_Aligned_Faces and Val_Aligned_Faces, with Angry, '
            'Disgust and so on in each')


def read_set(raw, classes, frames=None):
    """A row a picture in folder `raw`: subject = its name, as nobody says who is on it; sequence =
    its part and class folder, as in Val_Angry; split = train for Train, test for Val; no reference.
    The argument frames is not used.

    Returns (rows, points, report) as described in datasets.py; points are None, yet to be detected.
    Files with another ending than .png are passed over. Pictures are not opened here. Raises
    SystemExit where raw does not hold the set, or holds a part of it twice.
    """
    version, place = find_place(raw)
    rows, left_out = [], []
    for part in SPLIT:
        for folder, name in list_pictures(os.path.join(raw, place[part])):
            path = os.path.join(place[part], folder, name)
            expression = EXPRESSIONS.get(folder)
            if not path.isprintable():
                left_out.append(
                    (ascii(path)[1:-1], 'the name holds characters that cannot be printed'))
            elif expression not in classes:
                left_out.append((path, f'label outside the set: {folder}'))
            else:
                rows.append({'subject': name[:-len('.png')], 'sequence': f'{part}_{folder}',
                             'frame': 1, 'expression': expression, 'path': path,
                             'reference': None, 'split': SPLIT[part]})

    rows.sort(key=lambda row: (ascending(row['subject']), row['sequence']))
    note = f'Read: {version}, in {place["Train"]} and {place["Val"]}.'
    report = {'unit': 'images', 'found': len(rows) + len(left_out), 'unlabelled': [],
              'left_out': left_out, 'note': note}
    return rows, None, report


def find_place(raw):
    """('aligned faces' or 'whole frames', {part: its folder, relative to raw}); SystemExit unless
    one of the two is there for both parts, once."""
    for version, patterns in PLACES.items():
        places_of = {part: [] for part in SPLIT}
        for part in SPLIT:
            for pattern in patterns:
                places_of[part] += with_classes(raw, pattern.format(part))
        if not all(places_of.values()):
            continue
        for part, places in places_of.items():
            if len(places) > 1:
                raise SystemExit(f'{raw} holds the {version} of {part} {len(places)} times, in '
                                 f'{" and ".join(places)}: leave one of them there.')
        return version, {part: places[0] for part, places in places_of.items()}
    raise wrong_folder(raw, EXPECTED)


def with_classes(raw, pattern):
    """The folders, relative to raw, that match the pattern and hold a folder of a class."""
    paths = sorted(glob.glob(os.path.join(glob.escape(raw), pattern)))
    return [os.path.relpath(path, raw) for path in paths
            if any(os.path.isdir(os.path.join(path, name)) for name in EXPRESSIONS)]


def list_pictures(place):
    """(folder, name) of every .png in a folder of `place`."""
    for folder in sorted(filter(visible, os.listdir(place))):
        for name in sorted(pictures(os.path.join(place, folder))):
            if name.lower().endswith('.png'):
                yield folder, name
