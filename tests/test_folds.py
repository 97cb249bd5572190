import pytest

from data_prep import folds


def test_ascending_position_mod_ten():
    persons = [
        'S010', 'S005', 'S999', 'S011', 'S014', 'S022', 'S026', 'S028', 'S029', 'S032', 'S034',
        'S035'
    ]
    assert folds.assign(persons + persons) == {
        'S005': 0, 'S010': 1, 'S011': 2, 'S014': 3, 'S022': 4, 'S026': 5, 'S028': 6, 'S029': 7,
        'S032': 8, 'S034': 9, 'S035': 0, 'S999': 1
    }


def test_numbers_ascend_as_numbers():
    assert folds.assign(map(str, range(1, 13)))['10'] == 9
    assert folds.assign([f'P{n}' for n in range(1, 13)])['P12'] == 1


def test_fewer_than_ten_people():
    with pytest.raises(SystemExit, match='^9 people are too few'):
        folds.assign(f'S{n}' for n in range(9))


def test_written_and_read_again(tmp_path):
    path = str(tmp_path / 'folds.csv')
    given = {f'S{n:03d}': (n * 7) % 10 for n in range(20)}
    folds.write_folds(path, given)
    with open(path) as file:
        assert file.read().splitlines()[:3] == ['subject,fold', 'S000,0', 'S001,7']
    assert folds.read_folds(path, given) == given


def test_persons_that_are_not_in_the_set_are_passed_over(tmp_path):
    path = tmp_path / 'folds.csv'
    path.write_text('subject,fold\n' + ''.join(f'S{n},{n % 10}\n' for n in range(30)))
    assert folds.read_folds(str(path), {f'S{n}' for n in range(10)}) == {
        f'S{n}': n for n in range(10)}


GOOD = ''.join(f'S{n},{n}\n' for n in range(10))


@pytest.mark.parametrize('text, sentence', [
    ('', 'line 1: expected the columns subject,fold, got nothing'),
    ('person,fold\nS1,2\n', 'line 1: expected the columns subject,fold, got person,fold'),
    ('subject,fold\n' + GOOD.replace('S4,4', 'S4,10'),
     "line 6: fold '10' of S4 is not one of 0..9"),
    ('subject,fold\n' + GOOD.replace('S4,4', 'S4,-1'), "line 6: fold '-1' of S4"),
    ('subject,fold\n' + GOOD.replace('S4,4', 'S4'), 'line 6: fold None of S4'),
    ('subject,fold\n' + GOOD.replace('S4,4', 'S4,x'), "line 6: fold 'x' of S4"),
    ('subject,fold\n' + GOOD + 'S4,4\n', 'line 12: S4 is there a second time'),
    ('subject,fold\n' + GOOD.replace('S4,4\n', ''), 'has no fold for S4'),
    ('subject,fold\n' + GOOD.replace('S4,4', 'S4,5'), 'leaves fold 4 without a person'),
    ('subject,fold\n' + GOOD.replace('S4,4', 'S4,5'),
     'give each of the folds 0..9 at least one of its 10 people.'),
    ('subject,fold\n\xff', 'cannot be read as folds'),
])
def test_a_bad_file_is_refused_with_its_line(tmp_path, text, sentence):
    path = tmp_path / 'folds.csv'
    path.write_bytes(text.encode('latin-1'))
    with pytest.raises(SystemExit) as error:
        folds.read_folds(str(path), {f'S{n}' for n in range(10)})
    assert sentence in str(error.value) and str(path) in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(SystemExit, match='cannot be read as folds'):
        folds.read_folds(str(tmp_path / 'none.csv'), {'S1'})
