"""Any pictures, listed in a CSV: RAW is a folder that holds manifest.csv, UTF-8, with a line a
picture

    path,subject,expression[,split][,reference]

in any order of columns; further columns are passed over. path and reference are relative to that
folder and written with /. split is train or test, where the set has a split of its own. Known
spellings of an expression, such as Happiness or HA, are one class, see names.py.
"""
import csv
import functools
import io
import itertools
import os

from data_prep import csv_text, names
from data_prep.folds import ascending
from data_prep.sets.layout import first_neutral, lost_link, wrong_folder

NAME = 'manifest.csv'
NEEDED = ['path', 'subject', 'expression']
COLUMNS = NEEDED + ['split', 'reference']
# Bytes of subject and path together, which become part of a key: LMDB's have 511 at most.
LONGEST = 480


def read_set(raw, classes=None, frames=None):
    """A row a picture of manifest.csv in folder `raw`. The classes are those found, by the names of
    names.py or else in lower case, two at the least; the arguments classes and frames are not used.

    The reference is the row's own; else the person's neutral picture (expression `neutral`), of
    several the first in the file that can be used, which then is its own reference; else None.
    Sequence = the path without its ending and with - for /, numbered where another picture has that
    name already.

    Returns (rows, points, report) as described in datasets.py, with split where that column is
    filled in; points are None, yet to be detected. report['note'] says which names of expressions
    were taken for others. Pictures are not opened here. A line that cannot be used is left out.
    SystemExit where the CSV is missing or cannot be read, or gives fewer than two classes.
    """
    table = read_table(raw)
    rows, first_line, sequences, spellings = [], {}, set(), {}
    report = {'unit': 'images', 'found': len(table), 'unlabelled': [], 'left_out': []}
    # One line with a split makes it a set with a split: then each line needs one.
    own_split = any(cells.get('split') for _, cells in table)
    for line, cells in table:
        name = cells.get('path') or f'line {line}'
        name = name if name.isprintable() else ascii(name)[1:-1]
        if cells and not cells['expression']:
            report['unlabelled'].append(name)
            continue
        try:
            row = read_row(raw, f'{NAME}, line {line}', cells, own_split, first_line)
        except ValueError as error:
            report['left_out'].append((name, str(error)))
            continue
        first_line[row['path']] = line
        spellings.setdefault(row['expression'], set()).add(cells['expression'])
        row['sequence'] = new_name(os.path.splitext(row['path'])[0].replace('/', '-'), sequences)
        rows.append(row)

    # After all rows are read: a person's neutral picture may stand below the others.
    neutral = first_neutral(rows)
    for row in rows:
        row['reference'] = row['reference'] or neutral.get(row['subject'])
    if len(spellings) < 2:
        left_out = report['left_out']
        first = f', first: {left_out[0][1]}' if left_out else ''
        raise SystemExit(
            f'{os.path.join(raw, NAME)} must give at least 2 expressions and gives '
            f'{len(spellings)} ({"".join(spellings) or "none"}): of {len(table)} lines '
            f'{len(report["unlabelled"])} are unlabelled and {len(left_out)} left out{first}.')
    names.check_spellings(spellings, 'expressions', os.path.join(raw, NAME))
    note = '\n'.join(filter(None, [tell_spellings(spellings), tell_strangers(rows, first_line),
                                   tell_expressive(rows, first_line)]))
    rows.sort(key=lambda row: (ascending(row['subject']), ascending(row['sequence'])))
    return rows, None, {**report, 'note': note} if note else report


def tell_strangers(rows, first_line):
    """The sentence on references that are, by the set itself, of another person, whose face a GCNet
    would learn to draw; '' where there is none. first_line: {path: line}."""
    subject_of = {row['path']: row['subject'] for row in rows}
    strange = [row for row in rows
               if subject_of.get(row['reference'], row['subject']) != row['subject']]
    if not strange:
        return ''
    first = min(strange, key=lambda row: first_line[row['path']])
    return (f'References that show another person: {len(strange)}, first: {NAME}, line '
            f'{first_line[first["path"]]}: {first["reference"]} of '
            f'{subject_of[first["reference"]]} for {first["subject"]}.')


def tell_expressive(rows, first_line):
    """The sentence on references that, by the set itself, show an expression, which a GCNet would
    learn to leave in; '' where there is none. first_line: {path: line}."""
    shown = {row['path']: row['expression'] for row in rows}
    wrong = [row for row in rows if shown.get(row['reference'], 'neutral') != 'neutral']
    if not wrong:
        return ''
    first = min(wrong, key=lambda row: first_line[row['path']])
    itself = ', the picture itself' if first['reference'] == first['path'] else ''
    return (f'References that are not neutral: {len(wrong)}, first: {NAME}, line '
            f'{first_line[first["path"]]}: {first["reference"]}{itself}, is '
            f'{shown[first["reference"]]}.')


def tell_spellings(spellings):
    """The sentences on {class: the names of it in the set}: those that were taken for others, and
    those that mean nothing here; '' where every name is the class's own."""
    lines = []
    for name in sorted(spellings):
        others = sorted(other for other in spellings[name] if other.lower() != name)
        if others:
            lines.append(f'Taken for {name}: {", ".join(others)}.')
    unknown = sorted(set(spellings) - set(names.SPELLINGS), key=ascending)
    if unknown:
        lines.append('None of the eight expressions that are known here, so classes of their own: '
                     f'{", ".join(unknown[:20])}{", ..." if len(unknown) > 20 else ""}.')
    if 'neutral' not in spellings:
        lines.append('No class is understood as neutral, so only a reference column gives a '
                     'reference.')
    return '\n'.join(lines)


def read_table(raw):
    """[(line, {column: text})] of the lines in raw/manifest.csv that are not blank, without the
    spaces around a text; the dict is empty where a line has not as many cells as the first.
    SystemExit, with the line, where the file cannot be read or lacks a column.
    """
    file = os.path.join(raw, NAME)
    if not os.path.exists(file):
        raise wrong_folder(raw, f'{NAME} with the columns {", ".join(NEEDED)}')
    try:
        with open(file, 'rb') as opened:
            text = csv_text.decode(opened.read()).lstrip('\ufeff')
    except OSError as error:
        raise SystemExit(f'{file} cannot be read ({error.strerror}).') from None
    except ValueError as error:
        raise SystemExit(f'{file}, {error}.') from None

    line, lines = 1, []
    reader = csv.reader(io.StringIO(text, newline=''), strict=True, skipinitialspace=True)
    try:
        for cells in reader:
            lines.append((line, [cell.strip() for cell in cells]))
            line = reader.line_num + 1
    except csv.Error as error:
        raise SystemExit(
            f'{file}, line {line}: the row that begins here cannot be read ({error}): close '
            'every quote and save the table as CSV in UTF-8.') from None

    header = [name.lower() for name in lines.pop(0)[1]] if lines else []
    for name in COLUMNS:
        if header.count(name) > 1 or name in NEEDED and name not in header:
            separator = csv_text.tell_separator(text.partition('\n')[0], NEEDED)
            raise SystemExit(
                f'{file}, line 1: expected {",".join(NEEDED)}, and split and reference if '
                f'wanted, once each, got {",".join(header)[:120]!r}{separator}.')
    return [(line, dict(zip(header, cells)) if len(cells) == len(header) else {})
            for line, cells in lines if any(cells)]


def read_row(raw, where, cells, own_split, first_line):
    """The row, yet without a sequence, that the cells at `where` give; reference None where it has
    none of its own. own_split: whether the set has a split; first_line: {path: line} of the rows so
    far. ValueError with the reason where the row cannot be used.
    """
    if not cells:
        raise ValueError(f'more or fewer cells than columns: {where}')
    path, subject, expression, split, reference = (cells.get(name, '') for name in COLUMNS)
    # Such a name would break a line of classes.txt or of a CSV.
    if not f'{path}{subject}{expression}{split}{reference}'.isprintable():
        raise ValueError(f'the name holds characters that cannot be printed: {where}')
    if not subject:
        raise ValueError(f'no subject: {where}')
    if own_split and split not in ('train', 'test'):
        raise ValueError(f'split is neither train nor test: {where}: {split}' if split else
                         f'no split: {where}')
    path = inside(raw, where, path, 'image')
    if path in first_line:
        raise ValueError(
            f'path is there already: {where}: {path}, first in line {first_line[path]}')
    if len(expression) > names.LONGEST:
        raise ValueError(f'expression has more than {names.LONGEST} letters: {where}')
    if len(f'{subject}{path}'.encode()) > LONGEST:
        raise ValueError(f'path and subject together are too long: {where}')
    reference = inside(raw, where, reference, 'reference') if reference else None
    row = {'subject': subject, 'frame': 1, 'expression': names.expression(expression),
           'path': path, 'reference': reference}
    return {**row, 'split': split} if own_split else row


@functools.lru_cache(maxsize=1)
def top_of(raw):
    """The folder raw, free of links, with a / at its end."""
    return os.path.join(os.path.realpath(raw), '')


def inside(raw, where, path, what):
    """`path` in its normal form, for a file in folder raw; ValueError with the reason for any
    other. `what` it is: image or reference."""
    name = 'path' if what == 'image' else what
    if not path:
        raise ValueError(f'no path: {where}')
    if '\\' in path:
        raise ValueError(f'{name} is written with \\ instead of /: {where}: {path}')
    normal = os.path.normpath(path)
    file = os.path.join(raw, normal)
    if os.path.isabs(path) or normal.startswith('../'):
        raise ValueError(f'{name} leaves the folder: {where}: {path}')
    target = lost_link(file)
    if target and os.path.islink(target):
        raise ValueError(f'{what} is behind a link that leads back to itself: {where}: {path}')
    if target:
        raise ValueError(f'{what} is behind a link to what cannot be seen: {where}: {path}: '
                         f'{target} can be named by the variable GCNET_MOUNTS')
    real = os.path.realpath(file)
    # A link may lead to what the user has named to be read, and nowhere else.
    if not any(real.startswith(top) for top in (top_of(raw), *mounted())):
        raise ValueError(f'{name} leaves the folder: {where}: {path}')
    if not os.path.isfile(file):
        raise ValueError(f'{what} is missing: {where}: {path}')
    return normal


def mounted():
    """The folders that GCNET_MOUNTS names, free of links, with a / at their end."""
    named = filter(None, os.environ.get('GCNET_MOUNTS', '').split(':'))
    return [os.path.join(os.path.realpath(folder), '') for folder in named]


def new_name(name, taken):
    """`name`, or that with the first number from 2 that makes it new; added to the set `taken`."""
    numbered = (f'{name}-{number}' for number in itertools.count(2))
    chosen = next(new for new in itertools.chain([name], numbered) if new not in taken)
    taken.add(chosen)
    return chosen
