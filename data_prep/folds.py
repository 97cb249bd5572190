"""Ten folds with no person in two of them: persons in ascending ID, fold = position mod 10 (Section
4 of the paper: "sampling in ID ascending order with ten even intervals"). And one split where the
set ships its own, or where the people are the classes: then within each of them."""
import collections
import csv
import re

FOLDS = 10


def ascending(subject):
    """Sort key for IDs, so that S2 comes before S10 as well as S002 before S010; no two IDs have
    the same."""
    parts = re.split('([0-9]+)', subject)
    return [(int(part), '') if part.isdecimal() else (-1, part) for part in parts if part], subject


def assign(subjects):
    """{subject: fold 0..9} of the persons named; SystemExit for fewer than ten."""
    persons = sorted(set(subjects), key=ascending)
    if len(persons) < FOLDS:
        raise SystemExit(
            f'{len(persons)} people are too few for {FOLDS} folds without a person in two of '
            f'them: at least {FOLDS} are needed.')
    return {person: position % FOLDS for position, person in enumerate(persons)}


def split_by_person(rows, fold_of):
    """[(train, test)] for fold 0..9: a fold tests the rows of its people, and trains on all
    others."""
    return [([row for row in rows if fold_of[row['subject']] != fold],
             [row for row in rows if fold_of[row['subject']] == fold]) for fold in range(FOLDS)]


def split_as_given(rows):
    """[(train, test)], one only, by each row's own `split`; SystemExit where one of the two is
    empty."""
    parts = [[row for row in rows if row['split'] == part] for part in ('train', 'test')]
    for part, own in zip(('train', 'test'), parts):
        if not own:
            raise SystemExit(f'The split that the set ships leaves no usable image for {part}.')
    return [tuple(parts)]


def split_within_person(rows):
    """[(train, test)], one only: every tenth row of a person is for the test, of fewer than ten the
    last.

    A person needs two rows, to be in both parts.
    """
    rows_of = collections.defaultdict(list)
    for row in rows:
        rows_of[row['subject']].append(row)
    parts = [], []
    for own in rows_of.values():
        for position, row in enumerate(own, 1):
            parts[position % min(len(own), 10) == 0].append(row)
    return [parts]


def write(path, folds):
    """Writes {subject: fold} as folds.csv."""
    with open(path, 'w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(['subject', 'fold'])
        writer.writerows((subject, folds[subject]) for subject in sorted(folds, key=ascending))


def columns_of(path, names, what):
    """Yields (line, the text of each named column, None where the row has none) of a CSV that a
    person wrote; SystemExit where it lacks one, or cannot be read as `what`."""
    try:
        with open(path, newline='', encoding='utf-8-sig') as file:
            table = csv.DictReader(file)
            if not set(names) <= set(table.fieldnames or []):
                raise SystemExit(
                    f'{path}, line 1: expected the columns {",".join(names)}, '
                    f'got {ascii(",".join(table.fieldnames or []))[1:-1][:60] or "nothing"}.')
            for row in table:
                yield table.line_num, [row[name] for name in names]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SystemExit(f'{path} cannot be read as {what}: {error}.') from None


def read(path, subjects):
    """{subject: fold} of the persons named, from somebody's folds.csv; other persons in it are
    passed over.

    SystemExit, with the line, unless it gives every person one fold in 0..9 and every fold a
    person.
    """
    folds = {}
    for line, (subject, fold) in columns_of(path, ['subject', 'fold'], 'folds'):
        if fold not in map(str, range(FOLDS)):
            raise SystemExit(
                f'{path}, line {line}: fold {fold!r} of {subject} is not one of 0..{FOLDS - 1}.')
        if subject in folds:
            raise SystemExit(
                f'{path}, line {line}: {subject} is there a second time; a person is in one fold only.'
            )
        folds[subject] = int(fold)
    missing = sorted(set(subjects) - set(folds), key=ascending)
    if missing:
        raise SystemExit(f'{path} has no fold for {", ".join(missing[:8])}'
                         f'{" and %d more" % (len(missing) - 8) if len(missing) > 8 else ""}.')
    folds = {subject: folds[subject] for subject in subjects}
    empty = sorted(set(range(FOLDS)) - set(folds.values()))
    if empty:
        raise SystemExit(
            f'{path} leaves fold {", ".join(map(str, empty))} without a person of this set.')
    return folds
