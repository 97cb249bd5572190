"""Losses and test accuracy over iterations of all variants together."""
import numpy as np
from matplotlib import ticker

from tools.core import plots

POINTS = 50  # most points of a loss's curve: where there are more, means of neighbours are drawn


def thin(x, y, most=POINTS):
    """Both as the means of at most `most` runs of neighbours."""
    return tuple([part.mean() for part in np.array_split(z, min(most, len(z)))] for z in (x, y))


def draw(path, metrics):
    """A panel a loss and one of accuracy, of {variant: what metrics.read_columns gives}."""
    losses = [loss for loss in plots.LOSSES if any(loss in own for own in metrics.values())]
    columns = min(3, len(losses) + 1)
    rows = -(-(len(losses) + 1) // columns)
    figure, grid = plots.plt.subplots(rows, columns, figsize=(3.2 * columns + 1.2, 2.6 * rows),
                                      constrained_layout=True, squeeze=False)
    *panels, last = grid.flat[:len(losses) + 1]
    for axes in grid.flat[len(losses) + 1:]:
        axes.axis('off')

    for axes, loss in zip(panels, losses):
        for variant, own in metrics.items():
            if loss in own:
                x, y = thin(*own[loss])
                axes.plot(x, plots.above_zero(y), linewidth=1.2,
                          **{**plots.style(variant), 'marker': None})
        axes.set(title=plots.LOSSES[loss], xlabel='iteration', ylabel='loss, unweighted',
                 yscale='log')
        # matplotlib's own ticks are powers of ten, of which a loss may pass one or none
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter('{x:g}')
        axes.yaxis.set_minor_formatter(ticker.NullFormatter())

    for variant, own in metrics.items():
        x, y = own.get('test_accuracy', (np.array([]), np.array([])))
        last.plot(x, 100 * y, markersize=4, label=plots.name(variant), **plots.style(variant))
    last.set(title='Accuracy on unseen people', xlabel='iteration', ylabel='accuracy, %',
             ylim=(0, 100))
    # one legend for all panels, beside the last
    last.legend(loc='center left', bbox_to_anchor=(1, 0.5), frameon=False)
    plots.save(figure, path)
