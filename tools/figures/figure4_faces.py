"""Figure 4 of the paper, its kind: weak expressions that CNN or GCNet did not recognise."""
import numpy as np

from tools.core import plots

WEAK = 1 / 3       # of the frames, those of the least depth
COLUMNS = 8        # faces a row
SEED = 1           # of which ones are shown


def missed_alone(judged, pair):
    """(weak, {row title: N booleans}) of the frames that the one, the other and both of two
    variants missed among the weak ones; weak: N booleans."""
    depth = np.array([row['depth'] for row in judged.rows])
    weak = depth <= np.quantile(depth, WEAK)
    first, second = (judged.missed[variant] & weak for variant in pair)
    names = [plots.name(variant) for variant in pair]
    return weak, {f'{names[0]}\nalone': first & ~second, f'{names[1]}\nalone': second & ~first,
                  'both': first & second}


def choose(judged, mask, most=COLUMNS, seed=SEED):
    """Indices of up to `most` of the frames in the mask, drawn at random, going round the people,
    in the order of their depth."""
    frames = np.flatnonzero(mask)
    _, person = np.unique([judged.rows[i]['subject'] for i in frames], return_inverse=True)
    chosen = frames[plots.one_of_each(person, most, seed)]
    return sorted(chosen, key=lambda i: judged.rows[i]['depth'])


def caption(judged, i, pair, classes):
    """What is said of frame i: its depth and class, and what each of two networks says."""
    row = judged.rows[i]
    lines = [f'{row["depth"]:.2f} {row["expression"]}']
    for variant in pair:
        said, truth = judged.said[variant][i], classes.index(row['expression'])
        lines.append(plots.guess(said, truth, classes))
    return '\n'.join(map(plots.literal, lines))


def draw(path, judged, pair, classes):
    """Three rows of faces: missed by the first of two variants alone, by the second alone, by
    both. judged: a figure4_depth.Judged. Gives back why there is no figure where there is none."""
    weak, rows = missed_alone(judged, pair)
    if not any(mask.any() for mask in rows.values()):
        return 'every weak expression was recognised by both'
    figure, grid = plots.plt.subplots(len(rows), COLUMNS, figsize=(1.25 * COLUMNS + 1, 5.6),
                                      constrained_layout=True, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.set_frame_on(False)

    for line, (title, mask) in zip(grid, rows.items()):
        line[0].set_ylabel(f'{title}\n{mask.sum()} of {weak.sum()}', rotation=0, ha='right',
                           va='center', fontsize=9)
        for axes, i in zip(line, choose(judged, mask) if mask.any() else ()):
            axes.imshow(judged.crops[i], cmap='gray', vmin=0, vmax=255)
            axes.set_xlabel(caption(judged, i, pair, classes), fontsize=8)
    names = ', then '.join(plots.name(variant) for variant in pair)
    kind = 'depth' if judged.known else 'position in the sequence'
    figure.suptitle(f'Weak expressions not recognised. Below each face: {kind} and true class, '
                    f'what {names} says', fontsize=10)
    plots.save(figure, path)
