import os
from pathlib import Path

import ckplus_tree
import pytest

from tools.bench import data_speed

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def test_every_figure_is_measured(tmp_path, monkeypatch):
    """Rates of building from times that are known: what starting takes has no part in them."""
    (tmp_path / 'data').mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data_speed, 'RAW', Path(ckplus_tree.make(tmp_path / 'raw')))

    def build(out, raw, known):
        number = len(os.listdir(raw / 'images'))
        return 2 + number / (1600 if raw.name.endswith('own') else 800), 100 + number
    monkeypatch.setattr(data_speed, 'build', build)
    lines = data_speed.measure(many=300, few=50, searched=3, rounds=1)
    one_lmdb, ten_folds, start, few, many, one, several, ratio = (number for _, number, _ in lines)
    assert (one_lmdb, ten_folds) == (pytest.approx(1600), pytest.approx(800))
    assert (start, few, many) == (2 + 50 / 1600, 150, 400)
    assert one > 0 and ratio == several / one
    assert os.listdir('data') == []  # nothing is left behind


def test_what_is_laid_out_can_be_built(tmp_path, monkeypatch):
    """The set has as many pictures as it says, each with the points of its frame, and they are all
    used."""
    monkeypatch.chdir(ROOT)
    raw = Path(ckplus_tree.make(tmp_path / 'set'))
    monkeypatch.setattr(data_speed, 'RAW', raw)
    _, points, _ = data_speed.datasets.load('demo', str(raw), None, None)
    for own in (False, True):
        place, known = data_speed.lay_out(tmp_path / f'raw{own}', sorted(points), points, 250, own)
        data_speed.build(tmp_path / 'out', place, known)
        account = (tmp_path / 'out' / place.name / 'account.csv').read_text()
        assert account.count(',used,') == 250 and 'left out' not in account
        assert (tmp_path / 'out' / place.name / 'folds.csv').exists() != own
