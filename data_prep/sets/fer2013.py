"""FER2013 as its makers ship it: one file fer2013.csv with the columns emotion,pixels,Usage, a
picture a line, as 48 x 48 grey values, row by row, with spaces between. It ships no landmarks.

Read from the description of the Kaggle challenge it was made for ("Challenges in Representation
Learning: Facial Expression Recognition Challenge", 2013), whose validation part is what it calls
the public test.
"""
import functools
import os

import numpy as np

from data_prep.sets.layout import wrong_folder

FILE, SIDE = 'fer2013.csv', 48
COLUMNS = 'emotion,pixels,Usage'
# By FER2013's number.
EXPRESSIONS = {
    '0': 'anger', '1': 'disgust', '2': 'fear', '3': 'happy', '4': 'sadness', '5': 'surprise',
    '6': 'neutral'
}
SPLITS = {'Training': 'train', 'PrivateTest': 'test'}


def read_set(raw, classes, frames=None):
    """A row a picture of fer2013.csv in folder `raw`: subject = sequence = the number of its line,
    the header's being 1; path `fer2013.csv#<line>`, see picture(); reference None; split as the
    makers have it, their private test as the test; their public test is left out. The argument
    frames is not used.

    Returns (rows, None, report) as ckplus.read_set does; None stands for points yet to be detected.
    Pixels are not looked at here. Raises SystemExit where raw has no such file.
    """
    if not os.path.isfile(os.path.join(raw, FILE)):
        raise wrong_folder(raw, f'the file {FILE}')
    rows, report = [], {'unit': 'images', 'found': 0, 'unlabelled': [], 'left_out': []}
    with open(os.path.join(raw, FILE), encoding='utf-8-sig', errors='replace',
              newline='\n') as file:
        header = file.readline().strip()
        if header != COLUMNS:
            raise SystemExit(f'{file.name}, line 1: expected {COLUMNS}, got {ascii(header[:60])}.')
        for line, text in enumerate(file, 2):
            if not text.strip():
                continue
            report['found'] += 1
            try:
                expression, split = read_row(text, classes)
            except ValueError as error:
                report['left_out'].append((f'{FILE}#{line}', str(error)))
                continue
            rows.append({'subject': f'{line:05d}', 'sequence': f'{line:05d}', 'frame': 1,
                         'expression': expression, 'path': f'{FILE}#{line}', 'reference': None,
                         'split': split})
    return rows, None, report


def read_row(text, classes):
    """(expression, `train` or `test`) of a line; ValueError with the reason where it is not to be
    used."""
    fields = text.strip().split(',')
    if len(fields) != 3:
        raise ValueError(f'row is damaged: {len(fields)} columns, expected 3')
    emotion, _, usage = fields
    if usage == 'PublicTest':
        raise ValueError('validation part (PublicTest)')
    if usage not in SPLITS:
        raise ValueError(f'Usage outside the set: {usage[:40]!r}')
    if EXPRESSIONS.get(emotion) not in classes:
        raise ValueError(f'label outside the set: {emotion[:40]!r}')
    return EXPRESSIONS[emotion], SPLITS[usage]


def picture(path, line):
    """The picture in a line (the header's being 1) of the file fer2013.csv at `path`, 48 x 48 grey
    uint8; ValueError with the reason where there is none."""
    numbers = pixels(path, line).split()
    try:
        return np.array(bytearray(map(int, numbers))).reshape(SIDE, SIDE)
    except ValueError:
        raise ValueError(f'pixels are not {SIDE} x {SIDE} numbers of 0 to 255') from None


def pixels(path, line):
    """The numbers of a line's picture as they stand there, bytes; ValueError where there is no such
    line."""
    try:
        start = line_starts(path, os.stat(path).st_mtime_ns)
        with open(path, 'rb') as file:
            file.seek(start[line])
            fields = file.readline().split(b',')
    except (OSError, IndexError):
        raise ValueError('image cannot be read') from None
    return fields[1].strip(b'" ') if len(fields) > 1 else b''


@functools.lru_cache(maxsize=1)
def line_starts(path, changed):
    """int64, at index 1, 2, ... the byte at which that line of the file starts, so that a picture
    is read without those before it. `changed`, the file's time of change, is there for the cache
    alone."""
    with open(path, 'rb') as file:
        return np.cumsum([0, 0] + [len(line) for line in file])[:-1]
