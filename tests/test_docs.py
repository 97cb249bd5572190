"""The documentation holds together: its links, the commands and the files that it names, its
measure."""
import collections
import csv
import gzip
import re
from pathlib import Path

import pytest

from prototxt import net
from tools.core import request

ROOT = Path(__file__).parent.parent
PAGES = sorted(page.relative_to(ROOT).as_posix() for page in ROOT.rglob('*.md')
               if page.relative_to(ROOT).parts[0] not in ('data', 'runs', 'predictions'))
# What commands make, in the words of the docs: not there in a fresh checkout.
MADE = ('data/', 'runs/', 'predictions/')


@pytest.fixture(params=PAGES)
def page(request):
    return request.param


def test_the_pages_are_there():
    assert {'README.md', 'CONTRIBUTING.md', 'docs/data.md', 'docs/training.md', 'docs/results.md',
            'docs/decisions.md', 'docs/performance.md', 'docs/recipe_search.md', 'docs/history.md',
            'prototxt/README.md'} <= set(PAGES)


def test_the_readme_is_read_in_five_minutes():
    assert len(text_of('README.md').split()) <= 1000


def test_lines_end_before_column_100(page):
    too_long = [number for number, line in prose(page) if len(line) > 100]
    assert not too_long


def test_no_link_is_dead(page):
    found = dead(page, links(page))
    assert not found


def test_every_make_target_that_is_named_exists(page):
    named = set(re.findall(r'(?:^ {4}|`|&& )(?:[A-Z_]+=\S+ )*(?:sudo )?make ([a-z][a-z-]*)\b',
                           text_of(page), re.MULTILINE))
    assert not named - targets()


def test_every_file_in_backticks_exists(page):
    missing = [name for name in re.findall(r'`([^`\n]+)`', text_of(page))
               if is_a_file_of_ours(name) and not there(name, page)]
    assert not missing


def test_every_setting_is_explained():
    explained = set(re.findall(r'`(\w+)`', text_of('docs/training.md')))
    assert {*net.SETTINGS, *request.SOLVER_SETTINGS, 'balance'} <= explained
    assert set(net.VARIANTS) <= explained


def test_what_is_dead_is_found():
    """The checks themselves, on links that are known to be good and bad."""
    assert not dead('README.md', ['docs/data.md', 'docs/data.md#folds', '#licence', 'tests/'])
    bad = ['docs/nothing.md', 'docs/data.md#nothing', '#nothing', 'docs/nothing.png']
    assert dead('README.md', bad) == bad

    assert anchor("Batch norm's averages, in `De1,r`") == 'batch-norms-averages-in-de1r'
    assert is_a_file_of_ours('tools/train.py') and there('tools/train.py', 'README.md')
    assert is_a_file_of_ours('tools/nothing.py') and not there('tools/nothing.py', 'README.md')
    assert not is_a_file_of_ours('runs/ckplus7/s1r1/fold3_seed1/')
    assert not is_a_file_of_ours('make train FOLD=3')


def text_of(page):
    return (ROOT / page).read_text(encoding='utf-8')


def prose(page):
    """[(line number, line)] of a page, without code and tables, and without the addresses of links,
    which cannot be wrapped."""
    kept, fenced = [], False
    for number, line in enumerate(text_of(page).splitlines(), 1):
        if line.startswith('```'):
            fenced = not fenced
        elif not fenced and not line.startswith(('    ', '|')):
            kept.append((number, re.sub(r'\]\([^ )]+\)|https?://\S+', ']', line)))
    return kept


def links(page):
    """The targets of a page's links and pictures that are not on the web."""
    targets = re.findall(r'\]\(([^ )]+)\)', text_of(page))
    return [target for target in targets if not re.match(r'https?://', target)]


def dead(page, targets):
    """Those targets of a page's links that lead to no file, or to no heading of it."""
    found = []
    for target in targets:
        path, _, heading = target.partition('#')
        there = ROOT.joinpath(page).parent / path if path else ROOT / page
        if not there.exists() or heading and heading not in anchors(there):
            found.append(target)
    return found


def anchors(path):
    """The anchors that GitHub gives to the headings of a Markdown file."""
    headings = re.findall(r'^#+ +(.+?) *$', path.read_text(encoding='utf-8'), re.MULTILINE)
    return {anchor(heading) for heading in headings}


def anchor(heading):
    """GitHub's anchor: lower case, without punctuation, a hyphen for each space."""
    return re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')


def targets():
    """The targets of the Makefile."""
    return set(re.findall(r'^([a-z][a-z-]*):(?!=)', (ROOT / 'Makefile').read_text(), re.MULTILINE))


def is_a_file_of_ours(name):
    """Whether a word in backticks names a file or folder of the repository: it begins with one of
    our folders, or ends as our files do, and has no placeholder in it."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    if re.search(r'[\s<>{}*$=…#,]', name) or name.startswith(MADE):
        return False
    return name.split('/')[0] in folders and '/' in name


def there(name, page):
    """Whether the file is in the repository, from its root or beside the page."""
    return any((folder / name).exists() for folder in (ROOT, ROOT.joinpath(page).parent))


@pytest.mark.parametrize('row, files, alike', [
    ('drawn faces', ['demo', 'demo'], False),
    ('studio', ['london_faces', 'london'], False),
    ('in the wild, 5 expressions: mean recall', ['wild_faces', 'wild'], True)])
def test_the_readmes_figures_are_those_of_the_predictions(row, files, alike):
    (cells,) = (line.split('|')[2:-1] for line in text_of('README.md').splitlines()
                if line.startswith(f'| {row}'))
    cnn, s1r1, _, hog, lbp = cells
    for said, variant, name in ((cnn, 'cnn', files[0]), (s1r1, 's1r1', files[0]),
                                (hog, 'hog', files[1]), (lbp, 'lbp', files[1])):
        right = collections.defaultdict(list)
        with gzip.open(ROOT / f'docs/{name}_predictions.csv.gz', 'rt', newline='') as file:
            for line in csv.DictReader(file):
                if line['variant'] == variant:
                    right[line['truth'] if alike else ''].append(line['truth'] == line['predicted'])
        found = 100 * sum(sum(of) / len(of) for of in right.values()) / len(right)
        assert abs(float(said) - found) < 0.051
