"""The account of a build: what became of each sequence or picture of a data set, and what makes its
figures mean less."""
import collections
import csv
import hashlib

from data_prep import datasets, folds, spreadsheet

NAMED = 20  # sequences left out that are named one by one in the printed account
FEW = 5     # people a class below which the account warns


def write(path, rows, splits, report):
    """Writes the CSV that says of each sequence (or image) what became of it, and why."""
    used, apart = used_and_apart(rows, splits)
    with open(path, 'w', newline='', encoding='utf-8') as file:
        table = csv.writer(file, lineterminator='\n')
        table.writerow([report['unit'], 'outcome', 'reason'])
        lines = [('/'.join(name), 'used', '') for name in sorted(used)]
        lines += [('/'.join(name), 'set aside', 'test part') for name in sorted(apart)]
        lines += [(name, 'unlabelled', '') for name in report['unlabelled']]
        lines += [(name, 'left out', reason) for name, reason in report['left_out']]
        table.writerows(map(spreadsheet.quote, line) for line in lines)


def used_and_apart(rows, splits):
    """({(subject, sequence)} that a fold trains or tests on, {(subject, sequence)} of the test part
    that is set aside for a validation part)."""
    everything = {(row['subject'], row['sequence']) for row in rows}
    used = {(row['subject'], row['sequence'])
            for parts in splits for part in parts for row in part}
    return used, everything - used


def tell(dataset, rows, splits, classes, report):
    """The account of a build: a table as text, and the loader's note."""
    used, apart = used_and_apart(rows, splits)
    rows = [row for row in rows if (row['subject'], row['sequence']) in used]
    images = {path for row in rows for path in (row['path'], row['reference'])} - {None}
    reasons = collections.Counter(reason.split(': ')[0] for _, reason in report['left_out'])

    lines = [(f'{report["unit"]} found', report['found']), ('used', len(used)),
             ('unlabelled', len(report['unlabelled'])), ('left out', len(report['left_out']))]
    lines += [(f'  {reason}', number) for reason, number in sorted(reasons.items())]
    if apart:
        lines.append(('set aside, the test part', len(apart)))
    lines += [('people', len({row['subject'] for row in rows})), ('images', len(images)),
              ('pairs', len(rows))]
    counts = {**report['counts'],
              'pairs without a reference': sum(row['reference'] is None for row in rows),
              'people in both parts of the split': len(in_both_parts(dataset, rows))}
    lines += [(text, number) for text, number in counts.items() if number]
    if not datasets.of_people(dataset):
        count = collections.Counter(row['expression'] for row in rows)
        lines += [(f'  {name}', count[name]) for name in classes]

    note = f'{report["note"]}\n' if report.get('note') else ''
    return ''.join(f'{name:<42}{number:>7}\n' for name, number in lines) + note


def in_both_parts(dataset, rows):
    """The people who are in both parts of the split that a set ships; [] where the set does not say
    who is on its pictures."""
    if 'split' not in rows[0] or not datasets.knows_people(dataset):
        return []
    train, test = ({row['subject'] for row in rows if row['split'] == part}
                   for part in ('train', 'test'))
    return sorted(train & test, key=folds.ascending)


def tell_warnings(dataset, rows, splits, classes, crop_of):
    """A sentence for each thing that makes the figures of a build mean less; '' for none.

    classes: also those of which nothing could be used; crop_of(path): a picture's crop.
    """
    lines, everything = same_pictures(dataset, splits, crop_of), rows
    used, _ = used_and_apart(rows, splits)
    rows = [row for row in rows if (row['subject'], row['sequence']) in used]
    if all(row['reference'] is None for row in rows):
        lines.append('no pair has a reference, so a GCNet cannot learn from one how to draw the '
                     'reference face (Gen,r and Recon,r have nothing to compare with)')
    both = in_both_parts(dataset, rows)
    if both:
        lines.append(f'{tell_names(both)} in both parts of the split, so the test is not on people '
                     'who are new to the network')

    if not datasets.of_people(dataset):
        people = collections.defaultdict(set)
        for row in rows:
            people[row['expression']].add(row['subject'])
        few = [f'{name} ({len(people[name])})' for name in sorted(classes)
               if len(people[name]) < FEW]
        who = 'people' if datasets.knows_people(dataset) else 'pictures'
        if few:
            lines.append(f'fewer than {FEW} {who} show {", ".join(few)}, too few to train and test '
                         'on')
        untaught = [f'fold {fold} of {name}' for fold, (train, _) in enumerate(splits)
                    for name in sorted(classes - {row['expression'] for row in train})
                    if people[name]]
        if untaught:
            lines.append(f'no training picture has {some_of(untaught)}')

    sequences = len({(row['subject'], row['sequence']) for row in everything})
    persons = len({row['subject'] for row in everything})
    published = datasets.PUBLISHED.get(dataset)
    if published and published != (sequences, persons):
        lines.append(f'{sequences} sequences of {persons} people can be used, where the paper has '
                     f'{published[0]} of {published[1]}')
    return ''.join(f'Warning: {line}.\n' for line in lines)


def same_pictures(dataset, splits, crop_of):
    """Sentences on pictures that are there several times, the same to the pixel: in training and
    test of one fold, or under two people, or with two expressions."""
    shown = {}  # what is a picture of nothing, all of one grey, is like others and no copy
    for row in {row['path']: row for parts in splits for part in parts for row in part}.values():
        crop = crop_of(row['path'])
        if (crop != crop[0, 0]).any():
            shown[row['path']] = hashlib.blake2b(crop.tobytes(), digest_size=8).digest()

    lines, leaked, first = [], 0, None
    groups = collections.defaultdict(dict)
    for train, test in splits:
        trained = {shown[row['path']]: row['path'] for row in train if row['path'] in shown}
        again = [row['path'] for row in test if shown.get(row['path']) in trained]
        leaked += len(again)
        if again and first is None:
            first = f'{again[0]} is {trained[shown[again[0]]]}'
        for row in (*train, *test):
            if row['path'] in shown:
                groups[shown[row['path']]][row['path']] = row
    if leaked:
        lines.append(f'{leaked} of {sum(len(test) for _, test in splits)} test pictures are in the '
                     f'training of their fold as well, as others: {first}')

    columns = [('expression', 'expressions')]
    columns += [('subject', 'people')] * datasets.knows_people(dataset)
    for name, what in columns if not datasets.of_people(dataset) else ():
        twice = [group for group in groups.values()
                 if len({row[name] for row in group.values()}) > 1]
        if twice:
            told = ', '.join(f'{path} ({row[name]})' for path, row in sorted(twice[0].items()))
            number = '1 picture is' if len(twice) == 1 else f'{len(twice)} pictures are'
            lines.append(f'{number} there with two {what}, the first as {told}')
    return lines


def tell_names(found):
    """Names for a sentence, with its verb."""
    return f'{some_of(found)} {"is" if len(found) == 1 else "are"}'


def some_of(found):
    """All of a few names, else the first and how many more."""
    more = f' and {len(found) - NAMED} more' if len(found) > NAMED else ''
    return f'{", ".join(found[:NAMED])}{more}'


def tell_left_out(left_out):
    """A line a sequence (or person, or picture) left out, with the reason; beyond NAMED a count."""
    lines = [f'left out: {sequence}: {reason}\n' for sequence, reason in left_out[:NAMED]]
    if len(left_out) > NAMED:
        lines.append(f'left out: {len(left_out) - NAMED} more, all in account.csv\n')
    return ''.join(lines)
