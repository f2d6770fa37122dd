"""The report of a campaign: one self-contained HTML page."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..networks import model_size
from . import tables
from .names import KERNELS, NAMES, OPTIMIZERS
from .plan import image_counts
from .printed import N_PRM, TABLE_1, TABLE_S1, TEST_IMAGES
from .statements import TOPICS
from .verdicts import RULES

STYLE = """
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem; color: #1a1a1a;
       overflow-wrap: anywhere }
h1 { font-size: 1.6rem } nav { margin: 1rem 0 } summary { cursor: pointer }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd } h3 { margin-top: 1.6rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 }
th, td { padding: .25rem .45rem; text-align: right; border-bottom: 1px solid #e5e5e5; white-space: nowrap }
thead th { border-bottom: 2px solid #999 } .word { text-align: left }
td.text { white-space: normal; min-width: 16rem }
figure { margin: 1rem 0 } img { max-width: 100%; height: auto } figcaption { color: #555; font-size: .9rem }
@media print {
  body { font-size: 10pt; padding: 0 } .wide { overflow-x: visible } table { font-size: 7.5pt }
  th { white-space: normal } th, td { overflow-wrap: normal; padding: .15rem .25rem }
  td.text { white-space: normal; min-width: 10rem }
  tr, figure { break-inside: avoid } h2, h3 { break-after: avoid } img { max-height: 22cm }
}
"""
CAPTIONS = {
    "answer": "Barriers between training weights on the training landscape: of the straight line, after the published "
    "Adam steps, and at the end of the second search. Medians with quartiles. Values below the "
    "dotted line count as no barrier; barriers up to 1e-8 are drawn at 1e-8.",
    "figure1": "Fig. 1: images, a network, and a sketch of its landscape.",
    "figure2": "Fig. 2: LSTM loss curves; dashed lines at the minima.",
    "figure3": "Fig. 3: paths on a two-dimensional landscape, λ = 10, 100, 1000.",
    "figure4": "Fig. 4: path heights on the training landscape, Eq. (5), by Adam; beside them the maxima over "
    "continuous t.",
    "figure4-adam-barrier": "Beside Fig. 4: barriers of the same paths, maximum minus the loss of the higher endpoint.",
    "figure4-courses": "Beside Fig. 4: barriers between training weights against the cost of the search, medians with "
    "quartiles; Eq. (5) above the higher endpoint, of the path at every step. Adam solid, the second search "
    "dashed; of a search, every step is drawn at the mean cost of its steps.",
    "figure4-still-height": "Beside Fig. 4: heights and maxima of paths by the second search.",
    "figure4-still-barrier": "Beside Fig. 4: barriers of paths by the second search.",
    "figure5": "Fig. 5: lengths of L-BFGS-GSS training and SGD test weights; dotted: |ω̄_BFGS − ω̄|.",
    "figure6": "Fig. 6: kernel PCA (RBF, 2σ² = N_prm) of L-BFGS-GSS training (blue) and SGD test weights (red).",
    "figureS1": "Fig. S1: loss curves of the other networks.",
    "figureS2": "Fig. S2: path heights on the test landscape, Eq. (5), by Adam; beside them the maxima over continuous "
    "t.",
    "figureS2-adam-barrier": "Beside Fig. S2: barriers of the same paths.",
    "figureS2-still-height": "Beside Fig. S2: heights and maxima of paths by the second search.",
    "figureS2-still-barrier": "Beside Fig. S2: barriers of paths by the second search.",
    "figureS3": "Fig. S3: lengths of L-BFGS-GSS and SGD test weights.",
    "figureS4": "Fig. S4: kernel PCA (RBF, 2σ² = N_prm) of L-BFGS-GSS and SGD test weights.",
}
#: The figure that the page opens with.
FIRST = "answer"
#: The sections of the page, by the names that their headings are linked by.
SECTIONS = {
    "answer": "The answer",
    "figures": "Figures",
    "tables": "Tables",
    "statements": "Statements",
    "plan": "What was run",
    "about": "About",
}
SHARPNESS = (
    "The Hessian of the training and of the test loss at the first vectors of every set, means. Scale-free: diag|ω| H "
    "diag|ω|, which does not change where a ReLU unit's incoming weights grow by a factor and its outgoing weights "
    "shrink by it. Near a loss of 0 the Hessian of the cross-entropy vanishes too."
)
AVERAGES = "Means over the vectors of a set and over the midpoints of its pairs; and the mean vector of the whole set."
ISOTROPIC = (
    "Kernel PCA (RBF, 2σ² = N_prm) of 48 and 48 vectors with independent normal components of mean 0 and Table S1's σ: "
    "as far as the lengths of the paper's vectors alone separate them. Area under the ROC curve, and distance of the "
    "medians in standard deviations."
)
#: What the selection of runs by training loss means.
RANKING = (
    "The runs with the lowest training loss are kept. If runs end at a target loss, the last step's distance below the "
    "target decides, and runs that did not reach it come last. Without target losses the loss after all epochs decides."
)


def render_report(
    results: Mapping[str, Any], figures: Mapping[str, bytes], about: Mapping[str, Any], title: str = "Reproduction"
) -> str:
    """Return the page: answer, figures, tables with the paper's values beside, statements, plan, versions and cost.

    Parameters
    ----------
    results
        Of :func:`minilandscape.paper.results.collect`.
    figures
        PNG images by name.
    about
        Text or list of texts by name, for the end of the page: data, versions, cost, failures.
    """
    plan, networks = results["plan"], results["networks"]
    named = [(NAMES[model], network) for model, network in networks.items()]
    parts = [f"<h1>{escape(title)}</h1>", _contents()]
    parts += [_heading("answer"), *_answer(plan, networks, figures)]
    parts.append(_heading("figures"))
    parts += [_figure(name, figures[name]) for name in sorted(figures, key=_place) if name != FIRST]
    parts.append(_heading("tables"))
    if networks:
        parts += [_tested(plan, networks), _table1(networks), _table_s1(networks), "<h3>Path heights</h3>"]
        parts += [_if_any(tables.heights(named), "", "<p>No path is finished yet.</p>")]
        parts += [
            _if_any(tables.scan(named), "<h3>Paths against λ</h3>"),
            _if_any(tables.resolutions(named), "<h3>Paths against N_F and M</h3>"),
            _if_any(tables.curvature(named), f"<h3>Sharpness</h3><p>{escape(SHARPNESS)}</p>"),
            _if_any(tables.averages(named), f"<h3>Generalisation and averages</h3><p>{escape(AVERAGES)}</p>"),
            _if_any(tables.isotropic(named), f"<h3>Fig. 6 by lengths alone</h3><p>{escape(ISOTROPIC)}</p>"),
            _if_any(
                tables.target_losses(named),
                "<h3>L-BFGS-GSS's training weights against the target loss</h3><p>p: against the row before.</p>",
            ),
        ]
    parts.append(_heading("statements"))
    rules = "".join(f"<li>{escape(rule)}</li>" for rule in RULES)
    parts.append(f"<details><summary>The rules of verdicts</summary><ul>{rules}</ul></details>")
    parts += [_if_any(tables.counts(named), ""), _statements(networks)] if networks else []
    parts += [_heading("plan"), _plan(plan)]
    parts.append(_heading("about") + "<dl>")
    for name, text in about.items():
        lines = [text] if isinstance(text, str) else list(text)
        parts.append(f"<dt><b>{escape(name)}</b></dt>" + "".join(f"<dd>{escape(str(line))}</dd>" for line in lines))
    parts.append("</dl>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _heading(name: str) -> str:
    return f'<h2 id="{name}">{SECTIONS[name]}</h2>'


def _contents() -> str:
    links = " · ".join(f'<a href="#{name}">{title}</a>' for name, title in SECTIONS.items())
    return f"<nav>{links}</nav>"


def _answer(plan: Mapping[str, Any], networks: Mapping[str, Any], figures: Mapping[str, bytes]) -> list[str]:
    """Return the figure and verdicts that answer the paper's main questions, with the number of images."""
    if not networks:
        return ["<p>No network's training is finished yet.</p>"]
    sizes = {model: f"{image_counts(plan, model)['train']:,}" for model in networks}
    named = [(f"{NAMES[model]}, at {sizes[model]} images", network) for model, network in networks.items()]
    parts = [_figure(FIRST, figures[FIRST])] if FIRST in figures else []
    text = (
        f"Variant {plan['variant']}. After each verdict stand the two compared numbers, of L-BFGS-GSS and of SGD. For "
    )
    text += (
        "kernel PCA they are the area under the ROC curve and the distance of the medians; for centroids, half their "
    )
    text += "distance and the mean distance of vectors from their own centroid."
    return [*parts, f"<p>{escape(text)}</p>", _table(*tables.headlines(named), text=range(len(named) + 1))]


def _place(name: str) -> tuple[bool, str]:
    return (name.startswith("figureS"), name)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], text: Sequence[int] = ()) -> str:
    """Return a table, words to the left, numbers to the right; columns in ``text`` may break into lines."""
    words = [all(re.search("[^\\W\\d_]{3}", str(row[k])) for row in rows) for k in range(len(head))]

    def line(tag: str, row: Sequence[Any]) -> str:
        kinds = [" ".join(["word"] * words[k] + ["text"] * (k in text and tag == "td")) for k in range(len(row))]
        return "".join(
            f'<{tag} class="{kind}">{escape(str(value))}</{tag}>' if kind else f"<{tag}>{escape(str(value))}</{tag}>"
            for kind, value in zip(kinds, row, strict=True)
        )

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{line("th", head)}</tr></thead><tbody>{body}</tbody></table></div>'


def _if_any(table: tables.Table, above: str, otherwise: str = "") -> str:
    return above + _table(*table) if table.rows else otherwise


def _plan(plan: Mapping[str, Any]) -> str:
    where = ", on a GPU" if plan["device"] == "gpu" else ""
    what = (
        f"Scale {escape(plan['scale'])}, variant {escape(plan['variant'])}{where}. A dash: the paper names no number."
    )
    return f"<p>{what}</p>" + _table(*tables.plan(plan), text=(0, 1)) + f"<p>{escape(RANKING)}</p>"


def _tested(plan: Mapping[str, Any], networks: Mapping[str, Any]) -> str:
    """Return the number of images behind the test losses, fewer than the paper's at small scales."""
    counts = {NAMES[model]: image_counts(plan, model)["test_curves"] for model in networks}
    if len(set(counts.values())) == 1:
        of = f"the first {next(iter(counts.values())):,} test images"
    else:
        of = "the first " + ", ".join(f"{n:,} ({name})" for name, n in counts.items()) + " test images"
    return (
        f"<p>Test losses, and with them early stopping and the test weights, are of {of}; the paper's are of all "
        f"{TEST_IMAGES:,}.</p>"
    )


def _table1(networks: Mapping[str, Any]) -> str:
    rows = []
    for model, network in networks.items():
        for o, (name, _) in reversed(OPTIMIZERS.items()):
            row: list[Any] = [f"{NAMES[model]}, {name}"]
            for k, weights in enumerate(("train", "test")):
                found = network["table1"][o][weights]
                row += [f"{found['mean']:.3g}", f"{found['sd']:.1g}", f"{TABLE_1[model][o][k]:.3g}"]
            rows.append([*row, found["n"], f"{model_size(model):,}", f"{N_PRM[model]:,}"])
    head = ["Table 1", "train loss", "s.d.", "paper", "test loss", "s.d.", "paper", "runs", "N_prm", "paper"]
    return _table(head, rows)


def _table_s1(networks: Mapping[str, Any]) -> str:
    rows = []
    for model, network in networks.items():
        for o, (name, _) in reversed(OPTIMIZERS.items()):
            row: list[Any] = [f"{NAMES[model]}, {name}"]
            for k, weights in enumerate(("train", "test")):
                found, (mu, sigma) = network["tableS1"][o][weights], TABLE_S1[model][o][k]
                row += [f"{found['mu']:.2e}", f"{mu:.2e}", f"{found['sigma']:.3g}", f"{sigma:.3g}"]
            rows.append(row)
    head = ["Table S1", "train μ", "paper", "train σ", "paper", "test μ", "paper", "test σ", "paper"]
    return _table(head, rows)


def _statements(networks: Mapping[str, Any]) -> str:
    """Return a table for each topic; the network in a column."""
    text = ""
    for topic, title in TOPICS.items():
        of_topic = [
            (NAMES[model], {"statements": [e for e in network["statements"] if e["topic"] == topic]})
            for model, network in networks.items()
        ]
        head, rows = tables.statements(of_topic)
        rows = sorted(rows, key=lambda row: [r[0] for r in rows].index(row[0]))  # a statement's networks together
        if rows:
            text += f"<h3>{title}</h3>" + _table(head, rows, (0, 9))
    return text


def _figure(name: str, png: bytes) -> str:
    image = base64.b64encode(png).decode()
    caption = CAPTIONS.get(name)
    if caption is None:  # a figure of the paper with another kernel, "data not shown" there
        base, _, kernel = name.partition("-")
        caption = f"Beside {CAPTIONS.get(base, base).partition(':')[0]}: the same with {KERNELS.get(kernel, kernel)}."
    return (
        f'<figure id="{escape(name)}"><img alt="{escape(caption)}" src="data:image/png;base64,{image}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
