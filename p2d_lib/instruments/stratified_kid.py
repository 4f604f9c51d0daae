"""KID of sets whose classes were chosen in fixed numbers.

The unbiased KID takes images for independent. In a set with a fixed number of each class two images are of one class
too rarely, so equal laws come out below 0, the further the more the features part the classes. Here images of one class
are compared with the weight that the law gives them.
"""

import numpy as np

from p2d_lib.instruments.distances import cubic_kernel


def stratified_kid(a: np.ndarray, b: np.ndarray, classes_a: np.ndarray, classes_b: np.ndarray) -> float:
    """Squared MMD under the kernel of KID between mixtures of equal parts of every class; 0 on average for equal laws.

    a (n, d), b (m, d): features; classes_a (n,), classes_b (m,): the class of each row. NaN where a class has fewer
    than two rows in a set or is missing in one of them: then no unbiased estimate exists.
    """
    names = np.union1d(classes_a, classes_b)
    one_hot = [(classes[:, None] == names).astype(float) for classes in (np.asarray(classes_a), np.asarray(classes_b))]
    counts = [part.sum(axis=0) for part in one_hot]
    if min(each.min() for each in counts) < 2:
        return np.nan
    within = []
    for features, part, n in zip((a, b), one_hot, counts, strict=True):
        kernel = cubic_kernel(features, features)
        sums = part.T @ kernel @ part
        own = np.diag(sums) - part.T @ np.diag(kernel)  # pairs of different images of one class
        means = sums / np.outer(n, n)
        np.fill_diagonal(means, own / (n * (n - 1)))
        within.append(means.mean())
    between = (one_hot[0].T @ cubic_kernel(a, b) @ one_hot[1] / np.outer(*counts)).mean()
    return float(within[0] + within[1] - 2 * between)
