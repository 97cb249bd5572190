"""CK+, the extended Cohn-Kanade set, on disk as its makers ship it (their archives unpacked side by
side):

    cohn-kanade-images/S005/001/S005_001_00000011.png     every frame, neutral to peak, 8-bit grey
                                                          or colour; also .jpg
    Landmarks/S005/001/S005_001_00000011_landmarks.txt    every frame, 68 lines of x y in pixels
    Emotion/S005/001/S005_001_00000011_emotion.txt        327 of the 593 sequences, one number, at
                                                          the peak

or each in the folder that its archive is named after (ARCHIVES).
"""
import math
import os
import re

import numpy as np

from data_prep.align import five_points
from data_prep.sets.layout import wrong_folder

# By CK+'s number, 0 to 7.
EXPRESSIONS = ('neutral', 'anger', 'contempt', 'disgust', 'fear', 'happy', 'sadness', 'surprise')
IMAGES, LANDMARKS, EMOTION = 'cohn-kanade-images', 'Landmarks', 'Emotion'
# Their archives, without .zip, where they have other names.
ARCHIVES = {IMAGES: 'extended-cohn-kanade-images', EMOTION: 'Emotion_labels'}
# What follows a frame's number in the name of a file.
ENDING = {IMAGES: r'\.(?:png|jpe?g)', LANDMARKS: r'_landmarks\.txt', EMOTION: r'_emotion\.txt'}


def read_set(raw, classes, frames=3):
    """The pairs of CK+ in folder `raw`: query = each of the last `frames` frames (None: of all but
    the first) of a labelled sequence, reference = its first frame; where `classes` has neutral, the
    first frame is a query as well (Section 4 of the paper).

    Returns (rows, points, report):
        rows    a dict a query: subject, sequence, frame (int), expression, path, reference (both
                paths relative to raw), sorted by subject, sequence, frame
        points  {path: 5 x 2 array}, the five points of every picture in rows, see align.five_points
        report  {'unit': 'sequences', 'found': number, 'unlabelled': [sequence],
                'left_out': [(sequence, reason)]}
    Pictures are not opened here. Raises SystemExit where raw is not CK+.
    """
    check_layout(raw)
    sequences = sorted({*list_sequences(raw, IMAGES), *list_sequences(raw, EMOTION)})
    labels = {names: list_frames(raw, EMOTION, *names) for names in sequences}
    labelled = [names for names in sequences if labels[names]]
    report = {'unit': 'sequences', 'found': len(sequences), 'left_out': [],
              'unlabelled': ['/'.join(names) for names in sequences if not labels[names]]}

    def read_one(subject, sequence):
        return read_sequence(raw, subject, sequence, labels[subject, sequence], classes, frames)
    rows, points = collect(labelled, report, read_one)
    return rows, points, report


def collect(sequences, report, read_one):
    """(rows, points) of all (subject, sequence): read_one gives those of one, or raises ValueError
    with the reason why it is left out, which goes to report['left_out']."""
    rows, points = [], {}
    for subject, sequence in sequences:
        try:
            found, five = read_one(subject, sequence)
        except ValueError as error:
            report['left_out'].append((f'{subject}/{sequence}', str(error)))
            continue
        rows += found
        points.update(five)
    return rows, points


def check_layout(raw):
    """SystemExit, with what was expected and what is there, unless raw is laid out as CK+."""
    parts = IMAGES, LANDMARKS, EMOTION
    if not all(os.path.isdir(os.path.join(raw, find_part(raw, part))) for part in parts):
        raise wrong_folder(raw, f'the folders {IMAGES}, {LANDMARKS} and {EMOTION} of CK+')


def list_sequences(raw, part):
    """(subject, sequence) of every S###/### in one of the three folders, and nothing else."""
    folder = os.path.join(raw, find_part(raw, part))
    for subject in os.listdir(folder):
        if re.fullmatch(r'S\d+', subject) and os.path.isdir(os.path.join(folder, subject)):
            for sequence in os.listdir(os.path.join(folder, subject)):
                if re.fullmatch(r'\d+', sequence):
                    yield subject, sequence


def list_frames(raw, part, subject, sequence):
    """{frame number: path relative to raw} of a sequence's files in one of the three folders."""
    folder = os.path.join(find_part(raw, part), subject, sequence)
    if not os.path.isdir(os.path.join(raw, folder)):
        return {}
    pattern = re.compile(f'{subject}_{sequence}_([0-9]+){ENDING[part]}', re.IGNORECASE)
    # Sorted, so that of a frame that is there as .jpg and as .png always the .png counts.
    matches = map(pattern.fullmatch, sorted(os.listdir(os.path.join(raw, folder))))
    return {int(match.group(1)): os.path.join(folder, match.group(0)) for match in matches if match}


def find_part(raw, part):
    """The folder, relative to raw, of one of the three.

    Unpacking may have put it into another of the same name, or of its archive's.
    """
    around = part, ARCHIVES.get(part, part)
    places = [place for name in around for place in (os.path.join(name, part), name)]
    return next((place for place in places if os.path.isdir(os.path.join(raw, place))), part)


def read_sequence(raw, subject, sequence, labels, classes, frames):
    """(rows, points) of one labelled sequence as in read_set().

    ValueError with the reason where it has none.
    """
    if len(labels) > 1:
        raise ValueError(f'several emotion files: {len(labels)}')
    (peak, label_path), = labels.items()
    expression = read_expression(raw, label_path)
    if expression not in classes:
        raise ValueError(f'label outside the set: {expression}')
    images = list_frames(raw, IMAGES, subject, sequence)
    landmarks = list_frames(raw, LANDMARKS, subject, sequence)
    if not images:
        raise ValueError('no images')

    # A frame lost from one folder is still named by another: the next best must not slip into its
    # place.
    numbers = sorted(number for number in {*images, *landmarks, peak} if number <= peak)
    if len(numbers) <= (frames or 1):
        raise ValueError(f'too few frames: {len(numbers)}, at least {(frames or 1) + 1} needed')

    first = numbers[0]
    last = numbers[-frames:] if frames else numbers[1:]
    points = {}
    for number in [first] + last:
        if number not in images:
            raise ValueError(f'image is missing: frame {number}')
        if number not in landmarks:
            raise ValueError(f'landmarks are missing: frame {number}')
        points[images[number]] = five_points(read_landmarks(raw, landmarks[number]))

    queries = [(number, expression) for number in last]
    if 'neutral' in classes:
        queries.insert(0, (first, 'neutral'))
    rows = [{'subject': subject, 'sequence': sequence, 'frame': number, 'expression': name,
             'path': images[number], 'reference': images[first]} for number, name in queries]
    return rows, points


def read_expression(raw, path):
    """The name of the expression in an emotion file: one number, such as 3.0000000e+00.

    ValueError for anything else.
    """
    text = read_text(raw, path)
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f'emotion is no number: {path} holds {text.strip()[:40]!r}') from None
    if number not in range(len(EXPRESSIONS)):
        raise ValueError(
            f'label outside the set: {text.strip()[:40]} in {path}, not 0..{len(EXPRESSIONS) - 1}')
    return EXPRESSIONS[int(number)]


def read_landmarks(raw, path):
    """68 x 2 array of x, y in pixels.

    ValueError with file and line where the file holds anything else.
    """
    points = []
    for line, text in enumerate(read_text(raw, path).splitlines(), 1):
        if not text.strip():
            continue
        try:
            x, y = map(float, text.split())
        except ValueError:
            raise ValueError(f'landmarks damaged: {path}, line {line}: expected x y, '
                             f'got {text.strip()[:40]!r}') from None
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError(f'landmarks damaged: {path}, line {line}: {text.strip()[:40]!r} is no '
                             'place in a picture')
        points.append((x, y))
    if len(points) != 68:
        raise ValueError(f'landmarks damaged: {path} has {len(points)} points, expected 68')
    return np.array(points)


def read_text(raw, path):
    """The text of a small file of the set; ValueError where it cannot be read."""
    try:
        with open(os.path.join(raw, path), encoding='ascii') as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        raise ValueError(f'file cannot be read: {path}') from None
