"""Oulu-CASIA NIR&VIS, of which the paper takes visible light (VL) under normal illumination
(Strong):

    VL/Strong/P001/Anger/000.jpeg, 001.jpeg, …     320 x 240, neutral to peak; 480 sequences of 80
    people

Frames as 000.jpg, 000.JPEG or 0.jpeg are taken as well. The makers' archive of original pictures
puts VL into OriginalImg, or B_OriginalImg/OriginalImg, and unpacking may put that into another
B_OriginalImg. The cropped pictures that they ship as well
(VL_Acropped) are not read. Numbers: Zhao et al., Facial expression recognition from near-infrared
videos, 2011. Folders: oulu_casia_utils.py of github.com/varshanth/AuVi_Buddy_-_A_Synergy_of_FER-
MER, a program that reads the set as it is shipped.
"""
import glob
import os
import re

from data_prep.folds import ascending
from data_prep.sets import ckplus
from data_prep.sets.layout import visible, wrong_folder

EXPRESSIONS = {'Anger': 'anger', 'Disgust': 'disgust', 'Fear': 'fear', 'Happiness': 'happy',
               'Sadness': 'sadness', 'Surprise': 'surprise'}
PLACE = os.path.join('VL', 'Strong')
EXPECTED = (f'{PLACE} of Oulu-CASIA, with P001/Anger/000.jpeg and so on, itself or one to three '
            'folders down')


def read_set(raw, classes, frames=3):
    """The pairs of Oulu-CASIA in folder `raw`: query = each of the last `frames` frames of a
    sequence (None: all frames after the first), reference = its first frame; sequence = the
    expression.

    Returns (rows, points, report) as described in datasets.py; points are None, yet to be detected.
    Pictures are not opened here. Raises SystemExit where raw does not hold the set, or more than
    one copy of it.
    """
    place = find_place(raw)
    sequences = list_sequences(raw, place)
    if not sequences:
        raise wrong_folder(raw, EXPECTED)
    report = {'unit': 'sequences', 'found': len(sequences), 'unlabelled': [], 'left_out': []}
    rows, _ = ckplus.collect(sequences, report, lambda subject, folder: (
        read_sequence(raw, place, subject, folder, classes, frames), {}))
    return rows, None, report


def find_place(raw):
    """VL/Strong, relative to raw, which holds it, or holds it one to three folders down; SystemExit
    unless it is there once."""
    levels = ('', '*', os.path.join('*', '*'), os.path.join('*', '*', '*'))
    found = [os.path.relpath(path, raw) for level in levels
             for path in sorted(glob.glob(os.path.join(glob.escape(raw), level, PLACE, '')))]
    places = [place for place in found if place.isprintable()]
    if not places:
        raise wrong_folder(raw, EXPECTED)
    if len(places) > 1:
        raise SystemExit(
            f'{raw} holds {PLACE} {len(places)} times, in {" and ".join(places)}: RAW must name '
            'a folder that holds it once.')
    return places[0]


def list_sequences(raw, place):
    """[(subject, folder)] of every folder in a P###; anything else is passed over. Characters
    beyond ASCII, which only a folder can have that is none of the set's, are escaped."""
    root = os.path.join(raw, place)
    subjects = [name for name in os.listdir(root) if re.fullmatch('P[0-9]+', name)
                and os.path.isdir(os.path.join(root, name))]
    return [(subject, ascii(folder)[1:-1]) for subject in sorted(subjects, key=ascending)
            for folder in sorted(filter(visible, os.listdir(os.path.join(root, subject))))
            if os.path.isdir(os.path.join(root, subject, folder))]


def read_sequence(raw, place, subject, folder, classes, frames):
    """The rows of one sequence as in read_set(); ValueError with the reason where it has none."""
    expression = EXPRESSIONS.get(folder)
    if expression not in classes:
        raise ValueError(f'label outside the set: {folder}')
    own = os.path.join(place, subject, folder)
    names = list_frames(os.listdir(os.path.join(raw, own)))
    # The next frame must not slip into the place of one that was lost.
    for expected, number in enumerate(sorted(names)):
        if number != expected:
            raise ValueError(f'frame is missing: {expected:03d}')

    needed = (1 if frames is None else frames) + 1  # the queries, and the reference
    if len(names) < needed:
        raise ValueError(f'too few frames: {len(names)}, at least {needed} needed')

    first, *paths = [os.path.join(own, names[number]) for number in sorted(names)]
    queries = list(enumerate(paths, 1))[-(frames or len(paths)):]
    return [{'subject': subject, 'sequence': expression, 'frame': number, 'expression': expression,
             'path': path, 'reference': first} for number, path in queries]


def list_frames(names):
    """{number: name} of the frames among the files of a sequence: as the makers name them; where
    none is named so, with another ending or without zeros before the number. ValueError where two
    have one number."""
    for pattern in (re.compile(r'([0-9]{3})\.jpeg'),
                    re.compile(r'([0-9]{1,3})\.jpe?g', re.IGNORECASE)):
        frames = {}
        for name in sorted(names):
            match = pattern.fullmatch(name)
            if match and frames.setdefault(int(match.group(1)), name) != name:
                raise ValueError(f'frame is there twice: {frames[int(match.group(1))]}, {name}')
        if frames:
            break
    return frames
