"""Commands about networks: train and evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from .inputs import load_data, read_vector_file, settle
from .landscapes import OF_NETWORKS, Landscape, Where
from .options import TRAIN_ONLY, Data, Device, Dtype, Json, Model, TrainSize, UsageError, Variant, one_of, refuse_given
from .output import check_outputs, note, print_json, progress_bar


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
        typer.Argument(help="fcp, lenet, autoencoder or lstm.", callback=one_of("fcp", "lenet", "autoencoder", "lstm")),
    ],
    optimizer: Annotated[
        str, typer.Option(help="lbfgs-gss (Algorithm 1), sgd or adam.", callback=one_of("lbfgs-gss", "sgd", "adam"))
    ] = "lbfgs-gss",
    epochs: Annotated[
        int | None, typer.Option(min=0, help="Epochs; iterations of lbfgs-gss. Default: 75, lbfgs-gss 1,000.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of sgd (0.1) and adam (0.001).")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images in a mini-batch of sgd and adam.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Of the initial weights and of the order of the images.")] = 0,
    seeds: Annotated[
        str | None, typer.Option(help="A-B: a run for each seed; the files then hold one row a run.")
    ] = None,
    loss_floor: Annotated[
        float | None,
        typer.Option(help="A run ends at this training loss; 0: no floor. Default: lbfgs-gss 1e-8, else 0."),
    ] = None,
    variant: Variant = None,
    data: Data = "auto",
    train_size: TrainSize = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    out: Annotated[Path | None, typer.Option(help="Folder for train.npy, test.npy and run.json.")] = None,
    as_json: Json = False,
) -> None:
    """Train a network; keep the weights at the minimum of the training loss and of the test loss.

    A repeated command resumes where an interrupted one stopped, with other --epochs too, and does nothing where all is
    done.
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
        facts = [{k: v for k, v in run.facts().items() if k != "curves"} for run in runs]
        print_json(facts[0] if single else facts)
        return
    for run in runs:
        a, b = run.train_minimum, run.test_minimum
        print(
            f"{model} ({run.options['variant']}), {optimizer}, seed {run.options['seed']}: "
            f"train loss {a['loss']:.3e} (epoch {a['epoch']}; {run.data['n_train']:,} images), "
            f"test loss {b['loss']:.3e} (epoch {b['epoch']}; {run.data['n_test']:,} images); ended: {run.reason}"
        )
    print(f"{'wrote' if worked else 'in'} {folder}/train.npy, {folder}/test.npy, {folder}/run.json")


def evaluate(
    context: typer.Context,
    files: Annotated[
        list[str], typer.Argument(help="Vectors: FILE.npy, or FILE.npy:ROW of a set; checkpoints with --landscape.")
    ],
    landscape: Landscape = None,
    split: Annotated[str, typer.Option(help="train, test or both.", callback=one_of("train", "test", "both"))] = "both",
    model: Model = "auto",
    variant: Variant = None,
    data: Data = "auto",
    train_size: TrainSize = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    as_json: Json = False,
) -> None:
    """Losses and accuracies of weight vectors, one row a vector.

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
    name, chosen = settle(vectors, model, variant)
    mnist = load_data(data, train_size, chosen, device)
    rows: list[dict[str, Any]] = [{"file": v.file, "row": v.row, "model": name, "variant": chosen} for v in vectors]
    stack = np.stack([vector.values for vector in vectors])
    for part in ("train", "test") if split == "both" else (split,):
        land = network_landscape(name, getattr(mnist, part), variant=chosen, device=device, dtype=dtype)
        with progress_bar(f"{part} images", None):
            losses, accuracies = land.measure(stack)
        for k, row in enumerate(rows):
            row[part] = {"loss": float(losses[k]), "n_images": land.n_images}
            if accuracies is not None:
                row[part]["accuracy"] = float(accuracies[k])
    if as_json:
        print_json(rows)
        return
    for row in rows:
        where = row["file"] if row["row"] is None else f"{row['file']}:{row['row']}"
        parts = []
        for part in ("train", "test"):
            if part in row:
                accuracy = f", accuracy {row[part]['accuracy']:.2%}" if "accuracy" in row[part] else ""
                parts.append(f"{part} loss {row[part]['loss']:.4e}{accuracy} of {row[part]['n_images']:,} images")
        print(f"{where} ({name}): " + "; ".join(parts))


def _evaluate_own(landscape: str, files: list[str], as_json: bool) -> None:
    """The values of a landscape of the user's own at some vectors, or all that it measures."""
    land, facts, vectors = Where.of_own(landscape).open(files, single=False)
    stack = np.stack([vector.values for vector in vectors])
    if hasattr(land, "measure"):
        columns = land.measure(stack)
    else:
        from minilandscape.landscape import as_landscape

        columns = {"value": as_landscape(land, stack.shape[1]).values(stack)}
    rows: list[dict[str, Any]] = [{"file": vector.file, "row": vector.row, **facts} for vector in vectors]
    for k, row in enumerate(rows):
        row |= {name: float(values[k]) for name, values in columns.items()}
    if as_json:
        print_json(rows)
        return
    for row in rows:
        where = row["file"] if row["row"] is None else f"{row['file']}:{row['row']}"
        print(f"{where}: " + "; ".join(f"{name} {row[name]:.6g}" for name in columns))
