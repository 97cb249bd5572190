"""Pictures of a tested run."""
import csv

import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from sklearn.metrics import confusion_matrix  # noqa: E402

# Okabe and Ito's colours, told apart by the colour-blind, with line styles for print in grey.
COLOURS = ('#000000', '#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
STYLES = ('-', '--', '-.', ':', (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
LOSSES = {'loss_cls': 'Cls', 'loss_contr': 'Contr', 'loss_gen_r': 'Gen,r', 'loss_recon_r': 'Recon,r',
          'loss_recon_i': 'Recon,i'}


def save(figure, path):
    """Writes the figure as the path's ending says, at 150 dots per inch, under a temporary name first."""
    partial = path.with_name(f'.{path.name}')
    figure.savefig(partial, dpi=150, format=path.suffix[1:])
    partial.replace(path)
    plt.close(figure)


def confusion(path, labels, predicted, classes):
    """Confusion matrix: a row a true class, in per cent of its images, with the counts."""
    counts = confusion_matrix(labels, predicted, labels=range(len(classes)))
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(0.75 * len(classes) + 2.2, 0.75 * len(classes) + 1.4), constrained_layout=True)
    image = axes.imshow(share, cmap='Greys', vmin=0, vmax=100)
    for i, j in np.ndindex(*counts.shape):
        axes.text(j, i, f'{share[i, j]:.0f} %\n({counts[i, j]})', ha='center', va='center', fontsize=8,
                  color='white' if share[i, j] > 50 else 'black')
    axes.set(xticks=range(len(classes)), yticks=range(len(classes)), yticklabels=classes,
             xlabel='predicted', ylabel='true', title=f'Accuracy {np.trace(counts) / counts.sum():.1%}, n = {counts.sum()}')
    axes.set_xticklabels(classes, rotation=40, ha='right')
    figure.colorbar(image, ax=axes, shrink=0.7, label='% of the true class')
    save(figure, path)


def curves(path, metrics_csv):
    """The losses over iterations, and accuracy on the test fold where it was measured, from a run's metrics.csv."""
    with open(metrics_csv, newline='') as file:
        rows = list(csv.DictReader(file))
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), constrained_layout=True)
    shown = [name for name in LOSSES if rows and name in rows[0]]
    for i, name in enumerate(shown):
        x, y = column(rows, name)
        left.plot(x, np.maximum(y, 1e-6), color=COLOURS[i], linestyle=STYLES[i], label=LOSSES[name])
    left.set(xlabel='iteration', ylabel='loss, unweighted', yscale='log', title='Training losses')
    left.legend(loc='center left', bbox_to_anchor=(1, 0.5))  # beside the curves, not on them
    x, y = column(rows, 'test_accuracy')
    right.plot(x, 100 * y, color=COLOURS[1], marker='o', label='test fold')
    right.set(xlabel='iteration', ylabel='accuracy, %', ylim=(0, 100), title='Accuracy on unseen people (for the eye only)')
    save(figure, path)


def column(rows, name):
    """Iterations and values of the rows that have a value."""
    pairs = [(int(row['iteration']), float(row[name])) for row in rows if row.get(name)]
    return np.array([x for x, _ in pairs]), np.array([y for _, y in pairs])


def faces(path, queries, references, outputs, labels, classes, most=10, seed=1):
    """Test faces, a column each: X, the generated reference, both reconstructions, and the true reference Xr.

    Pictures are N x 1 x 64 x 64 in [0, 1]; outputs are those of forward.run, labels the true classes (N).
    """
    chosen = one_of_each(labels, most, seed)
    rows = [('X', queries), ('X̂r', outputs['generated'])]
    if 'reconstructed_r' in outputs:
        rows += [('De2,r', outputs['reconstructed_r']), ('De2,i', outputs['reconstructed_i'])]
    rows.append(('Xr', references))
    tiles = np.pad([images[chosen, 0] for _, images in rows], ((0, 0), (0, 0), (0, 3), (0, 3)), constant_values=1)
    height, width = tiles.shape[2:]
    figure, axes = plt.subplots(figsize=(1.15 * len(chosen) + 0.8, 1.15 * len(rows) + 0.8), constrained_layout=True)
    axes.imshow(np.vstack([np.hstack(line) for line in tiles]), cmap='gray', vmin=0, vmax=1)
    axes.set_xticks(width * np.arange(len(chosen)) + 32)
    axes.set_xticklabels([f'{classes[labels[i]]}\n{guess(outputs["prob"][i], labels[i], classes)}' for i in chosen])
    axes.set_yticks(height * np.arange(len(rows)) + 32)
    axes.set_yticklabels([name for name, _ in rows], fontsize=12)
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    axes.set_xlabel('true class, and below it what the network says')
    save(figure, path)


def guess(probabilities, label, classes):
    """The predicted class, marked right or wrong."""
    predicted = probabilities.argmax()
    return f'{"✓" if predicted == label else "✗"} {classes[predicted]}'


def one_of_each(labels, most, seed):
    """Indices of up to `most` images, drawn at random, going round the classes."""
    order = np.random.RandomState(seed).permutation(len(labels))
    turn = [np.sum(labels[order[:i]] == labels[k]) for i, k in enumerate(order)]  # how often the class came before
    return [order[i] for i in np.lexsort((labels[order], turn))][:most]
