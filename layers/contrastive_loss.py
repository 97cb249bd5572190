"""Contr, the contrastive loss between two codes, equations 4 and 5 of the paper."""
import caffe
import numpy as np

from layers import params, shapes


class ContrastiveLoss(caffe.Layer):
    """Contr = a/2 max(0, m - S)^2 + (1 - a)/2 S^2, S = ||En2(X) - En2(X^r)||_2, mean of the batch.

    bottom[0], bottom[1]: codes of X and of X^r, N x p. bottom[2]: label of X, N. bottom[3], where
    there is one: as Augment's top[2], N, 0 where X has no reference, else such that the loss is
    averaged over the samples that have one. top[0]: the loss, one number. a = 1 where the labels of
    X and X^r differ. The reference is neutral, so they differ unless X is labelled neutral.

    param_str: margin m > 0; neutral: the neutral class's index, or null where the data set has none
    (then a = 1 always).
    """

    def setup(self, bottom, top):
        settings = params.read_params(self, margin=1.0, neutral=None)
        self.margin, self.neutral = settings['margin'], settings['neutral']
        if self.margin <= 0:
            raise ValueError(f'ContrastiveLoss: margin must be above 0, not {self.margin}')

    def reshape(self, bottom, top):
        shapes.check_alike(self, bottom, 'codes')
        if bottom[2].count != bottom[0].num:
            raise ValueError(f'ContrastiveLoss: {bottom[0].num} codes but {bottom[2].count} labels')
        if len(bottom) > 3 and bottom[3].count != bottom[0].num:
            raise ValueError(f'ContrastiveLoss: {bottom[0].num} codes, {bottom[3].count} marks')
        top[0].reshape()

    def forward(self, bottom, top):
        self.difference = (bottom[0].data - bottom[1].data).reshape(bottom[0].num, -1)
        self.distance = np.sqrt(np.einsum('np,np->n', self.difference, self.difference))
        # no label is -1: without a neutral class all differ
        self.differ = bottom[2].data.ravel() != (-1 if self.neutral is None else self.neutral)
        self.missing = np.maximum(0, self.margin - self.distance)  # how far inside the margin
        # Augment's weight is of what is squared afterwards, as a picture is
        self.weight = bottom[3].data.ravel() ** 2 if len(bottom) > 3 else 1
        squares = np.where(self.differ, self.missing, self.distance) ** 2
        top[0].data[...] = np.mean(self.weight * squares) / 2

    def backward(self, top, propagate_down, bottom):
        # d/dS is -(m - S)+ where labels differ, S where not; dS/d(code) is difference / S. Where
        # both codes are the same S has no gradient: 0, not nan.
        push = np.where(self.differ, -self.missing / np.maximum(self.distance, 1e-12), 1)
        push = push * self.weight
        gradient = top[0].diff / len(push) * push[:, None] * self.difference
        gradient = gradient.reshape(bottom[0].data.shape)
        for i, sign in ((0, 1), (1, -1)):
            if propagate_down[i]:
                bottom[i].diff[...] = sign * gradient
