"""What the tables of a data set say, in sentences: the bad news first."""
from data_prep import spreadsheet
from tools.core import markdown

ACCURACY = 'Accuracy in the test, %'
DIFFERENCE = 'Difference from the CNN, points'
WORDS = ('is behind', 'is level with', 'is ahead of')


def read_verdict(path, dataset):
    """Sentences from a tables.csv as tools.tables writes it: what is not to be quoted, who is
    behind the CNN, level with it, ahead of it, and what the intervals do not hold. SystemExit where
    it cannot be read."""
    values = {}
    for line, row in enumerate(spreadsheet.read_csv(path), 2):
        try:
            values.setdefault((row['table'], row['row']), {})[row['column']] = row['value']
        except KeyError:
            raise SystemExit(f'{path}, line {line} is no row of a table: run `make tables '
                             f'DATASET={dataset}` again.') from None

    accuracies = {name: row for (table, name), row in values.items() if table == ACCURACY}
    differences = {name: row for (table, name), row in values.items() if table == DIFFERENCE}
    compared = {name: row for name, row in differences.items() if 'low' in row and 'high' in row}
    partial = [name for name, row in accuracies.items() if row.get('folds', '').endswith('*')]

    sentences = []
    if partial:
        folds = accuracies[partial[0]]['folds'].rstrip(' *')
        sentences.append(f'Not to be quoted: {", ".join(partial)} '
                         f'{"was" if len(partial) == 1 else "were"} not tested on every fold '
                         f'({partial[0]}: {folds}).')
    if not compared:
        sentences.append(f'On {dataset} no method can be compared with the CNN: none was tested on '
                         'the same folds and seeds with at least two people.')
    try:
        said = [compare(name, row) for name, row in compared.items()]
    except ValueError as error:
        raise SystemExit(f'{path} holds a difference that is no number ({error}): run `make tables '
                         f'DATASET={dataset}` again.') from None
    said.sort(key=lambda pair: pair[0])  # bad news first; stable, so then as in the table
    sentences += [f'On {dataset} {sentence}' for _, sentence in said]
    return sentences + limits(compared.values())


def compare(name, row):
    """(how good the news is, a sentence) of a line of the table of differences from the CNN."""
    # Ahead or behind is only whose interval does not hold 0.
    state = place(row['low'], row['high'])
    sentence = (f'{name} {WORDS[state]} the CNN: {points(row["difference"])} points of accuracy, '
                f'95 % interval {points(row["low"])} to {points(row["high"])}.')
    worst = state
    if 'its low' in row and 'its high' in row:
        balanced = place(row['its low'], row['its high'])
        if balanced != state:
            worst = min(state, balanced)
            sentence += (f' By balanced accuracy it {WORDS[balanced]} the CNN: '
                         f'{points(row["balanced difference"])}, {points(row["its low"])} to '
                         f'{points(row["its high"])}.')
    # what is not a GCNet is ahead of the CNN: bad news for the method
    ours = name.startswith('GCNet')
    return (worst if ours else 2 - worst), sentence


def place(low, high):
    """The number in WORDS of a difference with this interval."""
    return 0 if float(high) < 0 else 2 if float(low) > 0 else 1


def points(text):
    """A difference as the tables show it, with a true minus sign."""
    return markdown.cell('difference', float(text)).replace('-', '−')


def limits(rows):
    """What the intervals of these lines do not hold."""
    rows, sentences = list(rows), []
    if any(row.get('folds') == '1' for row in rows):
        sentences.append('Where one fold was tested the intervals are of one network a method, and '
                         'another training could differ by more.')
    elif any(',' not in row.get('seeds', '') for row in rows):
        sentences.append('Of one seed each: what a second training with other random numbers would '
                         'change is not in the intervals.')
    return sentences
