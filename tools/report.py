"""One self-contained page of every tested run of a data set: `make report`."""
import argparse
import base64
import html
import json
import sys
from pathlib import Path

from tools.core import files, markdown, predictions, run_folder, verdict
from tools.core.titles import title

# The pictures of a run, and the figures of all runs, each with its caption.
PICTURES = {
    'faces.png': 'Unseen people. From above: the query X, what the network draws of it (the '
                 'reference X̂r, the reconstructions De2,r of the reference and De2,i of X, as '
                 'far as it has them), and the true reference Xr. Below each face stand its class '
                 'and what the network says.',
    'confusion.png': 'Confusion matrix: a row a true class.',
    'curves.png': 'Training losses, and accuracy on the test fold for the eye only: nothing is '
                  'chosen by it.'
}
FIGURES = {
    'figure4_depth': 'Figure 4: errors against the depth of the expression, with the number of '
                     'frames below. Its intervals are of folds and of the people within them.',
    'figure4_faces': 'Figure 4, the paper\'s kind: the weakest expressions that CNN or GCNet did '
                     'not recognise. Below each face stand its class and what each network says.',
    'figure5_embedding': 'Figure 5: test faces by t-SNE, as pixels and as each network\'s features '
                         'of the first fully-connected layer.',
    'figure6_filters': 'Figure 6: learned filters of the first convolutions, and 100, drawn at '
                       'random, of the second deconvolutions. Mid-grey is 0.',
    'figure7_faces': 'Figure 7: X, the generated reference X̂r, the reconstructions, and the true '
                     'reference Xr of people in the test.',
    'swapped_faces': 'Expressions of unseen people, drawn on the faces of others. From above: '
                     'whose expression, on whom, what DE-GAN draws, and the true face.',
    'learning_curves': 'Losses and accuracy over the iterations; the accuracy is for the eye only.'
}
TEXTS = ('tables.md', 'tables_frequencies.md', 'references.md', 'probes.md')
SHOWN = 4  # runs: of more, the pictures of each one would make a page too heavy to open

# What result.json holds; shares are checked to lie in [0, 1].
RESULT = dict(dataset=str, variant=str, fold=int, seed=int, iterations=int, n=int, accuracy=float,
              balanced_accuracy=float, recall=dict, classes=[str])

STYLE = '''
body { font: 16px/1.5 sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222 }
h1, h2, h3 { line-height: 1.2 }
h2 { margin-top: 2em; border-bottom: 2px solid #0072b2; padding-bottom: .2em }
h1, h2, h3, p, li, figcaption { overflow-wrap: anywhere }
.verdict { border-left: 6px solid #d55e00; background: #fdf3ec; padding: .6em 1.2em }
.verdict p { margin: .4em 0 }
.table { overflow-x: auto; margin: 1em 0 }
table { border-collapse: separate; border-spacing: 0; font-size: 15px }
table { font-variant-numeric: tabular-nums }
td, th { padding: .3em .6em; border-bottom: 1px solid #ccc; text-align: right; white-space: nowrap }
td.text, th.text { text-align: left }
td:first-child, th:first-child { position: sticky; left: 0; background: #fff; padding-left: 0 }
th { vertical-align: bottom; border-bottom: 2px solid #888 }
td.none { color: #999 }
.notes { color: #555; font-size: 14px }
ul.notes { padding-left: 1.2em }
figure { margin: 2em 0 }
img { display: block; max-width: 100%; max-height: 640px }
figcaption { color: #555; margin-top: .4em }
code { background: #f3f3f3; padding: .1em .3em; overflow-wrap: anywhere }
details { margin: .6em 0 }
details figure { margin-left: 1em }
summary { cursor: pointer }
@media print { img { max-height: 20cm } .table { overflow: visible } }
'''


def page(folders):
    """HTML text for tested run folders of a data set, runs/<dataset>/<variant>/<run>.

    The verdict of the tables first, then the tables and figures that were made of all runs, the
    result of each, its command, settings and versions, and of a few runs their own pictures.
    SystemExit where a file of a run is missing or damaged.
    """
    results = [read_result(folder) for folder in folders]
    base = folders[0].parent.parent
    dataset = results[0]['dataset']
    data = html.escape(dataset)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>GCNet on {data}</title><style>{STYLE}</style></head><body>',
        f'<h1>GCNet on {data}</h1>', '<div class="verdict">', *verdict_of(base, dataset), '</div>',
        '<p>Everything here was measured in the test of each fold, at the last iteration.</p>'
    ]

    # What there is: a page can be made before any table or figure. What was made before the last
    # test has no part in it, or the page would have two sets of numbers.
    last = max((folder / 'result.json').stat().st_mtime for folder in folders)
    texts = [base / name for name in TEXTS if (base / name).exists()]
    drawn = sorted((base / 'figures').glob('*.png'), key=figure_order)
    old = [path for path in texts + drawn if path.stat().st_mtime < last]
    if old:
        names = ', '.join(html.escape(path.name) for path in old)
        parts.append(f'<p>Left out, since older than the last test: {names}. <code>make tables '
                     'FREQUENCIES=1</code>, <code>make probe</code> and <code>make figures</code> '
                     'make them again.</p>')
    parts += [markdown.as_html(path.read_text(encoding='utf-8'))
              for path in texts if path not in old]
    drawn = [path for path in drawn if path not in old]
    parts += ['<h2>Figures</h2>'] if drawn else []
    parts += [figure(path, figure_caption(path.stem)) for path in drawn]

    parts += ['<h2>Each run</h2>', table_of(results),
              '<p class="notes">Below the name of a class stands its recall.</p>']
    # Within the page, so that it is one file: of many runs it would be too large to open.
    if len(folders) <= SHOWN:
        for folder, result in zip(folders, results):
            shown = [figure(folder / name, caption) for name, caption in PICTURES.items()
                     if (folder / name).exists()]
            parts += ['<details><summary>Pictures of', html.escape(heading(result)), '</summary>',
                      *shown, '</details>']
    parts.append('<h2>How each run was made</h2>')
    parts += [made(folder, result) for folder, result in zip(folders, results)]
    return '\n'.join(parts) + '\n</body></html>\n'


def read_result(folder):
    """The result of a tested run, all of it checked; SystemExit, with what is wrong, where it is
    damaged."""
    result = run_folder.read_result(folder)
    wrong = [name for name, kind in RESULT.items() if not run_folder.is_of(result.get(name), kind)]
    if not wrong:
        shares = {'accuracy': result['accuracy'], 'balanced_accuracy': result['balanced_accuracy']}
        recalls = {f'recall of {name}': value for name, value in result['recall'].items()
                   if value is not None}
        wrong = [name for name, value in {**shares, **recalls}.items() if not is_share(value)]
    if wrong:
        raise SystemExit(f'{folder}/result.json has no good {wrong[0]}: run `make evaluate` of '
                         f'{folder} again.')
    return result


def is_share(value):
    """Whether a value of JSON is a number from 0 to 1."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 <= value <= 1


def verdict_of(base, dataset):
    """The verdict of the data set's tables as paragraphs."""
    path = base / 'tables.csv'
    if not path.exists():
        sentences = [f'There is no verdict: run `make tables DATASET={dataset}` first.']
    else:
        sentences = verdict.read_verdict(path, dataset)
    return [f'<p>{html.escape(sentence)}</p>' for sentence in sentences]


def figure_order(path):
    """The paper's figures first, in its order, then the others by name."""
    return path.stem not in FIGURES, path.stem


def figure_caption(stem):
    """The caption of a figure by its file's name."""
    if stem.startswith('confusion_'):
        return f'Confusion matrix of {title(stem[len("confusion_"):])}: a row a true class.'
    return FIGURES.get(stem, stem.replace('_', ' '))


def figure(path, caption):
    """A picture, within the page, and its caption."""
    data = base64.b64encode(path.read_bytes()).decode()
    caption = html.escape(caption)
    return (f'<figure><img src="data:image/png;base64,{data}" alt="{caption}">'
            f'<figcaption>{caption}</figcaption></figure>')


def heading(result):
    """A run's name as text."""
    return f'{title(result["variant"])}, fold {result["fold"]}, seed {result["seed"]}'


def table_of(results):
    """A table of the results, a row a run."""
    classes = results[0]['classes']
    head = ['run', 'iterations', 'images', 'accuracy', 'balanced', *classes]
    rows = [[
        heading(result), result['iterations'], result['n'], per_cent(result['accuracy']),
        per_cent(result['balanced_accuracy']),
        *(per_cent(result['recall'].get(name)) for name in classes)
    ] for result in results]
    return markdown.html_table(head, rows)


def per_cent(share):
    """A share as text, a dash where there is none."""
    return '–' if share is None else f'{100 * share:.1f} %'


def made(folder, result):
    """The command, settings and versions of a run, folded up."""
    run = run_folder.read_settings(folder)
    more = {name: run[name] for name in ('settings', 'versions', 'code') if run.get(name)}
    return (f'<details><summary>{html.escape(heading(result))}</summary>'
            f'<p><code>{html.escape(run.get("command", "command not known"))}</code></p>'
            f'<p><small>{html.escape(json.dumps(more))}</small></p></details>')


def find_whole(base):
    """([folders of complete runs with a good result, of the data as now], a sentence for each that
    is damaged or of other data)."""
    whole, left_out = [], []
    for folder in sorted(path.parent for path in base.glob('*/fold*/result.json')):
        try:
            read_result(folder)
            run = run_folder.read_settings(folder)
            if predictions.complete(folder) is None:  # it trains on, or is a copy of a folder
                continue
            if predictions.classes_of(run['dataset']):  # the data set is built here
                predictions.check_data(folder, run)
        except SystemExit as error:
            left_out.append(f'{error} It is left out of the report.')
        else:
            whole.append(folder)
    return whole, left_out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--dataset', default='demo', help='what was tested (default: demo)')
    arguments = parser.parse_args()
    base = Path('runs', arguments.dataset)

    folders, left_out = find_whole(base)
    for sentence in left_out:
        print(sentence, file=sys.stderr)
    if not folders:
        raise SystemExit(
            f'no tested run in {base}: run `make train DATASET={arguments.dataset}` first.')
    try:
        files.write(base / 'report.html', page(folders))
    except (OSError, UnicodeError) as error:
        raise SystemExit(f'{base / "report.html"} cannot be made: {error}.') from None
    print(f'report: {base / "report.html"}')


if __name__ == '__main__':
    main()
