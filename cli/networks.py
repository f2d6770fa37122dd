"""Commands about networks: train and evaluate."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from .options import (
    Data,
    Device,
    Dtype,
    Json,
    Model,
    TrainSize,
    UsageError,
    Variant,
    load_data,
    note,
    print_json,
    progress_bar,
    read_vector_file,
    settle,
)


def _seeds(seed: int, seeds: str | None) -> tuple[list[int], bool]:
    if seeds is None:
        return [seed], True
    first, dash, last = seeds.partition("-")
    if not (first.isdigit() and (last.isdigit() or not dash)) or int(last or first) < int(first):
        raise UsageError(f"--seeds is {seeds!r}; expected A-B, such as 0-74")
    return list(range(int(first), int(last or first) + 1)), False


def _show(advance: Any, epoch: int, train_loss: float, test_loss: float) -> None:
    advance(epoch, f"train {train_loss:.3e}, test {test_loss:.3e}")


def train(
    model: Annotated[str, typer.Argument(help="fcp, lenet, autoencoder or lstm.")],
    optimizer: Annotated[str, typer.Option(help="lbfgs-gss (Algorithm 1), sgd or adam.")] = "lbfgs-gss",
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
        float, typer.Option(help="lbfgs-gss ends at this training loss; 0 goes on to the smallest number there is.")
    ] = 1e-8,
    variant: Variant = None,
    data: Data = "auto",
    train_size: TrainSize = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    out: Annotated[Path | None, typer.Option(help="Folder for train.npy, test.npy and run.json.")] = None,
    as_json: Json = False,
) -> None:
    """Train a network; keep the weights at the minimum of the training loss and of the test loss.

    A repeated command goes on where an interrupted one stopped, and does nothing where all is done.
    """
    from minilandscape.files import read_json
    from minilandscape.training import load_runs, remove_checkpoint, run_options, save_runs
    from minilandscape.training import train as train_one

    numbers, single = _seeds(seed, seeds)
    chosen: dict[str, Any] = {
        "optimizer": optimizer,
        "epochs": epochs,
        "lr": lr,
        "batch_size": batch_size,
        "loss_floor": loss_floor,
        "variant": variant or "paper",
        "train_size": train_size,
        "device": device,
        "dtype": dtype,
    }
    try:
        wanted = [run_options(model, seed=number, **chosen) for number in numbers]
    except ValueError as error:
        raise UsageError(str(error)) from None
    folder = out or Path(f"{model}-{chosen['variant']}-{optimizer}-seed{seeds or seed}")
    if (folder / "run.json").exists():
        found = read_json(folder / "run.json")
        found = found if isinstance(found, list) else [found]
        if [{k: f.get(k) for k in w} for f, w in zip(found, wanted, strict=False)] != wanted or len(found) != len(
            wanted
        ):
            raise ValueError(f"{folder} holds a finished run with other options; name another folder with --out")
        note(f"{folder} holds this run, finished; nothing to do")
        runs = load_runs(folder)
    else:
        mnist = load_data(data, train_size, chosen["variant"])
        folder.mkdir(parents=True, exist_ok=True)
        runs = []
        for number, options in zip(numbers, wanted, strict=True):
            done = folder / f".seed{number}"
            if (done / "run.json").exists():
                runs += load_runs(done)
                if runs[-1].options != options:
                    raise ValueError(f"{done} holds a run with other options; name another folder with --out")
                continue
            with progress_bar(f"{model}, seed {number}", options["epochs"]) as advance:
                run = train_one(
                    model,
                    mnist,
                    seed=number,
                    checkpoint=folder / f"checkpoint-{number}.npz",
                    progress=partial(_show, advance),
                    **chosen,
                )
            runs.append(run)
            if not single:
                run.save(done)
        save_runs(folder, runs, single)
        for number in numbers:
            remove_checkpoint(folder / f"checkpoint-{number}.npz")
            done = folder / f".seed{number}"
            if done.exists():
                for file in done.iterdir():
                    file.unlink()
                done.rmdir()
    if as_json:
        facts = [{k: v for k, v in run.facts().items() if k != "curves"} for run in runs]
        print_json(facts[0] if single else facts)
        return
    for run in runs:
        a, b = run.train_minimum, run.test_minimum
        print(
            f"{model} ({run.options['variant']}), {optimizer}, seed {run.options['seed']}: "
            f"train loss {a['loss']:.3e} (epoch {a['epoch']}), test loss {b['loss']:.3e} (epoch {b['epoch']}); "
            f"ended: {run.reason}"
        )
    print(f"wrote {folder}/train.npy, {folder}/test.npy, {folder}/run.json")


def evaluate(
    files: Annotated[list[str], typer.Argument(help="Vectors: FILE.npy, or FILE.npy:ROW of a set.")],
    split: Annotated[str, typer.Option(help="train, test or both.")] = "both",
    model: Model = "auto",
    variant: Variant = None,
    data: Data = "auto",
    train_size: TrainSize = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    as_json: Json = False,
) -> None:
    """Losses and accuracies of weight vectors, one row a vector."""
    from minilandscape.networks import network_landscape

    if split not in ("train", "test", "both"):
        raise UsageError(f"--split is {split!r}; expected train, test or both")
    vectors = [vector for file in files for vector in read_vector_file(file)]
    name, chosen = settle(vectors, model, variant)
    mnist = load_data(data, train_size, chosen)
    rows: list[dict[str, Any]] = [{"file": v.file, "row": v.row, "model": name, "variant": chosen} for v in vectors]
    stack = np.stack([vector.values for vector in vectors])
    for part in ("train", "test") if split == "both" else (split,):
        land = network_landscape(name, getattr(mnist, part), variant=chosen, device=device, dtype=dtype)
        losses, accuracies = land.measure(stack)
        for k, row in enumerate(rows):
            row[part] = {"loss": float(losses[k])}
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
                parts.append(f"{part} loss {row[part]['loss']:.4e}{accuracy}")
        print(f"{where} ({name}): " + "; ".join(parts))
