"""The people of a set in CK+'s layout, for pre-training: the label is the person."""
from data_prep.align import five_points
from data_prep.sets import ckplus

STEP = 2  # of two neighbouring frames, nearly the same, one is taken


def read_set(raw, classes=None, frames=None):
    """Every second frame, from the first, of each sequence that ckplus.read_set can use: expression
    = subject, reference = the sequence's first frame. The arguments classes and frames are not
    used.

    Returns (rows, points, report) as ckplus.read_set does. Its people are those of ckplus.read_set,
    so that both have the same folds. Raises SystemExit where raw is not CK+.
    """
    labelled, _, report = ckplus.read_set(raw, ckplus.EXPRESSIONS[1:])
    sequences = sorted({(row['subject'], row['sequence']) for row in labelled})
    rows, points = ckplus.collect(sequences, report,
                                  lambda subject, sequence: read_sequence(raw, subject, sequence))
    return rows, points, report


def read_sequence(raw, subject, sequence):
    """(rows, points) of a sequence as in read_set().

    ValueError with the reason where it has none.
    """
    images = ckplus.list_frames(raw, ckplus.IMAGES, subject, sequence)
    landmarks = ckplus.list_frames(raw, ckplus.LANDMARKS, subject, sequence)
    rows, points = [], {}
    numbers = sorted({*images, *landmarks})[::STEP]
    for number in numbers:
        if number not in images or number not in landmarks:
            raise ValueError(f'image or landmarks are missing: frame {number}')
        path = images[number]
        points[path] = five_points(ckplus.read_landmarks(raw, landmarks[number]))
        rows.append({'subject': subject, 'sequence': sequence, 'frame': number,
                     'expression': subject, 'path': path, 'reference': images[numbers[0]]})
    return rows, points
