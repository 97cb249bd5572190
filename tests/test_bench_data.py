import os
from pathlib import Path

import ckplus_tree
from data_prep import workers
from tools import bench_data

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def test_every_figure_is_measured(tmp_path, monkeypatch):
    (tmp_path / 'data').mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', ROOT)
    monkeypatch.setattr(bench_data, 'RAW', Path(ckplus_tree.make(tmp_path / 'raw')))
    lines = bench_data.measure(many=300, few=50, searched=3, rounds=1)
    value = {name: number for name, number, _ in lines}
    assert len(value) == 8 and min(value.values()) > 0
    one, several = (number for name, number in value.items() if name.startswith(('pictures searched', 'the same, ')))
    assert value[f'{workers.usable()} workers against 1 process'] == several / one
    assert os.listdir('data') == []  # nothing is left behind


def test_what_is_laid_out_can_be_built(tmp_path, monkeypatch):
    """The set has as many pictures as it says, each with the points of its frame, and they are all used."""
    monkeypatch.chdir(ROOT)
    raw = Path(ckplus_tree.make(tmp_path / 'set'))
    monkeypatch.setattr(bench_data, 'RAW', raw)
    _, points, _ = bench_data.datasets.load('demo', str(raw), None, None)
    for own in (False, True):
        place, known = bench_data.lay_out(tmp_path / f'raw{own}', sorted(points), points, 250, own)
        bench_data.build(tmp_path / 'out', place, known)
        account = (tmp_path / 'out' / place.name / 'account.csv').read_text()
        assert account.count(',used,') == 250 and 'left out' not in account
        assert (tmp_path / 'out' / place.name / 'folds.csv').exists() != own
