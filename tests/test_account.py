"""What a build says of a set whose figures would mean less than they seem to: people and classes
under two spellings, pairs without a reference, people on both sides of a split, links that lead
nowhere, a validation part."""
import os
from pathlib import Path

import ckplus_tree
import drawn
import numpy as np
import pytest
from test_build import program, table

from data_prep import detect, makers_crops, pictures
from data_prep.sets import layout

CASES = Path(__file__).parents[2] / 'shared' / 'cases'
POINTS = np.array([[20.0, 20], [44, 20], [32, 32], [23, 45], [41, 45]])


@pytest.fixture(autouse=True)
def quick(monkeypatch, request):
    """Points without a detector, but for the tests of the makers' crops."""
    if 'crops' not in request.node.name:
        monkeypatch.setattr(detect, 'points_of', lambda raw, paths, cache, workers: (
            {path: POINTS for path in paths}, {}, 0))


@pytest.fixture
def make(tmp_path):
    """A function that makes a set of 64 x 64 pictures with a manifest.csv of given rows."""
    def make(rows, header='path,subject,expression'):
        for seed, row in enumerate(rows):
            image = np.random.RandomState(seed).randint(0, 256, (64, 64)).astype(np.uint8)
            drawn.write(tmp_path / 'raw' / row.split(',')[0], image)
        lines = [header, *rows]
        (tmp_path / 'raw' / 'manifest.csv').write_text(''.join(f'{line}\n' for line in lines))
        return tmp_path / 'raw'
    return make


@pytest.fixture
def built(tmp_path, monkeypatch, capsys):
    """A function that builds a folder: (the sentence of a failure or None, what was printed)."""
    def built(raw, *options, dataset='own'):
        said = program(monkeypatch, '--dataset', dataset, '--raw', raw, '--out', tmp_path / 'out',
                       '--workers', 1, *options)
        return said, capsys.readouterr().out
    return built


def two_each(neutral='neutral', happy='happy', people=11, name='p{:02}'):
    """Rows of a manifest: two pictures a person."""
    return [row for n in range(people) for row in (
        f'{n}n.png,{name.format(n)},{neutral}', f'{n}h.png,{name.format(n)},{happy}')]


def case(name):
    """The folder of a case that is kept beside the project; skips where it is not there."""
    if not (CASES / name).is_dir():
        pytest.skip(f'{CASES / name} is not there')
    return CASES / name


def words(out):
    return ' '.join(out.split())


def test_one_person_under_two_spellings(make, built, tmp_path):
    rows = two_each()
    said, _ = built(make(rows[:-1] + [rows[-1].replace('p10', 'P10')]))
    assert "the subjects 'P10' and 'p10' differ only in how they are written" in said
    assert said.count('\n') == 0 and not (tmp_path / 'out' / 'own').exists()


@pytest.mark.parametrize('name, both', [('case', ("'P001'", "'p001'")),
                                        ('padded', ("'001'", "'1'"))])
def test_the_cases_of_two_spellings(built, name, both):
    said, _ = built(case(f'04-same-person-two-spellings/{name}'))
    assert all(spelling in said for spelling in both) and 'and 10 more' in said


def test_two_spellings_in_folders(tmp_path, built):
    for person in ('0000045', '45', '7'):
        for number in range(3):
            drawn.write(tmp_path / 'raw' / person / f'{number}.png', np.eye(64, dtype=np.uint8))
    said, _ = built(tmp_path / 'raw', dataset='webface')
    assert "the subjects '0000045' and '45' differ only" in said


def test_spellings_of_an_expression_are_one_class_and_told(make, built, tmp_path):
    rows = two_each('Neutral', 'Happy')
    rows[1], rows[3] = rows[1].replace('Happy', 'happiness'), rows[3].replace('Happy', 'HA')
    said, out = built(make(rows))
    assert said is None and 'Taken for happy: HA, happiness.' in out
    assert (tmp_path / 'out/own/classes.txt').read_text() == 'happy\nneutral\n'
    assert ' happy 11 neutral 11 ' in words(out) and 'without a reference' not in out
    assert 'Warning' not in out


def test_codes_give_references(make, built):
    _, out = built(make(two_each('NE', 'HA')))
    assert 'Taken for happy: HA.\nTaken for neutral: NE.\n' in out
    assert 'without a reference' not in out and 'Warning' not in out


def test_numbers_are_not_guessed_at(make, built, tmp_path):
    said, out = built(make(two_each('6', '3')))
    assert said is None and (tmp_path / 'out/own/classes.txt').read_text() == '3\n6\n'
    assert 'None of the eight expressions that are known here, so classes of their own: 3, 6' in out
    assert 'No class is understood as neutral' in out
    assert ' pairs 22 pairs without a reference 22 ' in words(out)
    assert 'Warning: no pair has a reference' in out


def test_two_spellings_of_a_class(make, built):
    said, _ = built(make(two_each('3', '3.0')))
    assert "the expressions '3' and '3.0' differ only in how they are written" in said


@pytest.mark.parametrize('name, without, warned', [('numeric', 22, True), ('NE', 0, False)])
def test_the_cases_without_references(built, name, without, warned):
    said, out = built(case(f'08-references-silently-none/{name}'))
    assert said is None and ('Warning: no pair has a reference' in out) == warned
    assert (f'pairs without a reference {without} ' in words(out)) == warned


def test_some_without_a_reference_are_counted(make, built):
    rows = two_each()
    _, out = built(make([row for row in rows if not row.endswith('p03,neutral')]))
    assert ' pairs 21 pairs without a reference 1 ' in words(out) and 'Warning' not in out


def test_people_in_both_parts_of_a_split(make, built):
    rows = [f'{row},{"test" if row[:2] in ("1h", "2h", "9n") or "p10" in row else "train"}'
            for row in two_each()]
    _, out = built(make(rows, 'path,subject,expression,split'))
    assert ' people in both parts of the split 3 ' in words(out)
    assert 'Warning: p01, p02, p09 are in both parts of the split' in out


def test_the_case_of_people_in_both_parts(built):
    _, out = built(case('08-references-silently-none/overlap'))
    assert 'people in both parts of the split 5 ' in words(out)


def test_classes_of_fewer_than_five_people(make, built):
    rows = two_each() + [f'{n}f.png,p00,fear' for n in range(9)]
    rows += [f'{n}s.png,p0{n},surprise' for n in range(5)]
    _, out = built(make(rows))
    assert 'Warning: fewer than 5 people show fear (1), too few' in out and 'surprise (' not in out


def test_the_same_picture_in_training_and_test_or_under_two_names(make, built, tmp_path):
    raw = make(two_each())
    assert 'as others' not in built(raw)[1]
    (raw / '1h.png').write_bytes((raw / '0h.png').read_bytes())
    out = words(built(raw)[1])
    # p00 and p10 are in fold 0, p01 is in fold 1: each is tested once, trained on in the other.
    assert ('Warning: 2 of 22 test pictures are in the training of their fold as well, as others: '
            '0h.png is 1h.png.') in out
    assert 'Warning: 1 picture is there with two people, the first as 0h.png (p00), 1h.p' in out
    assert 'two expressions' not in out
    (raw / '2n.png').write_bytes((raw / '2h.png').read_bytes())
    out = words(built(raw)[1])
    assert '1 picture is there with two expressions, the first as 2h.png (happy), 2n.p' in out
    assert '2 of 22 test pictures' in out


def test_a_class_of_which_nothing_is_left_or_nothing_trains(make, built, tmp_path, monkeypatch):
    rows = [f'{n}{name[0]}.png,p{n:02},{name}' for n in range(11)
            for name in ('neutral', 'happy', 'fear')]
    raw = make(rows)

    def lost(*kinds):
        monkeypatch.setattr(detect, 'points_of', lambda raw, paths, cache, workers: (
            {path: POINTS for path in paths if path[-5] not in kinds},
            {path: 'no face found' for path in paths if path[-5] in kinds}, 0))
    lost('f')
    said, out = built(raw)
    assert said is None and 'fewer than 5 people show fear (0)' in words(out)
    lost('f', 'h')
    said, _ = built(raw)
    assert said.endswith('one expression alone is left, neutral, and 2 are needed.')

    lost()
    only = [row for row in rows if 'fear' not in row or row[:2] in ('0f', '10')]
    out = words(built(make(only))[1])  # p00 and p10 are in fold 0
    assert 'Warning: no training picture has fold 0 of fear.' in out
    (tmp_path / 'other.csv').write_text('subject,fold\n' + ''.join(
        f'p{n:02},{max(0, n - 1)}\n' for n in range(11)))
    assert 'no training picture' not in words(
        built(make(only), '--split', tmp_path / 'other.csv')[1])


def test_other_builds_of_a_set_have_its_folds(make, built, tmp_path):
    raw = make(two_each())
    split = tmp_path / 'their.csv'
    split.write_text('subject,fold\n' + ''.join(f'p{n:02},{max(0, n - 1)}\n'
                                                for n in range(11)))
    assert built(raw, '--split', split)[0] is None
    for option in ('--validate', 0.2), ('--referred',):
        said, _ = built(raw, *option)
        assert 'out/own has p01 in fold 0, and here it would be in fold 1: give the SPLIT' in said
        assert built(raw, '--split', split, *option)[0] is None
    (tmp_path / 'out/own_referred').rename(tmp_path / 'other')
    assert 'Warning: 10 people are in another fold than in the build that was here' in words(
        built(raw)[1])
    assert 'another fold' not in built(raw)[1]
    assert built(raw, '--split', split)[0] is None
    (tmp_path / 'other').rename(tmp_path / 'out/own_referred')
    said, _ = built(raw)  # nor may the set itself change, whose pairs a generator has learned from
    assert 'out/own_referred has p01 in fold 0, and here it would be in fold 1' in said


def test_a_reference_that_is_not_neutral(make, built):
    rows = [f'{row},' for row in two_each()]
    rows[1] += '0h.png'  # the picture itself
    rows[3] += '1n.png'
    out = words(built(make(rows, 'path,subject,expression,reference'))[1])
    assert ('References that are not neutral: 1, first: manifest.csv, line 3: 0h.png, the picture '
            'itself, is happy.') in out


def test_numbers_that_a_spreadsheet_has_shortened(make, built):
    said, _ = built(make([row.replace(',p0', ',2.02E+1') for row in two_each(people=10)]))
    assert 'subject 2.02E+10 is a number that a spreadsheet has shortened' in said
    assert built(make(two_each(name='1.{:02}E+02')))[0] is None  # 100 and more, whole


def test_quotes_behind_a_space(make, built):
    rows = two_each()
    rows[1] = '0h.png, "p00", "happy"'
    out = words(built(make(rows))[1])
    assert 'people 11 ' in out and 'without a reference' not in out


def test_other_numbers_than_the_paper_has(tmp_path, built):
    _, out = built(ckplus_tree.make(tmp_path / 'raw'), dataset='ckplus7')
    assert ('Warning: 22 sequences of 11 people can be used, where the paper has 327 of 118.'
            in out)


# --- links ---


def test_a_link_that_leads_nowhere_is_named(tmp_path, built):
    raw = Path(ckplus_tree.make(tmp_path / 'raw'))
    os.rename(raw / 'Emotion', tmp_path / 'elsewhere')
    os.symlink('../elsewhere', raw / 'Emotion')
    assert built(raw, dataset='ckplus7')[0] is None  # the target is to be seen
    os.rename(tmp_path / 'elsewhere', tmp_path / 'away')
    said, _ = built(raw, dataset='ckplus7')
    assert said.startswith(f'{raw}/Emotion is a link to {tmp_path}/elsewhere, which cannot be seen')
    assert 'GCNET_MOUNTS' in said and '\n' not in said


def test_a_person_behind_a_link_that_leads_nowhere_is_not_lost(tmp_path, built):
    raw = Path(ckplus_tree.make(tmp_path / 'raw'))
    os.symlink('/none/S999', raw / 'cohn-kanade-images' / 'S999')
    said, _ = built(raw, dataset='ckplus7')
    assert 'cohn-kanade-images/S999 is a link to /none/S999, which cannot be seen' in said
    os.rename(raw / 'cohn-kanade-images' / 'S999', raw / '.hidden')
    layout.check_links(str(raw))


def test_a_link_that_leads_back_to_itself_is_no_lost_target(tmp_path, built):
    raw = Path(ckplus_tree.make(tmp_path / 'raw'))
    os.symlink('b', raw / 'a')
    os.symlink('a', raw / 'b')
    said, _ = built(raw, dataset='ckplus7')
    assert 'is a link that leads back to itself' in said and 'GCNET_MOUNTS' not in said


def test_links_in_a_manifest(make, built, tmp_path, monkeypatch):
    rows = two_each()
    raw = make(rows)
    os.symlink('../elsewhere', raw / 'more')
    more = [row.replace(',p', ',q') for row in rows]
    lines = ['path,subject,expression', *rows, *(f'more/{row}' for row in more)]
    (raw / 'manifest.csv').write_text(''.join(f'{line}\n' for line in lines))
    _, out = built(raw)
    assert ' image is behind a link to what cannot be seen 22 ' in words(out)
    target = tmp_path / 'elsewhere'
    assert (f'manifest.csv, line 24: more/0n.png: {target}/0n.png can be named'
            in out.replace(f'{target} can', f'{target}/0n.png can'))

    target.mkdir()
    for row in rows:
        name = row.split(',')[0]
        (target / name).write_bytes((raw / name).read_bytes())
    _, out = built(raw)
    assert ' path leaves the folder 22 ' in words(out)
    monkeypatch.setenv('GCNET_MOUNTS', f':{target}')
    _, out = built(raw)
    assert ' used 44 ' in words(out) and ' left out 0 ' in words(out)


# --- a validation part ---


def test_a_validation_part_of_a_split(make, built, tmp_path):
    rows = [f'{row},{"test" if row[0] in "12" else "train"}' for row in two_each(people=30)]
    raw = make(rows, 'path,subject,expression,split')
    assert built(raw)[0] is None
    before = (tmp_path / 'out/own/fold0/train.csv').read_text()
    said, out = built(raw, '--validate', '0.25')
    folder = tmp_path / 'out' / 'own_validation'
    assert said is None and out.endswith(f'Written to {folder}\n')
    train, test = (table(folder / 'fold0' / f'{part}.csv') for part in ('train', 'test'))
    people = {row['subject'] for row in train}, {row['subject'] for row in test}
    real = {row['subject'] for row in table(tmp_path / 'out/own/fold0/test.csv')}
    assert not people[0] & people[1] and not real & (people[0] | people[1])
    assert len(people[1]) == int(0.25 * (30 - len(real)))
    assert {row['path'] for row in train + test} == {
        row['path'] for row in table(tmp_path / 'out/own/fold0/train.csv')}
    assert f' set aside, the test part {2 * len(real)} ' in words(out)
    account = table(folder / 'account.csv')
    assert sum(row['outcome'] == 'set aside' for row in account) == 2 * len(real)
    assert (tmp_path / 'out/own/fold0/train.csv').read_text() == before


def test_a_validation_part_of_ten_folds(make, built, tmp_path):
    raw = make(two_each(people=40))
    assert built(raw)[0] is None and built(raw, '--validate', '0.1')[0] is None
    assert not (tmp_path / 'out/own_validation/folds.csv').exists()
    for fold in range(10):
        files = (f'own/fold{fold}/test.csv', f'own_validation/fold{fold}/train.csv',
                 f'own_validation/fold{fold}/test.csv')
        real, train, test = ({row['subject'] for row in table(tmp_path / 'out' / file)}
                             for file in files)
        assert len(test) == 3 and len(train) == 33 and not (real | train) & test
        assert not real & train


@pytest.mark.parametrize('share, sentence', [
    ('0', 'VALIDATE is 0: a share above 0'), ('0.6', 'VALIDATE is 0.6'), ('nan', 'VALIDATE is nan'),
    ('0.01', '0.01 of 9 people of the training part is nobody'),
])
def test_a_share_that_is_none(make, built, share, sentence):
    assert sentence in built(make(two_each(people=10)), '--validate', share)[0]


def test_a_validation_part_is_no_name_of_a_set(make, built, tmp_path):
    said, _ = built(make(two_each()), dataset='own_validation')
    assert said.startswith('own_validation is the name of a build for validation')
    drawn.write(tmp_path / 'people' / 'a' / '1.png', np.eye(64, dtype=np.uint8))
    said, _ = built(tmp_path / 'people', '--validate', '0.1', dataset='webface')
    assert said == 'webface is split within each person: VALIDATE is not for it.'


# --- only what has a reference ---


def test_pairs_with_a_reference_alone(make, built, tmp_path):
    raw = make([*two_each(people=12), *(f'{n}n.png,q{n},sad' for n in range(12, 18))])
    assert built(raw)[0] is None
    said, out = built(raw, '--referred')
    assert said is None and ' left out 6 no reference 6 ' in words(out)
    assert ' pairs 24 ' in words(out) and 'without a reference' not in out
    for fold in range(10):  # the other build's folds, but for those without a reference
        for part in 'train', 'test':
            whole, kept = (table(tmp_path / 'out' / name / f'fold{fold}' / f'{part}.csv')
                           for name in ('own', 'own_referred'))
            assert ({row['path'] for row in kept}
                    == {row['path'] for row in whole if row['subject'][0] == 'p'})


def test_all_builds_of_a_set_share_what_was_found_and_corrected(make, built, tmp_path,
                                                                monkeypatch):
    caches = set()
    monkeypatch.setattr(detect, 'points_of', lambda raw, paths, cache, workers: (
        caches.add(cache) or {path: POINTS for path in paths}, {}, 0))
    raw = make(two_each())
    for words in ((), ('--validate', 0.25), ('--referred',)):
        assert built(raw, *words)[0] is None
    assert caches == {f'{tmp_path}/out/own.points.csv'}


def test_nothing_with_a_reference(make, built, tmp_path):
    said, _ = built(make(two_each(neutral='sad')), '--referred')
    assert 'has a reference: there is nothing that a generator could learn from' in said
    assert not (tmp_path / 'out' / 'own_referred').exists()


# --- the makers' crops ---


@pytest.fixture
def fer(tmp_path):
    """A fer2013.csv of eight faces, turned upside down where nothing is found, and a blank one."""
    lines = ['emotion,pixels,Usage']
    for number in range(10):
        image = drawn.face(number)[0][60:230, 20:190]
        small = np.asarray(image[::-1] if number in (4, 7) else image)
        small = small.reshape(34, 5, 34, 5).mean((1, 3)) if number < 9 else np.full((34, 34), 90)
        pixels = np.pad(small, 7, mode='edge').round().astype(int)
        usage = 'PrivateTest' if number in (1, 4) else 'Training'
        lines.append(f'{number % 7},{" ".join(map(str, pixels.ravel()))},{usage}')
    (tmp_path / 'fer').mkdir()
    (tmp_path / 'fer' / 'fer2013.csv').write_text(''.join(f'{line}\n' for line in lines))
    return tmp_path / 'fer'


def test_no_crops_of_the_makers_are_lost(fer, built, tmp_path, monkeypatch):
    """Faces that are not found are placed as those that are; the blank one alone is left out."""
    paths = [f'fer2013.csv#{line}' for line in range(2, 12)]
    five = {path: POINTS * 0.7 + number for number, path in enumerate(paths)}
    outside, missing = paths[2], {path: 'no face found' for path in (paths[4], paths[7], paths[9])}
    found = {path: points for path, points in five.items() if path not in missing}
    found[outside] = POINTS * 0.7 - 30
    monkeypatch.setattr(detect, 'points_of', lambda *arguments, **options: (found, missing, 0))
    said, out = built(fer, dataset='fer2013')
    assert said is None and " no usable points, the maker's crop taken 3 " in words(out)
    assert ' used 9 ' in words(out) and ' left out 1 image is blank 1 ' in words(out)

    points, without, filled = makers_crops.fill_in(str(fer), found, missing, 1)
    assert filled == 3 and without == {paths[9]: 'image is blank'}
    good = [points for path, points in found.items() if path != outside]
    for path in (paths[2], paths[4], paths[7]):
        assert np.allclose(points[path], sum(good) / len(good))
    assert all(points[path] is found[path] for path in found if path != outside)


def test_crops_of_other_sizes_are_not_mixed(tmp_path):
    image = np.random.RandomState(1).randint(0, 256, (90, 90)).astype(np.uint8)
    for name, size in [('a', 64), ('b', 64), ('c', 80), ('d', 80), ('e', 90)]:
        drawn.write(tmp_path / f'{name}.png', image[:size, :size])
    (tmp_path / 'f.png').write_bytes(b'no picture')
    found = {'a.png': POINTS, 'c.png': POINTS + 9}
    missing = {f'{name}.png': 'no face found' for name in 'bdef'}
    points, without, filled = makers_crops.fill_in(str(tmp_path), found, missing, 1)
    assert filled == 2 and np.allclose(points['b.png'], POINTS)
    assert np.allclose(points['d.png'], POINTS + 9)
    assert without == {'e.png': 'no face found', 'f.png': 'image is damaged or not an image'}


def test_crops_found_by_the_real_detector(fer, built):
    """With the detector itself: nothing but the blank picture is lost."""
    said, out = built(fer, dataset='fer2013')
    assert said is None and ' used 9 ' in words(out), out
    assert pictures.read_grey(str(fer), 'fer2013.csv#11').max() == 90
