"""The tables against hand-computed values, scipy, sklearn and a bootstrap that draws one sample at
a time."""
import csv
import itertools
import json
import math
import statistics
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn import discriminant_analysis, metrics

from data_prep import spreadsheet
from tools import tables
from tools.core import intervals, markdown, titles

CLASSES = ['anger', 'happy', 'surprise']
COLUMNS = [
    'variant', 'fold', 'seed', 'iterations', 'subject', 'sequence', 'frame', 'truth', 'predicted'
]


def images(variant, fold, subject, right, wrong=0, seed=1, sequence='001', truth='anger', first=1):
    """Rows of a person's images in a run: so many right ones, then so many wrong ones."""
    iterations = 0 if variant in ('hog', 'lbp') else 300
    return [(variant, fold, seed, iterations, subject, sequence, first + i, truth,
             truth if i < right else 'surprise') for i in range(right + wrong)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A function that makes rows the results of a data set in an empty working directory, and reads
    them."""
    monkeypatch.chdir(tmp_path)

    def write(rows, dataset='demo'):
        Path('runs', dataset).mkdir(parents=True, exist_ok=True)
        with open(Path('runs', dataset, 'results.csv'), 'w', newline='') as file:
            table = csv.writer(file, lineterminator='\n')
            table.writerow([*COLUMNS, *map(spreadsheet.quote, CLASSES)])
            for row in rows:
                scores = [int(name == row[-1]) for name in CLASSES]
                table.writerow([*map(spreadsheet.quote, row), *scores])
        return tables.read_rows(dataset)[0]
    return write


def line(table, name):
    return next(row for row in table.rows if next(iter(row.values())) == name)


def accuracy(rows, variant='cnn', dataset='demo'):
    return line(tables.accuracy_table(dataset, rows, [variant]), titles.title(variant))


def test_who_is_in_training_and_test_is_told(place):
    rows = place(images('cnn', 0, 'A', 3, 1))

    def note(dataset='demo'):
        return tables.accuracy_table(dataset, rows, ['cnn']).notes[2]
    assert note().endswith('Nobody is in training and test of a fold.')
    fold = Path('data/demo/fold0')
    fold.mkdir(parents=True)
    (fold / 'train.csv').write_text('subject\nA\nB\n')
    (fold / 'test.csv').write_text('subject\nC\n')
    assert note().endswith('Nobody is in training and test of a fold.')
    (fold / 'test.csv').write_text('subject\nB\nC\n')
    assert '1 people are in training and test of a fold' in note() and 'Nobody' not in note()
    assert note('fer2013').endswith('Who is on a picture is not known: each counts as a person.')


def test_accuracy_of_a_hand_computed_sweep(place):
    rows = place(
        images('cnn', 0, 'A', 3, 1) + images('cnn', 0, 'B', 2, 0) + images('cnn', 1, 'C', 1, 1) +
        images('cnn', 2, 'D', 1, 3, truth='happy'))
    row = accuracy(rows)
    folds = [100 * 5 / 6, 100 * 1 / 2, 100 * 1 / 4]
    assert row['accuracy'] == pytest.approx(sum(folds) / 3)
    assert row['sd'] == pytest.approx(statistics.stdev(folds))
    assert row['over images'] == pytest.approx(100 * 7 / 12)
    assert row['balanced'] == pytest.approx(100 * (6 / 8 + 1 / 4) / 2)
    assert [row[name] for name in ('folds', 'people', 'images', 'seeds', 'iterations')] == [
        '3 of 10 *', 4, 12, '1', '300']


def test_of_several_seeds_every_image_counts_by_its_mean(place):
    """Fold 0 was run with two seeds, fold 1 with one: its image must not count half."""
    rows = place(images('cnn', 0, 'A', 2, 0) + images('cnn', 0, 'A', 1, 1, seed=2)
                 + images('cnn', 1, 'B', 0, 2))
    row = accuracy(rows)
    assert row['over images'] == pytest.approx(100 * (2 + 1) / 2 / 4)
    assert row['accuracy'] == pytest.approx((75 + 0) / 2)
    assert row['balanced'] == row['over images'] and row['images'] == 4 and row['seeds'] == '1, 2'


def test_balanced_accuracy_and_recalls_are_those_of_sklearn(place):
    random = np.random.RandomState(0)
    rows = place([('cnn', i % 3, 1, 300, f'S{i % 7}', '001', i, CLASSES[random.choice(
        3, p=[0.6, 0.3, 0.1])], CLASSES[random.randint(3)]) for i in range(200)])
    truth, predicted = (tables.predictions.read_results('runs/demo/results.csv')[name]
                        for name in ('truth', 'predicted'))
    expected = 100 * metrics.balanced_accuracy_score(truth, predicted)
    assert accuracy(rows)['balanced'] == pytest.approx(expected)
    recall = line(tables.recall_table(rows, ['cnn'], CLASSES), 'CNN')
    assert [recall[name] for name in CLASSES] == pytest.approx(
        100 * metrics.recall_score(truth, predicted, labels=CLASSES, average=None))


def test_what_was_not_run_or_not_whole_says_so(place):
    Path('data/demo/fold0').mkdir(parents=True)
    Path('data/demo/fold1').mkdir()
    rows = place(images('cnn', 0, 'A', 2) + images('cnn', 1, 'B', 1) + images('s1r1', 1, 'B', 1)
                 + images('cnn', 1, 'B', 1, seed=2) + images('s0r0', 0, 'A', 2))
    table = tables.accuracy_table('demo', rows, list(titles.LISTED))
    assert [row['variant'] for row in table.rows if row['accuracy'] == 'not run'] == [
        'HOG + linear SVM', 'LBP + linear SVM', 'metric-learning CNN', 'GCNet S1R0', 'GCNet S0R1']
    assert line(table, 'CNN')['folds'] == '2 of 2 *' and line(table,
                                                              'GCNet S1R1')['folds'] == '1 of 2 *'
    assert any('CNN (seed 1: fold 0, 1; seed 2: fold 1), ' in note for note in table.notes)
    assert intervals.difference(rows, 's1r0', 'cnn')['difference'] == 'not run'
    assert intervals.difference(rows, 's1r1', 's0r0')['difference'] == 'no common run'
    assert line(tables.recall_table(rows, ['metric'], CLASSES),
                'metric-learning CNN')['anger'] == 'not run'
    first = (rows['variant'] == 'cnn') & (rows['seed'] == 1)
    whole = tables.accuracy_table('demo', intervals.take(rows, first), ['cnn'])
    assert whole.rows[0]['folds'] == '2 of 2' and not any('incomplete' in note
                                                          for note in whole.notes)


def test_a_difference_is_of_the_folds_and_seeds_that_both_have(place):
    rows = place(
        images('cnn', 0, 'A', 1, 3) + images('cnn', 0, 'B', 2, 0) + images('cnn', 1, 'C', 0, 9) +
        images('cnn', 0, 'A', 0, 4, seed=2) + images('cnn', 0, 'B', 0, 2, seed=2) +
        images('s1r1', 0, 'A', 4, 0) + images('s1r1', 0, 'B', 1, 1) + images('s1r1', 2, 'D', 9, 0))
    row = intervals.difference(rows, 's1r1', 'cnn')
    assert row['difference'] == pytest.approx(100 * (5 - 3) / 6)
    assert (row['people'], row['differing'], row['folds'], row['seeds'], row['p']) == (2, 2, 1, '1',
                                                                                       None)
    assert (row['low'], row['high']) == (pytest.approx(-50), pytest.approx(75))  # B twice, A twice


def test_a_difference_over_two_seeds_is_their_mean(place):
    rows = place(images('s1r1', 0, 'A', 3, 1, seed=1) + images('cnn', 0, 'A', 1, 3, seed=1)
                 + images('s1r1', 0, 'A', 2, 2, seed=2) + images('cnn', 0, 'A', 2, 2, seed=2))
    row = intervals.difference(rows, 's1r1', 'cnn')
    assert row['difference'] == pytest.approx(100 * (2.5 - 1.5) / 4) and row['seeds'] == '1, 2'
    assert row['low'] is None  # one person has no spread


def people(sizes, seed=0, spread=0):
    """People of folds of these sizes, who have 1 to 20 images each; spread: how much the networks
    of the folds differ."""
    random = np.random.RandomState(seed)
    folds = np.repeat(np.arange(len(sizes)), sizes)
    total = random.randint(1, 21, len(folds))
    better = np.clip(0.8 + spread * random.normal(size=len(sizes)), 0, 1)[folds]
    gain = random.binomial(total, better) - random.binomial(total, 0.7)
    return intervals.People(gain.astype(float), total, folds)


def draw_slowly(folds, draws, seed):
    """So many draws, one at a time: lists of the people drawn, folds first, then people in each."""
    members = [[i for i, own in enumerate(folds) if own == fold] for fold in sorted(set(folds))]
    most = max(map(len, members))
    of_folds, of_people = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(2))
    for _ in range(draws):
        drawn = []
        for own in [members[int(of_folds.integers(len(members)))] for _ in members]:
            shares = [of_people.random() for _ in range(most)]
            drawn += [own[int(share * len(own))] for share in shares[:len(own)]]
        yield drawn


def test_bootstrap_is_that_of_a_slow_loop(monkeypatch):
    own = people([9, 4, 10])
    ratios = sorted(sum(own.gain[i] for i in drawn) / sum(own.total[i] for i in drawn)
                    for drawn in draw_slowly(own.folds, 500, 5))
    expected = [ratios[i] + part * (ratios[i + 1] - ratios[i])
                for i, part in ((12, 0.475), (486, 0.525))]
    np.testing.assert_allclose(intervals.bootstrap(own, 500, 5), expected, rtol=1e-12)
    shuffled = np.random.RandomState(3).permutation(9)  # people of a fold are all the same to it
    order = [*shuffled, *range(9, 23)]
    again = intervals.People(*(values[order] for values in own))
    assert np.std(intervals.draw_ratios(again, 500, 5)) == pytest.approx(np.std(ratios), rel=0.2)
    monkeypatch.setattr(intervals, 'BLOCK', 100)  # three draws at once
    np.testing.assert_allclose(intervals.bootstrap(own, 500, 5), expected, rtol=1e-12)


def test_folds_may_stand_in_any_order():
    own = people([5, 7, 6])
    mixed = np.random.RandomState(0).permutation(18)
    mixed = mixed[np.argsort(own.folds[mixed] == 1, kind='stable')]  # fold 1 last, others mixed
    low, high = intervals.bootstrap(own)
    again = intervals.bootstrap(intervals.People(*(values[mixed] for values in own)))
    assert again == pytest.approx((low, high), abs=0.04 * (high - low))


def test_difference_of_balanced_accuracies_is_that_of_sklearn_drawn_one_at_a_time(
        place, monkeypatch):
    monkeypatch.setattr(intervals.bootstrap, '__defaults__', (300, intervals.SEED))
    random = np.random.default_rng(3)
    rows = []
    for person in range(12):
        for truth, n in (('anger', 6), ('happy', 1 + person % 3), ('surprise', person == 0)):
            for variant, right, seed in (('cnn', 0.5, 1), ('s1r1', 0.8, 1), ('cnn', 0.6, 2),
                                         ('s1r1', 0.7, 2)):
                if person % 2 and seed == 2:
                    continue
                named = images(variant, person % 2, f'S{person:02d}', n, sequence=truth,
                               truth=truth, seed=seed)
                rows += [
                    row if random.random() < right else
                    (*row[:-1], 'happy' if truth == 'anger' else 'anger') for row in named
                ]
    found = place(rows)
    row = intervals.balanced_difference(found, 's1r1', 'cnn')

    def minus(people):
        score = {}
        for variant in ('s1r1', 'cnn'):
            drawn = [
                row for person in people for row in rows
                if row[0] == variant and row[4] == f'S{person:02d}'
            ]
            score[variant] = metrics.balanced_accuracy_score(
                [row[7] for row in drawn], [row[8] for row in drawn],
                sample_weight=[1 if row[1] else 0.5 for row in drawn])
        return 100 * (score['s1r1'] - score['cnn'])

    assert row['balanced difference'] == pytest.approx(minus(range(12)))
    by_fold = [*range(0, 12, 2), *range(1, 12, 2)]  # the order of the people
    drawn = [[by_fold[i] for i in people]
             for people in draw_slowly([0] * 6 + [1] * 6, 300, intervals.SEED)]
    assert any(0 not in people for people in drawn)  # a draw without a surprise
    low, high = np.percentile([minus(people) for people in drawn], [2.5, 97.5])
    assert [row['its low'], row['its high']] == pytest.approx([low, high])
    table = tables.baseline_table(found, ['cnn', 's1r1', 'hog'])
    assert line(table, 'GCNet S1R1')['its low'] == row['its low'] and line(
        table, 'HOG + linear SVM')['its low'] is None
    monkeypatch.setattr(intervals, 'BLOCK', 100)  # two draws at once
    assert intervals.balanced_difference(found, 's1r1', 'cnn') == pytest.approx(row)


def normal_interval(own):
    """The interval of a ratio of sums over two stages, by the variance of its linear part: between
    the folds' sums, and within each fold between its people."""
    ratio = own.gain.sum() / own.total.sum()
    parts = [(own.gain - ratio * own.total)[own.folds == fold] for fold in np.unique(own.folds)]
    between = np.var([part.sum() for part in parts])
    within = np.mean([len(part) * part.var() for part in parts])
    error = math.sqrt(len(parts) * (between + within)) / own.total.sum()
    return ratio - 1.96 * error, ratio + 1.96 * error


@pytest.mark.parametrize('spread', [0, 0.05, 0.2])
def test_bootstrap_agrees_with_the_normal_approximation(spread):
    own = people([15] * 40, spread=spread)
    expected = normal_interval(own)
    found = intervals.bootstrap(own)
    assert found == pytest.approx(expected, abs=0.03 * (expected[1] - expected[0]))
    np.testing.assert_array_equal(intervals.bootstrap(own), found)  # seeded


def test_bootstrap_of_one_fold_is_over_its_people():
    own = people([600])
    expected = normal_interval(own)
    assert intervals.bootstrap(own) == pytest.approx(expected,
                                                     abs=0.03 * (expected[1] - expected[0]))


def test_an_interval_covers_the_truth_as_often_as_it_says_and_one_over_people_alone_does_not():
    """Worlds of twenty folds of 30 people, whose networks differ; the true difference is 10
    points."""
    random, covered = np.random.RandomState(1), dict(folds=0, people=0)
    for world in range(120):
        networks = np.repeat(0.1 + 0.08 * random.normal(size=20), 30)
        own = intervals.People(networks + 0.2 * random.normal(size=600), np.ones(600),
                               np.repeat(np.arange(20), 30))
        for name, of in (('folds', own), ('people', own._replace(folds=np.zeros(600, int)))):
            low, high = intervals.bootstrap(of, 400, world)
            covered[name] += low <= 0.1 <= high
    assert covered['folds'] > 0.88 * 120 and covered['people'] < 0.7 * 120


def test_signed_rank_is_that_of_the_textbook():
    """The normal approximation with its correction for ties, from the ranks."""
    differences = np.array([1, -1, 2, 3, 3, 0, 5, -2, 4, 6, 7, 0, 1]) / 21
    kept = np.array([d for d in differences if d])
    ranks, n = stats.rankdata(np.abs(kept)), len(kept)
    ties = sum(t ** 3 - t for t in np.unique(ranks, return_counts=True)[1])
    variance = n * (n + 1) * (2 * n + 1) / 24 - ties / 48
    z = (ranks[kept > 0].sum() - n * (n + 1) / 4) / math.sqrt(variance)
    p, differing = intervals.signed_rank(differences)
    assert differing == 11 and p == pytest.approx(2 * stats.norm.sf(abs(z)))
    noise = 1e-14 * np.arange(13)  # as sums of weights leave it
    assert intervals.signed_rank(differences + noise) == (p, differing)


def test_signed_rank_without_a_difference_or_with_few_people():
    assert intervals.signed_rank(np.zeros(30)) == (None, 0)
    assert intervals.signed_rank(np.array([1.] * 9 + [0.] * 9)) == (None, 9)
    p, _ = intervals.signed_rank(np.array([1.] * 10 + [0.] * 9))
    assert p == pytest.approx(2 * stats.norm.sf(math.sqrt(10)))


def test_every_pair_of_gcnets_says_what_differs(place):
    table = tables.parts_table(place(images('s0r0', 0, 'A', 1, 3) + images('s1r0', 0, 'A', 2, 2)
                                     + images('s0r1', 0, 'A', 3, 1) + images('s1r1', 0, 'A', 4)))
    assert {row['difference of']: (row['what differs'], row['difference'])
            for row in table.rows} == {
                'S1R0 - S0R0': ('+ contrast', 25), 'S0R1 - S0R0': ('+ reconstruction', 50),
                'S1R1 - S0R0': ('+ contrast, + reconstruction', 75),
                'S0R1 - S1R0': ('- contrast, + reconstruction', 25),
                'S1R1 - S1R0': ('+ reconstruction', 50), 'S1R1 - S0R1': ('+ contrast', 25)
            }


def test_the_papers_figures_stand_beside(place):
    """Typed again from Tables 2 to 5: CNN, S0R0, S1R0, S0R1, S1R1."""
    printed = {
        'ckplus7': '96.94 97.08 97.83 97.53 97.93', 'ckplus8': '95.47 95.74 96.75 96.50 97.28',
        'mmi': '77.68 76.20 78.86 77.00 81.53', 'oulu': '83.96 84.65 86.39 85.83 86.11'
    }
    for (dataset, values), number in zip(printed.items(), '2345'):
        rows = place(images('s1r1', 0, 'A', 1), dataset)
        table = tables.published_table(dataset, rows)
        shown = [markdown.cell('as published', row['as published']) for row in table.rows]
        assert shown[-5:] == values.split()
        assert [row['here'] for row in table.rows[-5:]] == ['not run'] * 4 + [100]
        assert any(f'Table {number}' in note for note in table.notes)
        assert any(
            'by its place it is S1R1' in note for note in table.notes) == (dataset == 'ckplus8')
    place(images('s1r1', 0, 'A', 1))
    assert not any('of the paper, whole' in table.title for table in tables.make_tables('demo'))


def test_the_literature_stands_beside_as_published(place):
    """Typed again from Tables 2 to 5: first method, last of the literature, and how many."""
    printed = {'ckplus7': ('LBP-TOP [27]', '88.99', '3D-CNN-DAP [18]', '92.4', 8),
               'ckplus8': ('AURF [16]', '92.22', 'Zero-bias CNN+AD [14]', '96.4', 3),
               'mmi': ('LBP-TOP [27]', '59.51', '3D-CNN-DAP [18]', '63.4', 8),
               'oulu': ('LBP-TOP [27]', '68.13', 'DTAGN-Joint [13]', '81.46', 6)}
    for dataset, (first, value, last, its_value, n) in printed.items():
        table = tables.published_table(dataset, place(images('cnn', 0, 'A', 1), dataset))
        literature = table.rows[:-5]
        assert len(literature) == n and all(row['here'] is None for row in literature)
        assert [(row['method'], row['as published']) for row in (literature[0], literature[-1])
                ] == [(first, value), (last, its_value)]
        assert any('iterations: the paper trains 300,000' in note for note in table.notes)


def test_beside_the_papers_accuracies_stands_accuracy_whatever_was_trained_for(place):
    """Balanced, both images are taken for the rare class; with its frequency both are not."""
    rows = images('cnn', 0, 'A', 1, truth='happy') + images('cnn', 0, 'A', 1, first=2)
    place(rows, 'mmi')
    path = Path('runs/mmi/results.csv')
    head, *_ = path.read_text().splitlines()
    path.write_text('\n'.join([head, 'cnn,0,1,300,A,001,1,happy,anger,0.5,0.4,0.1',
                               'cnn,0,1,300,A,001,2,happy,anger,0.5,0.4,0.1', '']))
    unknown = tables.make_tables('mmi')[1]
    cnn = unknown.rows[-5]
    assert cnn['here'] == 0 and any('is not known' in note for note in unknown.notes)
    Path('runs/mmi/cnn/fold0_seed1').mkdir(parents=True)
    write_settings(Path('runs/mmi/cnn/fold0_seed1'), settings={'balance': 1}, counts=[1, 9, 1])
    accuracy, published, *_ = tables.make_tables('mmi')
    assert published.rows[-5]['here'] == 100 and line(accuracy, 'CNN')['accuracy'] == 0
    assert not any('is not known' in note for note in published.notes)


def test_one_fold_and_one_seed_are_said(place):
    one = images('cnn', 0, 'A', 1, 1) + images('s1r1', 0, 'A', 2)
    notes = ' '.join(tables.baseline_table(place(one), ['s1r1']).notes)
    assert 'Of one fold' in notes and 'Of one seed' in notes
    two = []
    for fold, seed, variant in itertools.product((0, 1), (1, 2), ('cnn', 's1r1')):
        two += images(variant, fold, f'P{fold}', 1, seed=seed)
    notes = ' '.join(tables.baseline_table(place(two), ['s1r1']).notes)
    assert 'Of one fold' not in notes and 'Of one seed' not in notes


def test_tables_refuse_runs_of_data_that_is_gone(place, monkeypatch):
    rows = images('cnn', 0, 'A', 1)
    place(rows, 'mine')
    folder = Path('runs/mine/cnn/fold0_seed1')
    folder.mkdir(parents=True)
    (folder / 'run.json').write_text(json.dumps(
        dict(dataset='mine', variant='cnn', fold=0, seed=1, iterations=300, classes=CLASSES,
             data='of before')))
    assert 'data/mine' in refusal(tables.read_rows, 'mine')


def test_classes_of_any_name_stay_columns_and_cells(place, monkeypatch):
    """Class names that Markdown, a spreadsheet or the table itself takes for something else."""
    names = ['variant', 'p', 'low', 'a|b', '$\\frac$', '=1+1', '<b>', '\\', "'x"]
    monkeypatch.setitem(globals(), 'CLASSES', names)
    rows = place([(*row[:7], name, name) for name in names
                  for row in images('cnn', 0, 'A', 1, sequence=name)], 'mine')
    table = tables.recall_table(rows, ['cnn'], names)
    text = markdown.markdown(table)
    assert [row['variant'] for row in table.rows] == ['CNN']
    head, _, values = (line for line in text.splitlines() if line.startswith('|'))
    assert markdown.split_row(head) == ['variant', 'variant (class)', 'p (class)', 'low (class)',
                                        *names[3:]]
    assert markdown.split_row(values) == ['CNN', *['100.0'] * len(names)]
    html = markdown.as_html(text)
    assert '<b>' not in html and '&lt;b&gt;' in html and 'a|b</th>' in html
    with_cells = list(csv.DictReader(markdown.as_csv([table]).splitlines()))
    assert "'=1+1" in [row['column'] for row in with_cells]
    assert [spreadsheet.unquote(row['column']) for row in with_cells][3:] == names[3:]


@pytest.fixture
def depths(place, monkeypatch):
    """Runs on six images of one person, of depth 0.1 to 0.6: CNN misses the weakest and the
    strongest."""
    path = Path('depth.csv')
    lines = [f'A,001,0000000{i},0.{i}00\n' for i in range(7)]
    path.write_text(''.join(['subject,sequence,frame,depth\n', *lines]))
    monkeypatch.setattr(tables, 'DEPTH', path)
    single = [
        images('cnn', 0, 'A', int(i not in (1, 6)), int(i in (1, 6)), first=i) for i in range(1, 7)
    ]
    return place(list(itertools.chain(*single)) + images('s1r1', 0, 'A', 6))


def test_error_on_the_weakest_third(depths):
    table = tables.depth_table(depths, ['cnn', 's1r1', 'hog'])
    cnn, s1r1, hog = table.rows
    assert (cnn['error, weak'], cnn['error, others'], cnn['images, weak']) == (50, 25, 2)
    assert 'a depth of at most 0.267' in table.notes[0]
    assert (s1r1['error, weak'], s1r1['difference'], cnn['difference']) == (0, -50, None)
    assert hog['error, weak'] == hog['difference'] == 'not run'
    assert (s1r1["of the CNN's"], cnn["of the CNN's"], hog["of the CNN's"]) == (0, None, None)


def test_share_of_the_errors_of_two_people(place):
    rows = place(
        images('cnn', 0, 'A', 1, 2) + images('s1r1', 0, 'A', 2, 1) + images('cnn', 0, 'B', 2, 1) +
        images('s1r1', 0, 'B', 2, 1))
    line = intervals.share({**rows, 'value': 1 - rows['value']}, 's1r1', 'cnn')
    # draws: A A, A B, B B
    assert line == pytest.approx({"of the CNN's": 200 / 3, 'from': 50, 'to': 100})
    assert intervals.share(intervals.take(rows, rows['value'] == 2), 's1r1', 'cnn')['to'] is None


@pytest.mark.parametrize('people', [
    images('cnn', 0, 'A', 1, 2) + images('s1r1', 0, 'A', 2, 1),
    images('cnn', 0, 'A', 1, 2) + images('s1r1', 0, 'A', 2, 1) + images('cnn', 0, 'B', 3) +
    images('s1r1', 0, 'B', 2, 1)])
def test_a_share_of_nothing_in_some_draws_has_no_interval(place, people):
    rows = place(people)
    with np.errstate(all='raise', divide='ignore', invalid='ignore'):
        line = intervals.share({**rows, 'value': 1 - rows['value']}, 's1r1', 'cnn')
    assert line["of the CNN's"] in (50, 100) and line['from'] is line['to'] is None


def test_markdown_is_aligned_and_the_csv_has_every_value(place, monkeypatch, capsys):
    rows = images('cnn', 0, 'A', 1, 2) + images('vae', 0, 'A', 3) + images('hog', 1, 'B', 1)
    place(rows, 'mmi')
    monkeypatch.setattr(sys, 'argv', ['tables', '--dataset', 'mmi'])
    tables.main()
    text = Path('runs/mmi/tables.md').read_text()
    assert text in capsys.readouterr().out and 'python3 -m tools.tables --dataset mmi' in text
    for part in text.split('\n## ')[1:]:
        assert len({len(row) for row in part.splitlines() if row.startswith('|')}) == 1
    assert '| CNN                 |     33.3 |' in text
    assert '| vae                 |    100.0 |' in text  # a variant of somebody else's
    with open('runs/mmi/tables.csv', newline='') as file:
        values = {(row['table'].split()[0], row['row'], row['column']): row['value']
                  for row in csv.DictReader(file)}
    assert float(values['Accuracy', 'CNN', 'accuracy']) == pytest.approx(100 / 3, abs=1e-9)
    assert float(values['Difference', 'vae', 'difference']) == pytest.approx(200 / 3)
    assert values['Table', 'GCNet S1R1', 'as published'] == '81.53'
    assert ('Accuracy', 'CNN', 'sd') not in values


def test_numbers_as_text():
    assert [markdown.cell('p', p) for p in (0.0004, 0.04567, None)] == ['<0.001', '0.046', '-']
    values = [('low', 2.345), ('low', -2.0), ('as published', 96.5), ('sd', 0.04), ('people', 7)]
    assert [markdown.cell(*value) for value in values] == ['+2.3', '-2.0', '96.50', '0.0', '7']


def write_settings(folder, **settings):
    """A run.json with what every one has, and these."""
    needed = dict(dataset='wild', variant=folder.parent.name, fold=0, seed=1, iterations=300,
                  classes=['anger', 'happy', 'surprise'])
    (folder / 'run.json').write_text(json.dumps({**needed, **settings}))


def test_frequencies_are_bayes_rule_with_the_training_set_as_prior(place, monkeypatch):
    """`balance` b leaves p / prior^b, to a factor a row, as probability: the classifier of p is
    that of sklearn's priors."""
    random = np.random.default_rng(0)
    truth = random.choice(3, 60, p=[0.1, 0.8, 0.1])
    mean = np.array([-1., 0., 1.])
    x = mean[truth] + random.normal(size=60)
    equal, skewed = (discriminant_analysis.LinearDiscriminantAnalysis(priors=priors).fit(
        np.r_[mean + 1, mean - 1].reshape(-1, 1), [0, 1, 2, 0, 1, 2])
                     for priors in ([1 / 3] * 3, [0.1, 0.8, 0.1]))
    rows = []
    for variant, fold, balance, counts in (('cnn', 0, 1, [20, 160, 20]), ('s1r1', 0, 0, [
            20, 160, 20
    ]), ('cnn', 1, 1, [5, 5, 5])):
        named = [(variant, fold, 1, 300, f'S{i}', '001', 1, CLASSES[truth[i]],
                  CLASSES[equal.predict(x[i:i + 1, None])[0]]) for i in range(60)]
        rows += [[*row, *probabilities]
                 for row, probabilities in zip(named, equal.predict_proba(x[:, None]))]
        folder = Path('runs/wild', variant, f'fold{fold}_seed1')
        folder.mkdir(parents=True)
        write_settings(folder, settings={'balance': balance}, counts=counts)
    with open('runs/wild/results.csv', 'w', newline='') as file:
        csv.writer(file, lineterminator='\n').writerows([[*COLUMNS, *CLASSES], *rows])
    right = {
        run: net.predict(x[:, None]) == truth
        for run, net in ((('cnn', 0), skewed), (('s1r1', 0), equal), (('cnn', 1), equal))
    }
    assert right['cnn', 0].sum() != right['cnn', 1].sum()
    found = tables.read_rows('wild', frequencies=True)[0]
    for variant, fold in right:
        own = (found['variant'] == variant) & (found['fold'] == fold)
        np.testing.assert_array_equal(found['value'][own], right[variant, fold])
    monkeypatch.setattr(sys, 'argv', ['tables', '--dataset', 'wild', '--frequencies'])
    tables.main()
    assert '--frequencies' in Path(
        'runs/wild/tables_frequencies.md').read_text() and not Path('runs/wild/tables.md').exists()
    (folder / 'run.json').unlink()
    assert 'cnn/fold1_seed1/run.json is missing' in refusal(tables.read_rows, 'wild', True)


def test_a_longer_name_than_any_predicted_is_not_cut(place):
    place([(*images('cnn', 0, 'A', 1, truth='surprise')[0][:-1], 'happy')], 'wild')
    text = Path('runs/wild/results.csv').read_text().replace(',0,1,0', ',0,0.5,0.4')
    Path('runs/wild/results.csv').write_text(text)
    Path('runs/wild/cnn/fold0_seed1').mkdir(parents=True)
    write_settings(Path('runs/wild/cnn/fold0_seed1'), settings={'balance': 1}, counts=[1, 1, 9])
    assert tables.read_rows('wild')[0]['value'] == [0] and tables.read_rows(
        'wild', frequencies=True)[0]['value'] == [1]


def test_runs_of_unequal_length_are_said(place):
    rows = images('cnn', 0, 'A', 1) + images('hog', 0, 'A', 1)
    assert 'equally long' not in str(tables.accuracy_table('demo', place(rows), ['cnn']).notes)
    rows += [(*row[:3], 40, *row[4:]) for row in images('s1r1', 0, 'A', 1)]
    assert 'equally long' in str(tables.accuracy_table('demo', place(rows), ['cnn']).notes)


@pytest.mark.parametrize('other, names', [
    (dict(settings={'margin': 2}), 'margin'), (dict(base_lr=0.1), 'LR'),
    (dict(command="python3 -m tools.train --fold 1 '--weights=b_{fold}'"), 'WEIGHTS'),
    (dict(weights=['a_1'], command="python3 -m tools.train --fold 1 --weights 'a_{fold}'"), '')])
def test_the_mean_of_different_experiments_is_no_experiment(place, other, names):
    rows = place(images('cnn', 0, 'A', 1) + images('cnn', 1, 'B', 1) + images('s1r1', 0, 'A', 1))
    common = dict(settings={'margin': 1}, weights=['a_0'],
                  command="python3 -m tools.train --fold 0 --weights 'a_{fold}'")
    for run, told in (('cnn/fold0_seed1', common), ('cnn/fold1_seed1', {**common, **other}),
                      ('s1r1/fold0_seed1', dict(settings={'margin': 3}))):
        Path('runs/demo', run).mkdir(parents=True)
        write_settings(Path('runs/demo', run), **told)
    last = tables.accuracy_table('demo', rows, ['cnn', 's1r1']).notes[-1]
    assert ('different experiments' in last) == bool(names)
    assert not names or last.endswith(f'whose settings differ: CNN ({names}).')


def refusal(function, *arguments):
    with pytest.raises(SystemExit) as error:
        function(*arguments)
    message = str(error.value)
    assert '\n' not in message and message.endswith('.')
    return message


def test_refusals(place, depths):
    assert 'runs/oulu/results.csv is missing' in refusal(tables.read_rows, 'oulu')
    assert 'results.csv holds no prediction' in refusal(place, [])
    rows = place(images('cnn', 0, 'A', 1, sequence='002'))
    assert 'depth.csv has no depth of A/002/1' in refusal(tables.depth_table, rows, ['cnn'])
    rows = place(images('cnn', 0, 'A', 2) + images('s1r1', 0, 'A', 2, first=2))
    assert 's1r1 and cnn were not tested on the same' in refusal(intervals.difference, rows, 's1r1',
                                                                 'cnn')
    Path('data/demo/fold0').mkdir(parents=True)
    Path('data/demo/classes.txt').write_text(''.join(f'{name}\n' for name in CLASSES))
    Path('data/demo/fold0/test.csv').write_text(
        'subject,sequence,frame,expression\nB,001,1,anger\n')
    assert 'A 001 1 anger is not in data/demo/fold0/test.csv' in refusal(
        place, images('cnn', 0, 'A', 1))
    place(images('cnn', 0, 'B', 1))
