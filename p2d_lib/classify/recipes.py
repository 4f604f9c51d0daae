"""Training recipes compared on val: dropout before the last layer, and how the classes are weighted in the loss.

VQA-VLM-Derma offers both as options of its ResNet-18 (dropout 0 or 0.2; no weights, weights capped at 3, or uncapped)
and prints one of the six. Here all six train the same network on the train split, at the same budget.
"""

from dataclasses import replace
from itertools import product

import pandas as pd
import torch

from p2d_lib.classify import comparison, protocol
from p2d_lib.classify.comparison import PRIMARY, Replicates
from p2d_lib.classify.image_sets import ImageSets
from p2d_lib.classify.protocol import Protocol
from p2d_lib.classify.report import NAMES
from p2d_lib.classify.report_training import lead, on_val
from p2d_lib.models.class_batches import CLASS_WEIGHTS
from p2d_lib.run import Run

DROPOUTS = (0.0, 0.2)
RECIPES = {
    f"dropout {dropout:g}, {weights}": (dropout, weights) for dropout, weights in product(DROPOUTS, CLASS_WEIGHTS)
}
PLAIN = next(iter(RECIPES))  # neither dropout nor weights: the others are compared with it


def train_and_read_val(run: Run, images: ImageSets, budget: Protocol, device: torch.device) -> pd.DataFrame:
    """schemas.READINGS of the val images by the networks of all RECIPES, whose names stand in the column arm.

    budget: its arms, dropout and class weights do not matter. Resumes as `protocol.train_and_read_val` does.
    """
    parts = []
    for name, (dropout, weights) in RECIPES.items():
        recipe = replace(budget, arms=["real"], dropout=dropout, class_weights=weights)
        parts.append(protocol.train_and_read_val(run, images, recipe, device).assign(arm=name))
    return pd.concat(parts, ignore_index=True)


def table(of_recipes: Replicates) -> pd.DataFrame:
    """One row a recipe: each score on val with its 95 % interval over lesions and seeds, and the paired difference of
    the primary score from PLAIN, in points. of_recipes: `comparison.replicates`."""
    rows = []
    for name, cells in on_val(of_recipes, PLAIN, "− first (points)").items():
        dropout, weights = RECIPES[name]
        rows.append({"dropout": f"{dropout:g}", "class weights": weights} | cells)
    return pd.DataFrame(rows)


def finding(of_recipes: Replicates) -> str:
    """One sentence: the recipe that reads best on val, and whether it is shown to differ from PLAIN."""
    best, difference, p = comparison.best_against(of_recipes, PLAIN)
    if best == PLAIN:
        return f"Recipes: without dropout and class weights the {NAMES[PRIMARY]} on val is highest of six."
    return f"Recipes: “{best}” has the highest {NAMES[PRIMARY]} on val of six, {lead(difference, f'“{PLAIN}”', p)}."
