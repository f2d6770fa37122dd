"""Commands about networks: train and evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from .inputs import load_data, read_vector_file, resolve_network
from .landscapes import OF_NETWORKS, Landscape, Where, alone, buffers_row, measures
from .lines import print_lines, print_table
from .options import (
    NETWORKS,
    OUTPUT,
    TRAIN_ONLY,
    TRAINING,
    Data,
    Device,
    Dtype,
    Json,
    Model,
    TrainSize,
    UsageError,
    Variant,
    choice,
    refuse_given,
    vector_name,
)
from .output import check_outputs, note, print_json, progress_bar

#: Splits in words.
KINDS = {"train": "training", "test": "test"}


def _seeds(seed: int, seeds: str | None) -> tuple[list[int], bool]:
    if seeds is None:
        return [seed], True
    first, _, last = seeds.partition("-")
    if seeds.isdecimal() and int(seeds) > 0:
        raise UsageError(
            f"--seeds is {seeds}; expected A-B, the first and the last of them: seeds 0 to {int(seeds) - 1} are "
            f"--seeds 0-{int(seeds) - 1}, the seed {seeds} alone is --seed {seeds}"
        )
    if not (first.isdecimal() and last.isdecimal()) or int(last) < int(first):
        raise UsageError(f"--seeds is {seeds!r}; expected A-B, such as 0-74")
    return list(range(int(first), int(last) + 1)), False


def _check_complete(folder: Path) -> None:
    """Refuses a finished run whose vectors are gone."""
    missing = [name for name in ("train.npy", "test.npy") if not (folder / name).exists()]
    if missing and (folder / "run.json").exists():
        raise ValueError(
            f"{folder} holds a run.json without {' and '.join(missing)}; bring that back, remove run.json to train "
            "again, or name another folder with --out"
        )


def train(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            help="The network: fcp, lenet, autoencoder or lstm.",
            **{**choice("fcp", "lenet", "autoencoder", "lstm"), "metavar": "MODEL"},
        ),
    ],
    optimizer: Annotated[
        str,
        typer.Option(
            help="lbfgs-gss is Algorithm 1 of the paper.",
            rich_help_panel=TRAINING,
            **choice("lbfgs-gss", "sgd", "adam"),
        ),
    ] = "lbfgs-gss",
    epochs: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Epochs; iterations of lbfgs-gss. Default: 75, lbfgs-gss 1,000.",
            metavar="N",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(help="Learning rate of sgd (0.1) and adam (0.001).", metavar="X", rich_help_panel=TRAINING),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(min=1, help="MNIST images per mini-batch of sgd and adam.", metavar="N", rich_help_panel=TRAINING),
    ] = 64,
    seed: Annotated[
        int,
        typer.Option(
            min=0, help="Of the initial weights and of the order of the images.", metavar="N", rich_help_panel=TRAINING
        ),
    ] = 0,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="A run for each seed from A to B; the files then hold one row per run.",
            metavar="A-B",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    loss_floor: Annotated[
        float | None,
        typer.Option(
            help="Target loss: a run ends at this training loss; 0 for none. Default: lbfgs-gss 1e-8, else 0.",
            metavar="X",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    variant: Variant = None,
    data: Data = "auto",
    train_size: TrainSize = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for train.npy, test.npy and run.json. Default: named after the network and the options.",
            metavar="FOLDER",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a network; keep the weights at the minimum of the training loss and of the test loss.

    train.npy holds the weights at the minimum of the training loss, test.npy those at the minimum of the test loss
    (early stopping). The same command resumes an interrupted run, with other --epochs too, and does nothing where all
    is done.
    """
    from minilandscape.training import CHECKPOINTS, run_options, train_to_folder

    if optimizer == "lbfgs-gss":
        refuse_given(context, ("batch_size",), "lbfgs-gss takes all images at every step")
    if seeds is not None:
        refuse_given(context, ("seed",), "--seeds names them all")
    numbers, single = _seeds(seed, seeds)
    chosen: dict[str, Any] = {
        "optimizer": optimizer,
        "epochs": epochs,
        "lr": lr,
        "batch_size": None if optimizer == "lbfgs-gss" else batch_size,
        "loss_floor": loss_floor,
        "variant": variant or "paper",
        "train_size": train_size,
        "device": device,
        "dtype": dtype,
    }
    try:
        options = run_options(model, **chosen)
    except ValueError as error:
        raise UsageError(str(error)) from None
    folder = out or Path(f"{model}-{chosen['variant']}-{optimizer}-seed{seeds or seed}")
    check_outputs(folder / "run.json")
    _check_complete(folder)
    mnist = load_data(data, train_size, chosen["variant"], device)
    total = options["epochs"] * len(numbers)
    with progress_bar(f"{model}, {optimizer}", total) as advance:
        reached = dict.fromkeys(numbers, 0)

        def show(number: int, epoch: int, train_loss: float, test_loss: float) -> None:
            reached[number] = epoch
            advance(sum(reached.values()), f"seed {number}: train {train_loss:.3e}, test {test_loss:.3e}")

        try:
            runs, worked = train_to_folder(
                folder, model, mnist, numbers, single=single, progress=show, notify=note, **chosen
            )
        except KeyboardInterrupt:
            kept = [*folder.glob(CHECKPOINTS), *folder.glob(".seed*/run.json")]
            resumes = f"{folder} keeps what is done; the same command resumes it, and with fewer --epochs ends sooner"
            note(resumes if kept else "nothing is kept so far")
            raise
    if not worked:
        note(f"{folder} holds this run, finished; nothing to do")
    if as_json:
        metadata = [{k: v for k, v in run.metadata().items() if k != "curves"} for run in runs]
        print_json(metadata[0] if single else metadata)
        return
    _print_runs(runs, f"{model} ({chosen['variant']}), {optimizer}")
    print_lines([("wrote" if worked else "found", f"{folder}/train.npy, {folder}/test.npy, {folder}/run.json", "")])


def _print_runs(runs: list[Any], title: str) -> None:
    """A line for each run."""
    data = runs[0].data
    print(f"{title}: lowest losses over {data['n_train']:,} training and {data['n_test']:,} test images")
    print(f"{'seed':>4}  {'train loss':>10}  {'at epoch':>8}  {'test loss':>10}  {'at epoch':>8}  ended")
    for run in runs:
        a, b = run.train_minimum, run.test_minimum
        numbers = f"{a['loss']:>10.3e}  {a['epoch']:>8}  {b['loss']:>10.3e}  {b['epoch']:>8}"
        print(f"{run.options['seed']:>4}  {numbers}  {run.reason}")


def evaluate(
    context: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            help="Weights: FILE.npy, or FILE.npy:ROW of a set; checkpoints with --landscape.", metavar="FILE"
        ),
    ],
    landscape: Landscape = None,
    split: Annotated[
        str,
        typer.Option(
            help="The images that losses are over.", rich_help_panel=NETWORKS, **choice("train", "test", "both")
        ),
    ] = "both",
    model: Model = "auto",
    variant: Variant = None,
    data: Data = "auto",
    train_size: TrainSize = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    as_json: Json = False,
) -> None:
    """Print losses and accuracies of weight vectors, one row per vector.

    On a landscape of your own (--landscape), its values; of a PyTorch module, losses and metrics over its data and its
    test data. An image counts as right where its label alone has the largest output, as 1/k where k classes share it.
    """
    from minilandscape.networks import network_landscape

    if landscape is not None:
        refuse_given(context, ("split", *OF_NETWORKS), "options of networks, without effect on --landscape")
        _evaluate_own(landscape, files, as_json)
        return
    if split == "test":
        refuse_given(context, ("train_size",), TRAIN_ONLY)
    vectors = [vector for file in files for vector in read_vector_file(file)]
    name, chosen = resolve_network(vectors, model, variant)
    mnist = load_data(data, train_size, chosen, device)
    rows: list[dict[str, Any]] = [{"file": v.file, "row": v.row, "model": name, "variant": chosen} for v in vectors]
    stack = np.stack([vector.values for vector in vectors])
    for part in ("train", "test") if split == "both" else (split,):
        land = network_landscape(name, getattr(mnist, part), variant=chosen, device=device, dtype=dtype)
        with progress_bar(f"{part} images", None):
            losses, accuracies = land.measure(stack)
        for k, row in enumerate(rows):
            row[part] = {"loss": float(losses[k]), "n_images": land.n_samples}
            if accuracies is not None:
                row[part]["accuracy"] = float(accuracies[k])
    if as_json:
        print_json(rows)
        return
    _print_rows(rows, name)


def _print_rows(rows: list[dict[str, Any]], name: str) -> None:
    """A line for each vector: losses, and accuracies where the network has some."""
    parts = [part for part in ("train", "test") if part in rows[0]]
    images = " and ".join(f"{rows[0][part]['n_images']:,} {KINDS[part]}" for part in parts)
    print(f"{name} ({rows[0]['variant']}): losses over {images} images")
    columns = {
        f"{part} {what}": {"loss": "{:.4e}", "accuracy": "{:.2%}"}[what]
        for part in parts
        for what in ("loss", "accuracy")
        if what in rows[0][part]
    }
    table = [["weights", *columns]]
    for row in rows:
        numbers = [form.format(row[title.split()[0]][title.split()[1]]) for title, form in columns.items()]
        table.append([vector_name(row["file"], row["row"]), *numbers])
    print_table(table)


def _evaluate_own(landscape: str, files: list[str], as_json: bool) -> None:
    """The values of a landscape of the user's own at some vectors, or all that it measures."""
    land, metadata, vectors = Where(landscape).open(files, single=False, each=True)
    stack = np.stack([vector.values for vector in vectors])
    if getattr(land, "takes_buffers", False):
        each = [alone(land, vector.file).measure(vector.values[None]) for vector in vectors]
        columns = {name: np.concatenate([found[name] for found in each]) for name in each[0]}
    elif measures(land, "measure"):
        columns = land.measure(stack)
    else:
        from minilandscape.landscape import as_landscape

        columns = {"value": as_landscape(land, stack.shape[1]).values(stack)}
    rows: list[dict[str, Any]] = [{"file": vector.file, "row": vector.row, **metadata} for vector in vectors]
    for k, row in enumerate(rows):
        row |= {name: float(values[k]) for name, values in columns.items()}
    if as_json:
        print_json(rows)
        return
    table = [["point", *columns]]
    for row in rows:
        table.append([vector_name(row["file"], row["row"]), *(f"{row[name]:.6g}" for name in columns)])
    print_table(table)
    print_lines(buffers_row(land, files))
