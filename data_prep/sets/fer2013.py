"""FER2013 as its makers ship it: one file fer2013.csv with the columns emotion,pixels,Usage, a
picture a line, as 48 x 48 grey values, row by row, with spaces between; or icml_face_data.csv, the
same in another order of columns. Further columns, after those, are passed over. It ships no
landmarks.

Read from the description of the Kaggle challenge it was made for ("Challenges in Representation
Learning: Facial Expression Recognition Challenge", 2013), whose validation part is what it calls
the public test.

FER+ (Barsoum et al., "Training deep networks for facial expression recognition with crowd-sourced
label distribution", 2016) is new labels for it, by ten people each: fer2013new.csv beside it has a
line for each of its lines, with the number of votes for each of VOTES.
"""
import csv
import functools
import io
import os

import numpy as np

from data_prep import csv_text
from data_prep.sets.layout import wrong_folder

FILE, SIDE = 'fer2013.csv', 48
FILES = {FILE: ['emotion', 'pixels', 'Usage'], 'icml_face_data.csv': ['emotion', 'Usage', 'pixels']}
PLUS = 'fer2013new.csv'
# By FER2013's number.
EXPRESSIONS = {
    '0': 'anger', '1': 'disgust', '2': 'fear', '3': 'happy', '4': 'sadness', '5': 'surprise',
    '6': 'neutral'
}
# By FER+'s column; the last two (unknown, not a face) are no expression.
VOTES = {'neutral': 'neutral', 'happiness': 'happy', 'surprise': 'surprise', 'sadness': 'sadness',
         'anger': 'anger', 'disgust': 'disgust', 'fear': 'fear', 'contempt': 'contempt',
         'unknown': None, 'NF': None}
SPLITS = {'Training': 'train', 'PrivateTest': 'test'}


def read_set(raw, classes, frames=None):
    """A row a picture of fer2013.csv (or icml_face_data.csv) in folder `raw`: subject = sequence =
    the number of its line, the header's being 1; path `fer2013.csv#<line>`, see picture();
    reference None; split as the makers have it, their private test as the test; their public test
    is left out. The argument frames is not used.

    Returns (rows, None, report) as ckplus.read_set does; None stands for points yet to be detected.
    Pixels are not looked at here. Raises SystemExit where raw has no such file.
    """
    def name_emotion(line, cells):
        if EXPRESSIONS.get(cells['emotion']) not in classes:
            raise ValueError(f'label outside the set: {cells["emotion"][:40]!r}')
        return EXPRESSIONS[cells['emotion']]
    return read_pictures(raw, name_emotion)


def read_plus(raw, classes, frames=None):
    """The rows of read_set() with the labels of FER+, from fer2013new.csv in the same folder: the
    expression that more than half of all votes are for; a picture without one is left out.

    Raises SystemExit also where that file is missing, cannot be read or has not a line for each.
    """
    votes = read_votes(raw)

    def name_majority(line, cells):
        usage, count = votes.get(line, (None, {}))
        if usage != cells['Usage']:
            raise SystemExit(f'{os.path.join(raw, PLUS)}, line {line}: Usage is {usage!r}, and '
                             f'{cells["Usage"][:40]!r} in that line of the pictures: both must '
                             'have the same lines.')
        name = max(count, key=count.get)
        if 2 * count[name] <= sum(count.values()):
            raise ValueError('no majority of the votes')
        if VOTES[name] not in classes:
            raise ValueError(f'label outside the set: {name}')
        return VOTES[name]
    return read_pictures(raw, name_majority)


def read_pictures(raw, name_expression):
    """(rows, None, report) of read_set(); name_expression(line, {column: text}) gives a picture's
    expression, or raises ValueError with the reason why it is left out."""
    name = next((name for name in FILES if os.path.isfile(os.path.join(raw, name))), None)
    if name is None:
        raise wrong_folder(raw, f'the file {" or ".join(FILES)}')

    # Split at line ends alone, not by csv: line_starts finds a picture by the number of its line.
    rows, report = [], {'unit': 'images', 'found': 0, 'unlabelled': [], 'left_out': []}
    with open(os.path.join(raw, name), encoding='utf-8-sig', errors='replace',
              newline='\n') as file:
        first = file.readline(10000).strip()
        header = [cell.strip() for cell in first.split(',')]
        if header[:3] != FILES[name]:
            raise SystemExit(f'{file.name}, line 1: expected {",".join(FILES[name])}, got '
                             f'{ascii(first[:60])}.')

        for line, text in enumerate(file, 2):
            if not text.strip():
                continue
            report['found'] += 1
            path = f'{name}#{line}'
            try:
                cells, split = read_row(text, header)
                expression = name_expression(line, cells)
            except ValueError as error:
                report['left_out'].append((path, str(error)))
                continue
            # Who is on a picture is not known: each has a subject of its own.
            rows.append({'subject': f'{line:05d}', 'sequence': f'{line:05d}', 'frame': 1,
                         'expression': expression, 'path': path, 'reference': None,
                         'split': split})
    return rows, None, report


def read_row(text, header):
    """({column: text}, `train` or `test`) of a line.

    ValueError with the reason where it is not to be used.
    """
    fields = text.strip().split(',')
    if len(fields) != len(header):
        raise ValueError(f'row is damaged: {len(fields)} columns, expected {len(header)}')
    cells = {name: field.strip() for name, field in zip(header, fields)}
    usage = cells['Usage']
    if usage == 'PublicTest':
        raise ValueError('validation part (PublicTest)')
    if usage not in SPLITS:
        raise ValueError(f'Usage outside the set: {usage[:40]!r}')
    return cells, SPLITS[usage]


def read_votes(raw):
    """{line: (Usage, {column of VOTES: votes})} of fer2013new.csv; SystemExit, with the line, where
    it is missing or cannot be read."""
    path = os.path.join(raw, PLUS)
    if not os.path.isfile(path):
        raise wrong_folder(raw, f'the files {FILE} and {PLUS}')

    try:
        with open(path, 'rb') as file:
            text = csv_text.decode(file.read())
        table = csv.DictReader(io.StringIO(text, newline=''), skipinitialspace=True)
        header = table.fieldnames or []
        if not {'Usage', *VOTES} <= set(header):
            separator = csv_text.tell_separator(text.partition('\n')[0], ['Usage', *VOTES])
            raise SystemExit(f'{path}, line 1: expected the columns Usage,{",".join(VOTES)}, got '
                             f'{ascii(",".join(header)[:120])}{separator}.')

        votes = {}
        for row in table:
            counts = [row[name] or '' for name in VOTES]
            # isdecimal() alone takes other alphabets' digits
            if not all(count.isdecimal() and count.isascii() for count in counts):
                raise SystemExit(f'{path}, line {table.line_num}: expected a number of votes in '
                                 f'each of {",".join(VOTES)}.')
            votes[table.line_num] = row['Usage'], dict(zip(VOTES, map(int, counts)))
    except (OSError, ValueError, csv.Error) as error:
        raise SystemExit(f'{path} cannot be read as votes: {error}.') from None
    return votes


def picture(path, line):
    """The picture in a line (the header's being 1) of the CSV at `path`, 48 x 48 grey
    uint8; ValueError with the reason where there is none."""
    numbers = pixels(path, line).split()
    try:
        return np.array(bytearray(map(int, numbers))).reshape(SIDE, SIDE)
    except ValueError:
        raise ValueError(f'pixels are not {SIDE} x {SIDE} numbers of 0 to 255') from None


def pixels(path, line):
    """The numbers of a line's picture as they stand there, bytes.

    ValueError where there is no such line.
    """
    try:
        file = os.stat(path)
        start = line_starts(path, (file.st_mtime_ns, file.st_size))
        with open(path, 'rb') as file:
            file.seek(start[line])
            fields = file.readline().split(b',')
    except (OSError, IndexError):
        raise ValueError('image cannot be read') from None
    place = FILES.get(os.path.basename(path), FILES[FILE]).index('pixels')
    return fields[place].strip(b'" ') if len(fields) > place else b''


@functools.lru_cache(maxsize=1)
def line_starts(path, changed):
    """int64, at index 1, 2, ... the byte at which that line of the file starts, so that a picture
    is read without those before it. `changed`, the file's time of change and size, is there for the
    cache alone."""
    with open(path, 'rb') as file:
        return np.cumsum([0, 0] + [len(line) for line in file])[:-1]
