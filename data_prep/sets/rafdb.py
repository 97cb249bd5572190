"""RAF-DB, its basic set, pictures from the web with one of seven expressions each:

    EmoLabel/list_patition_label.txt          15,339 lines as train_00001.jpg 5 (the spelling is
                                              the makers')
    Image/aligned/train_00001_aligned.jpg     12,271 train_…, 3,068 test_…; 100 x 100,
                                              aligned by the makers

Numbers: Li, Deng, Du, Reliable crowdsourcing and deep locality-preserving learning for expression
recognition in the wild, CVPR 2017. Folders and the order of labels: rafdb.py of
github.com/yaoing/DAN, a program that reads the set as it is shipped.
"""
import os
import re

from data_prep.folds import ascending
from data_prep.sets.layout import pictures, wrong_folder

# By RAF-DB's number. The compound set has the same layout with other meanings, up to 11.
EXPRESSIONS = {
    '1': 'surprise', '2': 'fear', '3': 'disgust', '4': 'happy', '5': 'sadness', '6': 'anger',
    '7': 'neutral'
}
COMPOUND = {'8', '9', '10', '11'}
LIST = os.path.join('EmoLabel', 'list_patition_label.txt')
ALIGNED = os.path.join('Image', 'aligned')
EXPECTED = f'{LIST} and {ALIGNED} of RAF-DB, or the folder basic with both'


def read_set(raw, classes, frames=None):
    """A row a picture in folder `raw`: subject = its name, as nobody says who is on it; split =
    train or test, from its name; no reference. The argument frames is not used.

    Returns (rows, points, report) as described in datasets.py; points are None, yet to be detected.
    Pictures that no line names count as unlabelled. Pictures are not opened here. Raises SystemExit
    where raw does not hold the basic set.
    """
    base = find_place(raw)
    lines = read_lines(os.path.join(raw, base, LIST))
    present = set(pictures(os.path.join(raw, base, ALIGNED)))

    listed, rows, left_out = {}, [], []
    for line, text in lines:
        try:
            stem, part, label = parse(text)
            if stem in listed:
                raise ValueError(f'listed before: {stem}.jpg, in line {listed[stem]}')
            listed[stem] = line
            expression = EXPRESSIONS.get(label)
            if expression not in classes:
                raise ValueError(f'label outside the set: {label} of {stem}.jpg')
            path = os.path.join(base, ALIGNED, aligned(stem))
            if aligned(stem) not in present:
                raise ValueError(f'image is missing: {path}')
        except ValueError as error:
            left_out.append((f'{LIST}, line {line}', str(error)))
            continue
        rows.append({'subject': stem, 'sequence': 'aligned', 'frame': 1, 'expression': expression,
                     'path': path, 'reference': None, 'split': part})

    rows.sort(key=lambda row: ascending(row['subject']))
    unlabelled = [ascii(name)[1:-1] for name in sorted(present - set(map(aligned, listed)))]
    report = {'unit': 'images', 'found': len(lines) + len(unlabelled), 'unlabelled': unlabelled,
              'left_out': left_out}
    return rows, None, report


def find_place(raw):
    """'' or 'basic', whichever holds the set in folder raw; SystemExit where neither does."""
    for base in ('', 'basic'):
        folder = os.path.join(raw, base)
        if (os.path.isfile(os.path.join(folder, LIST))
                and os.path.isdir(os.path.join(folder, ALIGNED))):
            return base
    raise wrong_folder(raw, EXPECTED)


def read_lines(path):
    """[(line number, text)] of the list, without empty lines.

    SystemExit where it is the compound set's.
    """
    with open(path, encoding='utf-8-sig', errors='backslashreplace') as file:
        lines = [(number, text.strip()) for number, text in enumerate(file, 1) if text.strip()]
    if COMPOUND <= {text.split()[-1] for _, text in lines}:
        raise SystemExit(
            f'{path} has the labels 8 to 11 of the compound set: RAW must name the folder of '
            'the basic set.')
    return lines


def parse(text):
    """(stem, 'train' or 'test', label as text) of a line like train_00001.jpg 5, or
    train_00001_aligned.jpg 5; ValueError for another."""
    match = re.fullmatch(r'((train|test)_[0-9]+)(?:_aligned)?\.jpg\s+([0-9]+)', text)
    if not match:
        raise ValueError(f'not a picture and its label: {text[:40]!r}')
    return match.groups()


def aligned(stem):
    """Name of the aligned picture."""
    return f'{stem}_aligned.jpg'
