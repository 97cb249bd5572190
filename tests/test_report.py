"""The report: what it says first, what it shows of whatever was named or damaged, and how."""
import csv
import html.parser
import json
import os
import random
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tools import report
from tools.core import markdown, run_folder, verdict

CLASSES = ['<script>alert(1)</script>', '$\\frac$', 'a|b & "c"']
VOID = {'meta', 'img', 'br'}


def add_run(variant, fold=0, dataset='mine', **changes):
    """A run folder with a result."""
    folder = run_folder.folder_of(dataset, variant, fold, 1)
    folder.mkdir(parents=True, exist_ok=True)
    run = dict(dataset=dataset, variant=variant, fold=fold, seed=1, iterations=5, classes=CLASSES,
               command='python3 -m tools.train --dataset "<i>"', settings=dict(gamma='<u>'))
    result = dict(dataset=dataset, variant=variant, fold=fold, seed=1, iterations=5, n=4,
                  accuracy=0.5, balanced_accuracy=0.25, recall=dict.fromkeys(CLASSES, 0.75),
                  classes=CLASSES)
    (folder / 'run.json').write_text(json.dumps(run))
    (folder / 'result.json').write_text(json.dumps({**result, **changes}))
    (folder / 'predictions.csv').touch()
    return folder


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make(monkeypatch, dataset='mine'):
    """Runs the program; the refusal where it ends in one, else None."""
    monkeypatch.setattr(sys, 'argv', ['report', '--dataset', dataset])
    try:
        report.main()
    except SystemExit as error:
        return str(error)


class Reader(html.parser.HTMLParser):
    """Reads a page; fails where an element is not closed in its turn."""
    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.rows = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == 'tr':
            self.rows.append([])
        if tag in ('td', 'th'):
            self.rows[-1].append('')

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ('td', 'th'):
            self.rows[-1][-1] += data


def write_tables(rows, dataset='mine'):
    """A tables.csv of {(table, row): {column: value}}."""
    Path('runs', dataset).mkdir(parents=True, exist_ok=True)
    with open(Path('runs', dataset, 'tables.csv'), 'w', newline='') as file:
        table = csv.writer(file, lineterminator='\n')
        table.writerow(['table', 'row', 'column', 'value'])
        table.writerows([*names, *pair] for names, of in rows.items() for pair in of.items())


def difference(low, high, its_low=None, its_high=None, folds=10, seeds='1, 2'):
    middle = (low + high) / 2
    its_low, its_high = (low, high) if its_low is None else (its_low, its_high)
    return {'difference': middle, 'low': low, 'high': high, 'folds': folds, 'seeds': seeds,
            'balanced difference': (its_low + its_high) / 2, 'its low': its_low,
            'its high': its_high}


def read(rows):
    write_tables({(verdict.DIFFERENCE, name): row for name, row in rows.items()})
    return verdict.read_verdict(Path('runs/mine/tables.csv'), 'mine')


def test_the_bad_news_comes_first():
    said = read({'HOG + linear SVM': difference(1, 3), 'LBP + linear SVM': difference(-9, -5),
                 'GCNet S0R0': difference(2, 4), 'GCNet S1R0': difference(-1, 4),
                 'GCNet S1R1': difference(-13.25, -7.05)})
    assert said == [
        'On mine HOG + linear SVM is ahead of the CNN: +2.0 points of accuracy, 95 % interval '
        '+1.0 to +3.0.',
        'On mine GCNet S1R1 is behind the CNN: −10.2 points of accuracy, 95 % interval '
        '−13.2 to −7.0.',
        'On mine GCNet S1R0 is level with the CNN: +1.5 points of accuracy, 95 % interval '
        '−1.0 to +4.0.',
        'On mine LBP + linear SVM is behind the CNN: −7.0 points of accuracy, 95 % interval '
        '−9.0 to −5.0.',
        'On mine GCNet S0R0 is ahead of the CNN: +3.0 points of accuracy, 95 % interval +2.0 to '
        '+4.0.']


def test_balanced_accuracy_is_said_where_it_says_otherwise():
    said = read({'GCNet S0R0': difference(1, 3), 'GCNet S1R1': difference(1, 3, -9, -2)})
    assert said[0].endswith('By balanced accuracy it is behind the CNN: −5.5, −9.0 to −2.0.')
    assert said[0].startswith('On mine GCNet S1R1') and 'balanced' not in said[1]


def test_what_a_verdict_is_not_worth():
    assert 'Of one seed each' in read({'GCNet S1R1': difference(1, 2, seeds='1')})[-1]
    assert 'one network a method' in read({'GCNet S1R1': difference(1, 2, folds=1, seeds='1')})[-1]
    write_tables({(verdict.ACCURACY, 'CNN'): {'folds': '1 of 10 *'},
                  (verdict.DIFFERENCE, 'GCNet S1R1'): {'difference': 'not run'}})
    assert verdict.read_verdict(Path('runs/mine/tables.csv'), 'mine') == [
        'Not to be quoted: CNN was not tested on every fold (CNN: 1 of 10).',
        'On mine no method can be compared with the CNN: none was tested on the same folds and '
        'seeds with at least two people.']


def test_the_page_is_whole_and_shows_every_name_as_it_is(monkeypatch, capsys):
    folder = add_run('s1r1')
    add_run('<img src=x>')
    write_tables({(verdict.DIFFERENCE, 'GCNet S1R1'): difference(-3, -1)})
    table = markdown.Table('Recall <b>', [{'variant': 'CNN', **dict.fromkeys(CLASSES, 50.)},
                                          {'variant': 'metric', **dict.fromkeys(CLASSES)}],
                           ['a `<note>`'])
    Path('runs/mine/tables.md').write_text('# Results on `mine`\n\n' + markdown.markdown(table))
    shutil.copy(Path(__file__).parents[1] / 'docs/demo_faces.png', folder / 'faces.png')
    assert make(monkeypatch) is None and 'report.html' in capsys.readouterr().out
    text = Path('runs/mine/report.html').read_text()
    page = Reader(text)

    assert not {tag for tag, _ in page.elements} & {'script', 'i', 'u', 'b', 'pre', 'note'}
    links = [value for _, attributes in page.elements for name, value in attributes.items()
             if name in ('src', 'href')]
    assert len(links) == 1 and links[0].startswith('data:image/png;base64,')
    assert page.rows[0] == ['variant', *CLASSES] and page.rows[1] == ['CNN'] + ['50.0'] * 3
    assert 'Not run: metric.' in text and '<code>&lt;note&gt;</code>' in text
    shown = ['GCNet S1R1, fold 0, seed 1', '5', '4', '50.0 %', '25.0 %', *['75.0 %'] * 3]
    assert shown in page.rows
    assert text.index('is behind the CNN') < text.index('Results on')
    assert ('meta', {'name': 'viewport', 'content': 'width=device-width, initial-scale=1'}
            ) in page.elements  # or a telephone shows it as wide as a desk


def test_what_is_older_than_the_last_test_is_left_out(monkeypatch):
    folder = add_run('s1r1')
    figures = Path('runs/mine/figures')
    figures.mkdir()
    table = markdown.markdown(markdown.Table('Table', [{'variant': 'CNN'}], []))
    for path in (Path('runs/mine/tables.md'), Path('runs/mine/probes.md')):
        path.write_text(f'# Page {path.stem}\n\n{table}')
    for name in 'figure4_depth.png', 'learning_curves.png':
        shutil.copy(Path(__file__).parents[1] / 'docs/demo_faces.png', figures / name)
    tested = (folder / 'result.json').stat().st_mtime
    for path, later in (('tables.md', 5), ('probes.md', -5), ('figures/figure4_depth.png', -5),
                        ('figures/learning_curves.png', 5)):
        os.utime(f'runs/mine/{path}', (tested + later, tested + later))
    assert make(monkeypatch) is None
    text = Path('runs/mine/report.html').read_text()
    assert 'Page tables' in text and 'Page probes' not in text
    assert text.count('<img') == 1
    assert 'older than the last test: probes.md, figure4_depth.png.' in text


def test_a_run_that_trains_on_and_a_copy_of_one_are_no_tested_runs(monkeypatch):
    folder = add_run('s1r1')
    shutil.copytree(folder, f'{folder}_old')
    longer = add_run('cnn')
    run = json.loads((longer / 'run.json').read_text())
    (longer / 'run.json').write_text(json.dumps({**run, 'iterations': 1000}))
    assert make(monkeypatch) is None
    rows = Reader(Path('runs/mine/report.html').read_text()).rows
    assert [row[0] for row in rows if 'fold' in row[0]] == ['GCNet S1R1, fold 0, seed 1']


def test_every_table_has_a_box_that_scrolls():
    text = markdown.as_html('| a |\n| -: |\n| 1 |\n\n| b |\n| -: |\n| 2 |')
    assert text.count('<div class="table"><table>') == 2
    assert re.search(r'\.table \{ overflow-x: auto', report.STYLE)


def mutants(result, n, seed=1):
    """Texts of a JSON file, each damaged in one place: cut, a byte changed, a value replaced."""
    chance = random.Random(seed)
    values = [None, True, -1, 1.5, 10 ** 400, float('nan'), float('inf'), '', 'x', [], {}, [[]],
              {'a': 1}, '\ud800', '<b>', [None], ['a', 1]]
    text = json.dumps(result)
    for i in range(n):
        if i % 3 == 0:
            yield text[:chance.randrange(len(text))]
        elif i % 3 == 1:
            place = chance.randrange(len(text))
            yield text[:place] + chance.choice('{}[]",:0aé\x00') + text[place + 1:]
        else:
            key, changed = chance.choice(list(result)), dict(result)
            if chance.random() < 0.2:
                del changed[key]
            else:
                changed[key] = chance.choice(values)
            yield json.dumps(changed)


def test_a_damaged_result_is_one_sentence_and_the_others_are_shown(monkeypatch, capsys):
    add_run('cnn')
    folder = add_run('s1r1')
    result = json.loads((folder / 'result.json').read_text())
    told = 0
    for text in mutants(result, 300):
        (folder / 'result.json').write_text(text)
        assert make(monkeypatch) is None
        sentences = capsys.readouterr().err.splitlines()
        assert len(sentences) <= 1
        if sentences:
            told += 1
            assert re.fullmatch(r'runs/mine/s1r1/fold0_seed1/result.json .*: run `make evaluate` '
                                r'.* It is left out of the report\.', sentences[0])
        page = Reader(Path('runs/mine/report.html').read_text())
        assert any('CNN, fold 0, seed 1' in row for row in page.rows)
    assert told > 150


def test_a_damaged_run_json_is_one_sentence_and_the_others_are_shown(monkeypatch, capsys):
    add_run('cnn')
    (add_run('s1r1') / 'run.json').write_text('{')
    assert make(monkeypatch) is None
    (sentence,) = capsys.readouterr().err.splitlines()
    assert 'runs/mine/s1r1/fold0_seed1/run.json cannot be read' in sentence
    assert sentence.endswith('It is left out of the report.')


def test_of_damaged_results_alone_there_is_no_page(monkeypatch):
    folder = add_run('s1r1')
    (folder / 'result.json').write_bytes(b'\xff\xfe')
    assert 'no tested run in runs/mine' in make(monkeypatch)
    assert not Path('runs/mine/report.html').exists()


def test_a_run_of_data_that_is_gone_is_left_out(monkeypatch, capsys):
    add_run('cnn')
    folder = add_run('s1r1')
    Path('data/mine').mkdir(parents=True)
    Path('data/mine/classes.txt').write_text('\n'.join(CLASSES))
    run = json.loads((folder / 'run.json').read_text())
    (folder / 'run.json').write_text(json.dumps({**run, 'data': 'of before'}))
    assert make(monkeypatch) is None
    assert 'It is left out of the report.' in capsys.readouterr().err
    assert 'S1R1, fold' not in Path('runs/mine/report.html').read_text()


def test_a_damaged_table_is_one_sentence(monkeypatch):
    add_run('cnn')
    for text in ('a,b\n1,2\n', f'table,row,column,value\n"{verdict.DIFFERENCE}",x,low,a\n'
                               f'"{verdict.DIFFERENCE}",x,high,b\n'):
        Path('runs/mine/tables.csv').write_text(text)
        said = make(monkeypatch)
        assert 'run `make tables' in said and '\n' not in said


def test_a_name_is_no_link_in_markdown():
    row = {'variant': '[x](https://example.org)', 'a': '[27]'}
    text = markdown.markdown(markdown.Table('t', [row], []))
    assert '[x\\](https://example.org) | [27] |' in text


def test_markdown_is_read_back_exactly():
    letters = np.random.RandomState(2)
    for _ in range(200):
        names = [''.join(letters.choice(list('\\`*|<$[](:ab-='), 5)) for _ in range(4)]
        row = {'variant': 'v', **{f'{i}{name}': name for i, name in enumerate(names)}}
        text = markdown.markdown(markdown.Table('t', [row], []))
        head, _, line = (line for line in text.splitlines() if line.startswith('|'))
        assert markdown.split_row(head) == list(row)
        assert markdown.split_row(line) == ['v', *names]
