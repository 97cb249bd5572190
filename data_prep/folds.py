"""Ten folds with no person in two of them: persons in ascending ID, fold = position mod 10 (Section
4 of the paper: "sampling in ID ascending order with ten even intervals"). And one split where the
set ships its own, or where the people are the classes: then within each of them."""
import collections
import csv
import io
import os
import re

from data_prep import csv_text, names, spreadsheet

FOLDS = 10


def ascending(subject):
    """Sort key for IDs, so that S2 comes before S10 as well as S002 before S010.

    No two IDs have the same.
    """
    key = []
    for part in filter(None, re.split('([0-9]+)', subject)):
        # Numbers and text are never compared: a text counts as -1, which no number is.
        key.append((int(part), '') if part.isdecimal() else (-1, part))
    return key, subject


def assign(subjects):
    """{subject: fold 0..9} of the persons named; SystemExit for fewer than ten."""
    # "sampling in ID ascending order with ten even intervals"
    persons = sorted(set(subjects), key=ascending)
    if len(persons) < FOLDS:
        raise SystemExit(
            f'{len(persons)} people are too few for {FOLDS} folds without a person in two of '
            f'them: at least {FOLDS} are needed.')
    return {person: position % FOLDS for position, person in enumerate(persons)}


def split_by_person(rows, fold_of):
    """[(train, test)] for fold 0..9: a fold tests its people, and trains on all others."""
    splits = []
    for fold in range(FOLDS):
        train = [row for row in rows if fold_of[row['subject']] != fold]
        test = [row for row in rows if fold_of[row['subject']] == fold]
        splits.append((train, test))
    return splits


def split_as_given(rows):
    """[(train, test)], one only, by each row's own `split`.

    SystemExit where one of the two is empty.
    """
    train = [row for row in rows if row['split'] == 'train']
    test = [row for row in rows if row['split'] == 'test']
    for part, own in (('train', train), ('test', test)):
        if not own:
            raise SystemExit(f'The split that the set ships leaves no usable image for {part}.')
    return [(train, test)]


def split_training(train, share):
    """(train, validation): of the people of a training part, in ascending ID, about `share` (above
    0, at most 0.5) at even intervals, with all their rows; SystemExit where either has nobody."""
    # Those at whose position a multiple of 1 / share is passed: even, whatever the share is.
    people = sorted({row['subject'] for row in train}, key=ascending)
    chosen = {person for position, person in enumerate(people)
              if int((position + 1) * share) > int(position * share)}
    if not chosen:
        raise SystemExit(f'{share:g} of {len(people)} people of the training part is nobody: a '
                         'larger VALIDATE is needed.')
    return ([row for row in train if row['subject'] not in chosen],
            [row for row in train if row['subject'] in chosen])


def split_within_person(rows):
    """[(train, test)], one only: every tenth row of a person is for the test.

    Of fewer than ten rows it is the last. A person needs two rows, to be in both parts.
    """
    rows_of = collections.defaultdict(list)
    for row in rows:
        rows_of[row['subject']].append(row)

    train, test = [], []
    for own in rows_of.values():
        for position, row in enumerate(own, 1):
            tested = position % min(len(own), 10) == 0
            (test if tested else train).append(row)
    return [(train, test)]


def write_folds(path, fold_of):
    """Writes {subject: fold} as folds.csv."""
    with open(path, 'w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(['subject', 'fold'])
        writer.writerows((spreadsheet.quote(subject), fold_of[subject])
                         for subject in sorted(fold_of, key=ascending))


def read_columns(path, columns, what):
    """Yields (line, the text of each of the columns, None where the row has none) of a CSV that a
    person wrote; SystemExit where it lacks one, or cannot be read as `what`."""
    try:
        with open(path, 'rb') as file:
            text = csv_text.decode(file.read())
        table = csv.DictReader(io.StringIO(text, newline=''))
        header = table.fieldnames or []
        if not set(columns) <= set(header):
            separator = csv_text.tell_separator(text.partition('\n')[0], columns)
            raise SystemExit(
                f'{path}, line 1: expected the columns {",".join(columns)}, '
                f'got {ascii(",".join(header))[1:-1][:60] or "nothing"}{separator}.')
        for row in table:
            yield table.line_num, [row[name] for name in columns]
    except (OSError, ValueError, csv.Error) as error:
        raise SystemExit(f'{path} cannot be read as {what}: {error}.') from None


def check_same(base, fold_of):
    """SystemExit where another build of the same set, in folder `base`, has a person in another
    fold than {subject: fold} says: one that the one tests could be trained on in the other. Where
    it is not built, or has no folds.csv, nothing is checked."""
    for subject, fold in moved(base, fold_of)[:1]:
        raise SystemExit(f'{base} has {subject} in fold {fold}, and here it would be in fold '
                         f'{fold_of[subject]}: give the SPLIT that {base} was built with, or '
                         'remove that first.')


def moved(base, fold_of):
    """[(person, fold there)] of those whom the build in folder `base`, if there is one with a
    folds.csv, has in another fold than {subject: fold} (or None) says."""
    path = os.path.join(base, 'folds.csv')
    if not fold_of or not os.path.isfile(path):
        return []
    there = [(spreadsheet.unquote(subject or ''), fold)
             for _, (subject, fold) in read_columns(path, ['subject', 'fold'], 'folds')]
    return [(subject, fold) for subject, fold in there if fold != str(fold_of.get(subject, fold))]


def read_folds(path, subjects):
    """{subject: fold} of the persons named, from somebody's folds.csv.

    Other persons in it are passed over. SystemExit, with the line, unless it gives every person one
    fold in 0..9 and every fold a person.
    """
    folds = {}
    for line, (subject, fold) in read_columns(path, ['subject', 'fold'], 'folds'):
        where, subject = f'{path}, line {line}', spreadsheet.unquote(subject or '')
        if fold not in map(str, range(FOLDS)):
            raise SystemExit(f'{where}: fold {fold!r} of {subject} is not one of 0..{FOLDS - 1}.')
        if subject in folds:
            raise SystemExit(
                f'{where}: {subject} is there a second time; a person is in one fold only.')
        folds[subject] = int(fold)

    missing = sorted(set(subjects) - set(folds), key=ascending)
    if missing:
        names.check_spellings([*missing, *folds], 'subjects', f'{path} and the set')
        more = f' and {len(missing) - 8} more' if len(missing) > 8 else ''
        raise SystemExit(f'{path} has no fold for {", ".join(missing[:8])}{more}.')

    # A fold whose people are all left out of the set would have nothing to test.
    folds = {subject: folds[subject] for subject in subjects}
    empty = sorted(set(range(FOLDS)) - set(folds.values()))
    if empty:
        raise SystemExit(
            f'{path} leaves fold {", ".join(map(str, empty))} without a person of this set: give '
            f'each of the folds 0..{FOLDS - 1} at least one of its {len(folds)} people.')
    return folds
