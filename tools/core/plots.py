"""Pictures of a tested run, and what all figures share: how they look and how they are written."""
import matplotlib

matplotlib.use('Agg')
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from sklearn.metrics import confusion_matrix  # noqa: E402

from prototxt import net  # noqa: E402
from tools.core import metrics, titles  # noqa: E402

# TrueType, whole letters: journals refuse matplotlib's own choice, Type 3.
plt.rcParams['pdf.fonttype'] = 42

# Okabe and Ito's colours, which the colour-blind tell apart; lines and markers for print in grey.
COLOURS = ('#000000', '#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#F0E442')
STYLES = ('-', '--', '-.', ':', (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (6, 1, 1, 1)))
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*')
SHOWN, SEED = 10, 1  # faces of a picture, and of their choice
LONGEST = 24  # letters of a name that are shown
VARIANTS = tuple(dict.fromkeys(['cnn', 's1r1', *net.VARIANTS]))  # in the order of the figures
LOSSES = {
    'loss_cls': 'Cls', 'loss_contr': 'Contr', 'loss_gen_r': 'Gen,r', 'loss_recon_r': 'Recon,r',
    'loss_recon_i': 'Recon,i', 'loss_kl': 'KL', 'loss_adversary': 'adversary',
    'loss_person': 'person', 'loss_draw': 'drawn', 'loss_real': 'real',
    'loss_expression': 'expression'
}
# A network's pictures, in the order of the figures, and what they are called there.
DRAWN = {'generated': '$\\hat{X}_r$', 'reconstructed_r': 'De$_{2,r}$',
         'reconstructed_i': 'De$_{2,i}$'}


def save(figure, path, **notes):
    """Writes the figure as the path's ending says, at 150 dots per inch, under a temporary name
    first. A path without an ending is for print: it gets .png, at 300 dots per inch, and .pdf.
    notes: texts that a PNG keeps with it."""
    endings, dpi = (['.png', '.pdf'], 300) if not path.suffix else ([path.suffix], 150)
    for ending in endings:
        partial = path.with_name(f'.{path.stem}{ending}')
        # without the time in it: the same figure, the same file
        metadata = {'CreationDate': None} if ending == '.pdf' else notes
        try:
            figure.savefig(partial, dpi=dpi, format=ending[1:], metadata=metadata)
            partial.replace(path.with_suffix(ending))
        finally:
            partial.unlink(missing_ok=True)
    plt.close(figure)


def literal(text, longest=LONGEST):
    """Text that somebody chose, as matplotlib draws it letter by letter: $ begins no formula, and
    a name that begins with _ is no label to leave out. A text of more letters is cut."""
    text = text if len(text) <= longest else f'{text[:longest - 1]}…'
    return (' ' * text.startswith('_') + text).replace('$', r'\$')


def name(variant):
    """A variant as the paper writes it, for matplotlib's own TeX."""
    if variant in net.GCNETS:
        return f'GCNet$_{{{variant.upper()}}}$'
    return literal(titles.title(variant))


def style(variant):
    """Colour, line and marker of a variant's curve, the same in every figure."""
    return look(VARIANTS.index(variant))


def look(i):
    """Colour, line and marker of number i; from the ninth on colours come again."""
    turn, i = divmod(i, len(COLOURS))
    return dict(color=COLOURS[i], linestyle=STYLES[(i + turn) % len(STYLES)],
                marker=MARKERS[(i + turn) % len(MARKERS)])


def confusion(path, labels, predicted, classes):
    """Confusion matrix: a row a true class, in per cent of its images, with the counts."""
    # labels: a class that nobody shows or predicts has its row and column too
    counts = confusion_matrix(labels, predicted, labels=range(len(classes)))
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(0.75 * len(classes) + 2.2, 0.75 * len(classes) + 1.4),
                                constrained_layout=True)

    image = axes.imshow(share, cmap='Greys', vmin=0, vmax=100)
    for i, j in np.ndindex(*counts.shape):
        axes.text(j, i, f'{share[i, j]:.0f} %\n({counts[i, j]})', ha='center', va='center',
                  fontsize=8, color='white' if share[i, j] > 50 else 'black')

    names = [literal(name) for name in classes]
    axes.set(xticks=range(len(classes)), yticks=range(len(classes)), yticklabels=names,
             xlabel='predicted', ylabel='true',
             title=f'Accuracy {np.trace(counts) / counts.sum():.1%}, n = {counts.sum()}')
    axes.set_xticklabels(names, rotation=40, ha='right')
    figure.colorbar(image, ax=axes, shrink=0.7, label='% of the true class')
    save(figure, path)


def above_zero(losses):
    """Losses for a logarithmic axis: one may be 0, as Contr is beyond the margin."""
    return np.maximum(losses, 1e-6)


def curves(path, metrics_csv):
    """The losses over iterations, and accuracy on the test fold where it was measured."""
    losses = metrics.read_columns(metrics_csv)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), constrained_layout=True)

    for i, loss in enumerate(loss for loss in LOSSES if loss in losses):
        x, y = losses[loss]
        left.plot(x, above_zero(y), color=COLOURS[i], linestyle=STYLES[i], label=LOSSES[loss])
    left.set(xlabel='iteration', ylabel='loss, unweighted', yscale='log', title='Training losses')
    left.legend(loc='center left', bbox_to_anchor=(1, 0.5))  # beside the curves, not on them

    x, y = losses.get('test_accuracy', ((), np.array([])))
    right.plot(x, 100 * y, color=COLOURS[1], marker='o', label='test fold')
    right.set(xlabel='iteration', ylabel='accuracy, %', ylim=(0, 100),
              title='Accuracy on unseen people (for the eye only)')
    save(figure, path)


def faces(path, queries, references, outputs, labels, classes):
    """Test faces, a column each: X, what the network draws of it, and the true Xr.

    Pictures are N x 1 x 64 x 64 in [0, 1]; outputs are those of network.run, labels the true
    classes (N).
    """
    chosen, said = one_of_each(labels, SHOWN, SEED), outputs['prob'].argmax(1)
    rows = [('$X$', queries), *((DRAWN[name], outputs[name]) for name in DRAWN if name in outputs),
            ('$X_r$', references)]
    below = [(classes[labels[i]], guess(said[i], labels[i], classes)) for i in chosen]
    columns(path, [(title, images[chosen, 0]) for title, images in rows], below,
            'true class, and below it what the network says')


def columns(path, rows, below, caption):
    """Pictures of 64 x 64 in [0, 1], one below the other; rows: [(title, N pictures)]; below: lines
    of text, a list for each column."""
    # white lines, three pixels wide, between the pictures
    tiles = np.pad([images for _, images in rows], ((0, 0), (0, 0), (0, 3), (0, 3)),
                   constant_values=1)
    height, width = tiles.shape[2:]
    figure, axes = plt.subplots(figsize=(1.15 * len(below) + 0.8, 1.15 * len(rows) + 0.8),
                                constrained_layout=True)
    axes.imshow(np.vstack([np.hstack(line) for line in tiles]), cmap='gray', vmin=0, vmax=1)

    axes.set_xticks(width * np.arange(len(below)) + 32)
    axes.set_xticklabels(['\n'.join(map(literal, lines)) for lines in below])
    axes.set_yticks(height * np.arange(len(rows)) + 32)
    axes.set_yticklabels([title for title, _ in rows], fontsize=12)
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    axes.set_xlabel(caption)
    save(figure, path)


def guess(predicted, label, classes):
    """The predicted class, by its label, marked right or wrong."""
    return f'{"✓" if predicted == label else "✗"} {classes[predicted]}'


def one_of_each(labels, most, seed):
    """Indices of up to `most` images, drawn at random, going round the classes."""
    order = np.random.RandomState(seed).permutation(len(labels))
    # How often an image's class came before: sorted by it, each class has its turn.
    turn = [np.sum(labels[order[:i]] == labels[k]) for i, k in enumerate(order)]
    return [order[i] for i in np.lexsort((labels[order], turn))][:most]
