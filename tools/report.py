"""One self-contained page of every tested run of a data set: `make report`."""
import argparse
import base64
import html
import json
from pathlib import Path

from tools.core import files, run_folder

PICTURES = {
    'faces.png': 'Unseen people: X, the generated reference X̂r, the reconstructions De2,r of the reference and '
    'De2,i of X, and the true neutral face Xr', 'confusion.png': 'Confusion matrix',
    'curves.png': 'Losses and accuracy over iterations'
}
STYLE = '''body { font: 16px/1.5 sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse } td, th { padding: .3em .8em; border-bottom: 1px solid #ccc; text-align: right }
td:first-child, th:first-child { text-align: left } img { max-width: 100% } figcaption { color: #555 }
code { background: #f3f3f3; padding: .1em .3em }
pre { overflow-x: auto; font-size: 13px }'''


FIGURES = {
    'figure4_depth': 'Figure 4: error against the depth of the expression',
    'figure5_embedding': 'Figure 5: t-SNE of pixels and features',
    'figure6_filters': 'Figure 6: learned filters',
    'figure7_faces': 'Figure 7: X, the generated reference X̂r, the reconstructions, and the true neutral face Xr',
    'learning_curves': 'Losses and accuracy over iterations, accuracy for the eye only'
}
TEXTS = {
    'tables.md': 'Tables', 'tables_frequencies.md': "Tables, with the classes' frequencies back in",
    'references.md': 'Are the generated references references?'
}
SHOWN = 4  # runs: of more, the pictures of each one would make a page too heavy to open


def page(folders):
    """HTML text for tested run folders of a data set, runs/<dataset>/<variant>/<run>: the tables
    and figures that were made of them all, the result, command, settings and versions of each, and
    of a few runs their own pictures."""
    results = [json.loads((folder / 'result.json').read_text()) for folder in folders]
    base = folders[0].parent.parent
    data = html.escape(results[0]['dataset'])
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>GCNet on {data}</title><style>{STYLE}</style>',
        f'<h1>GCNet on {data}</h1><p>Accuracy on people never seen in training, at the last iteration.</p>',
        table(results)
    ]
    if len(folders) <= SHOWN:
        for folder, result in zip(folders, results):
            parts.append(f'<h2>{heading(result)}</h2>')
            parts += [
                figure(folder / name, caption)
                for name, caption in PICTURES.items()
                if (folder / name).exists()
            ]
    for name, title in TEXTS.items():
        if (base / name).exists():
            parts.append(
                f'<h2>{title}</h2><pre>{html.escape((base / name).read_text(encoding="utf-8"))}</pre>'
            )
    drawn = sorted((base / 'figures').glob('*.png'), key=lambda path:
                   (path.stem not in FIGURES, path.stem))
    parts += ['<h2>Figures</h2>'] if drawn else []
    parts += [
        figure(path,
               FIGURES.get(path.stem) or path.stem.replace('_', ' of ')) for path in drawn
    ]
    parts.append('<h2>How each run was made</h2>')
    for folder, result in zip(folders, results):
        run = run_folder.read_settings(folder)
        more = {name: run[name] for name in ('settings', 'versions', 'code') if run.get(name)}
        parts.append(f'<p><b>{heading(result)}</b>: <code>{html.escape(run["command"])}</code><br>'
                     f'<small>{html.escape(json.dumps(more))}</small></p>')
    return '\n'.join(parts) + '\n'


def heading(result):
    return f'{html.escape(result["variant"])}, fold {result["fold"]}, seed {result["seed"]}'


def table(results):
    classes = results[0]['classes']
    head = [
        'run', 'iterations', 'images', 'accuracy', 'balanced',
        *(f'recall: {name}' for name in classes)
    ]
    lines = ['<table><tr>' + ''.join(f'<th>{html.escape(cell)}</th>' for cell in head) + '</tr>']
    for result in results:
        cells = [
            heading(result), result['iterations'], result['n'],
            per_cent(result['accuracy']),
            per_cent(result['balanced_accuracy']),
            *(per_cent(result['recall'].get(name)) for name in classes)
        ]
        lines.append('<tr>' + ''.join(f'<td>{cell}</td>' for cell in cells) + '</tr>')
    return '\n'.join(lines) + '\n</table>'


def per_cent(share):
    return '–' if share is None else f'{100 * share:.1f} %'


def figure(path, caption):
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<figure><img src="data:image/png;base64,{data}" alt=""><figcaption>{caption}</figcaption></figure>'


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--dataset', default='demo')
    parser.add_argument('--runs', type=Path, default=Path('runs'))
    arguments = parser.parse_args()
    base = arguments.runs / arguments.dataset
    folders = sorted(path.parent for path in base.glob('*/fold*/result.json'))
    if not folders:
        raise SystemExit(
            f'no tested run in {base}: run `make train DATASET={arguments.dataset}` first.')
    files.write(base / 'report.html', page(folders))
    print(f'report: {base / "report.html"}')


if __name__ == '__main__':
    main()
