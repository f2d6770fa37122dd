"""The report of a campaign: one self-contained page of HTML."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..campaign.plan import TEST_IMAGES, image_counts
from ..campaign.results import TABLE_1, TABLE_S1
from ..campaign.statements import RULES
from . import tables
from .paper import KERNELS, NAMES, OPTIMIZERS

STYLE = """
:root { color-scheme: light }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem; color: #1a1a1a;
       overflow-wrap: anywhere }
h1 { font-size: 1.6rem } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ddd } h3 { margin-top: 1.6rem }
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
    "figure1": "Fig. 1: images, a network, and a sketch of its landscape.",
    "figure2": "Fig. 2: LSTM loss curves; dashed lines at the minima.",
    "figure3": "Fig. 3: paths on a two-dimensional landscape, λ = 10, 100, 1000.",
    "figure4": "Fig. 4: path heights on the training landscape, by Adam; the highest loss anywhere on the path.",
    "figure4-adam-excess": "Beside Fig. 4: the same paths' heights above their higher ends.",
    "figure4-still-height": "Beside Fig. 4: heights of paths by the quasi-Newton solver.",
    "figure4-still-excess": "Beside Fig. 4: heights above the higher ends, of paths by the quasi-Newton solver.",
    "figure5": "Fig. 5: lengths of L-BFGS-GSS training and SGD test weights; dotted: |ω̄_BFGS − ω̄|.",
    "figure6": "Fig. 6: kernel PCA (RBF, 2σ² = N_prm) of L-BFGS-GSS training (blue) and SGD test weights (red).",
    "figureS1": "Fig. S1: loss curves of the other networks.",
    "figureS2": "Fig. S2: path heights on the test landscape, by Adam; the highest loss anywhere on the path.",
    "figureS2-adam-excess": "Beside Fig. S2: the same paths' heights above their higher ends.",
    "figureS2-still-height": "Beside Fig. S2: heights of paths by the quasi-Newton solver.",
    "figureS2-still-excess": "Beside Fig. S2: heights above the higher ends, of paths by the quasi-Newton solver.",
    "figureS3": "Fig. S3: lengths of L-BFGS-GSS and SGD test weights.",
    "figureS4": "Fig. S4: kernel PCA (RBF, 2σ² = N_prm) of L-BFGS-GSS and SGD test weights.",
}


def render_report(
    results: Mapping[str, Any], figures: Mapping[str, bytes], about: Mapping[str, Any], title: str = "Reproduction"
) -> str:
    """The page: tables beside the paper's own values, figures, tests, the plan, data, versions and cost.

    Parameters
    ----------
    results
        Of :func:`minilandscape.campaign.results.collect`.
    figures
        PNG images by name.
    about
        Name to text, or to a list of texts, put at the end: data, versions, cost, failures.
    """
    parts = [f"<h1>{escape(title)}</h1>", _plan(results["plan"])]
    networks = results["networks"]
    if not networks:
        parts.append("<p>No network's training is finished yet.</p>")
    else:
        parts += ["<h2>Tables</h2>", _tested(results["plan"], networks), _table1(networks), _table_s1(networks)]
        named = [(NAMES[model], network) for model, network in networks.items()]
        parts += ["<h2>Path heights</h2>", _if_any(tables.heights(named), "", "<p>No path is finished yet.</p>")]
        parts += [
            _if_any(tables.scan(named), "<h3>Paths against λ</h3>"),
            _if_any(
                tables.floors(named),
                "<h3>L-BFGS-GSS's training weights against the loss floor</h3><p>p: against the floor before.</p>",
            ),
        ]
        parts += ["<h2>Tests</h2>", _tests(networks)]
    parts.append("<h2>Figures</h2>")
    parts += [_figure(name, figures[name]) for name in sorted(figures, key=_place)]
    parts.append("<h2>About</h2><dl>")
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


def _place(name: str) -> tuple[bool, str]:
    return ("S" in name.partition("-")[0], name)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], text: Sequence[int] = ()) -> str:
    """Columns of words to the left, of numbers to the right; those of ``text`` may be broken into lines."""
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
    columns = ("runs", "pairs", "train_size", "sgd_updates", "sgd_floor", "iterations", "loss_floor", "steps")
    rows = []
    for model, network in plan["networks"].items():
        counts = image_counts(plan, model)
        images = f"{counts['test_curves']:,}", f"{counts['test_landscape']:,}"
        rows.append([NAMES[model], *(f"{network[name]:g}" for name in columns), *images])
    head = ["", "runs", "pairs", "images", "SGD updates", "SGD ends at", "iterations", "L-BFGS ends at", "Adam steps"]
    head += ["test images: curves", "landscape"]
    where = ", on a GPU" if plan["device"] == "gpu" else ""
    what = f"Scale {escape(plan['scale'])}, variant {escape(plan['variant'])}, seed {plan['seed']}{where}."
    return f"<p>{what}</p>" + _table(head, rows)


def _tested(plan: Mapping[str, Any], networks: Mapping[str, Any]) -> str:
    """On how many images the test losses are, of which there are more than are used at small scales."""
    counts = {NAMES[model]: image_counts(plan, model)["test_curves"] for model in networks}
    if len(set(counts.values())) == 1:
        of = f"the first {next(iter(counts.values())):,} test images"
    else:
        of = "the first " + ", ".join(f"{n:,} ({name})" for name, n in counts.items()) + " test images"
    return (
        f"<p>Test losses, and with them the choice of the test weights, are on {of}; the paper's are on all "
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
            rows.append([*row, found["n"]])
    head = ["Table 1", "train loss", "s.d.", "paper", "test loss", "s.d.", "paper", "runs"]
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


def _number(value: float | None, digits: int) -> str:
    """None stands for NaN where results were read from their file."""
    return "" if value is None else f"{value:.{digits}g}"


def _tests(networks: Mapping[str, Any]) -> str:
    text = f"<p>{escape(RULES)}</p>"
    for model, network in networks.items():
        rows = [
            [
                t["says"],
                t["claim"],
                t["here"],
                *(_number(t[k], d) for k, d in (("first", 3), ("second", 3), ("p", 2), ("least", 1))),
                "\u00a0+\u00a0".join(map(str, t["n"])),
                t["of"],
            ]
            for t in network["statements"]
        ]
        head = ["the paper says", "of this network", "here", "first", "second", "p", "least p", "n", "first, second"]
        text += f"<h3>{NAMES[model]}</h3>" + _table(head, rows, (0, 8))
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
