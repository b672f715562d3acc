"""Zero-shot localization: patches are compared with a fixed vocabulary, and boxes come out (RadiSimCLIP, MedAGI 2025).

Softmax over the vocabulary of 100 times the cosines gives each patch's probabilities. A structure's heat is its probability where it is
the most probable entry, and 0 elsewhere, upsampled bilinearly to the model's input; the pixels that reach the pixel threshold are its label
map, and its box is the one around the largest component of them whose highest probability reaches the box threshold. Both thresholds are
those of the best mean box overlap on the tune split. Pointing takes the highest pixel of the upsampled probabilities.

An item is an image, and its score the mean over the structures that its mask shows. The candidates are those structures, or what the
image's classification names: the entries of the vocabulary whose probability, by the same softmax of the image's cosines, is above
uniform. A structure that is not named scores 0. Chance is the mean mask's score (`bench/mean_mask.py`), which names every structure.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import softmax

from radisim_cl.bench import boxes
from radisim_cl.bench.items import MEAN_MASK, MODEL
from radisim_cl.bench.mean_mask import mean_mask
from radisim_cl.bench.protocols import _labelled
from radisim_cl.bench.seen import Embed, Needs, Seen
from radisim_cl.specs.benchmark import GroundSubtask
from radisim_cl.specs.metrics import BY_PROTOCOL
from radisim_cl.stats import Values

NEEDS = Needs(places=True, tune=True)
LOGIT_SCALE = 100.0
GRID = (0.05, 0.1, 0.3, 0.5, 0.7, 0.9)
"""Thresholds that are tried."""
F = npt.NDArray[np.float64]


def queries(spec: GroundSubtask, frame: pd.DataFrame, embed: Embed) -> npt.NDArray[np.float32]:
    """(K, D) embeddings of the vocabulary's entries."""
    return _labelled.ensembles(spec.prompts(), embed)


def maps(spec: GroundSubtask, cosines: npt.NDArray[np.float32], structure: int, size: int) -> tuple[F, F]:
    """(size, size) probability, and heat, of a structure from an image's (gh, gw, K) cosines."""
    probability = softmax(LOGIT_SCALE * cosines.astype(np.float64), axis=-1)
    entry = list(spec.vocabulary).index(spec.structures[structure])
    wanted = probability[..., entry]
    both = boxes.upsampled(np.stack([wanted, np.where(probability.argmax(axis=-1) == entry, wanted, 0.0)]), size)
    return both[0], both[1]


def thresholds(spec: GroundSubtask, seen: Seen) -> tuple[float, float] | None:
    """The pixel and the box threshold of the best mean box overlap on the tune split, the lowest of equals; None without a mask there."""
    reached = []
    for i in np.flatnonzero(seen.frame["split"] == "tune"):
        each = []
        for s in _shown(seen.masks[i]):
            _, heat = maps(spec, seen.patches[i], s, len(seen.masks[i]))
            truth = boxes.extent(seen.masks[i] == s + 1)
            found = [boxes.components(heat, pixel) for pixel in GRID]
            each.append([[boxes.iou(boxes.chosen(f, box), truth) for box in GRID] for f in found])
        if each:
            reached.append(np.mean(each, axis=0))
    if not reached:
        return None
    pixel, box = np.unravel_index(np.mean(reached, axis=0).argmax(), (len(GRID), len(GRID)))
    return GRID[pixel], GRID[box]


def score(spec: GroundSubtask, seen: Seen) -> dict[str, pd.DataFrame]:
    """One row an image and structure that its mask shows, `truth` being the structure; `scores` in the order of the protocol's metrics."""
    cut, tune = thresholds(spec, seen), seen.masks[(seen.frame["split"] == "tune").to_numpy()]
    blind = {s: mean_mask(m[m.any(axis=(1, 2))]) for s in range(len(spec.structures)) if (m := tune == s + 1).any()}
    named = softmax(LOGIT_SCALE * seen.cosines.astype(np.float64), axis=1) > 1 / seen.cosines.shape[1]
    items, patients = (seen.frame[column].to_numpy() for column in ("item", "patient"))
    rows: dict[str, list[dict[str, object]]] = {MODEL: [], MEAN_MASK: []}
    for i in np.flatnonzero(seen.frame["split"] == seen.scored):
        for s in _shown(seen.masks[i]):
            mask, row = seen.masks[i] == s + 1, {"item": items[i], "patient": patients[i], "truth": s}
            reached = _reached(*maps(spec, seen.patches[i], s, len(mask)), mask, cut) if cut else (np.nan,) * 4
            candidate = named[i, list(spec.vocabulary).index(spec.structures[s])]
            rows[MODEL].append(row | {"scores": [*reached, *(x if candidate or cut is None else 0.0 for x in reached)]})
            if s in blind:
                rows[MEAN_MASK].append(row | {"scores": [*blind[s].reaches(mask)] * 2})
    return {by: pd.DataFrame(found, columns=["item", "patient", "truth", "scores"]) for by, found in rows.items()}


def _shown(mask: npt.NDArray[np.uint8]) -> list[int]:
    return [int(s) - 1 for s in np.unique(mask) if s]


def _reached(probability: F, heat: F, mask: npt.NDArray[np.bool_], cut: tuple[float, float]) -> tuple[float, float, float, float]:
    """Box overlap, whether boxes overlap by half, Dice of the label map, and whether the highest pixel hits."""
    overlap = boxes.iou(boxes.chosen(boxes.components(heat, cut[0]), cut[1]), boxes.extent(mask))
    return overlap, float(overlap >= 0.5), boxes.dice(heat >= cut[0], mask), float(mask[np.unravel_index(probability.argmax(), mask.shape)])


def read(spec: GroundSubtask, rows: pd.DataFrame) -> dict[str, Values]:
    """What the model reached, image by image, beside what the mean mask reached."""
    by = {str(who): part for who, part in rows.groupby("by")}
    if MODEL not in by:
        return {}
    model, blind = by[MODEL], by.get(MEAN_MASK, rows.iloc[:0])
    unknown = [spec.structures[s] for s in sorted(set(model["truth"]) - set(blind["truth"]))]
    patients, values = _by_item(model)
    _, chance = _by_item(blind)
    return {MODEL: Values(
        patients, values, {} if unknown else {metric: float(v.mean()) for metric, v in chance.items()},
        [int(model.loc[model["truth"] == s, "patient"].nunique()) for s in range(len(spec.structures))],
        f"no image of the tune split shows {unknown[0]!r}, and thresholds and chance are made there" if unknown else "",
    )}


def _by_item(rows: pd.DataFrame) -> tuple[npt.NDArray[np.str_], dict[str, F]]:
    """The patient of each image, and by metric the mean over its structures."""
    names = BY_PROTOCOL["ground"]
    table = pd.DataFrame(rows["scores"].to_list(), columns=names, index=rows.index).groupby(rows["item"]).mean()
    patients = rows.groupby("item")["patient"].first().to_numpy(dtype=str)
    return patients, {metric: table[metric].to_numpy(dtype=np.float64) for metric in names}


def lacking(spec: GroundSubtask, answers: Values) -> str:
    """Too few patients, or no tune split to choose thresholds on."""
    n = len(np.unique(answers.patients))
    return f"{n} patients with a mask, and {spec.min_patients} are needed" if n < spec.min_patients else answers.lacking
