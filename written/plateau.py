"""Train the U-Nets for twice as many epochs and store the lead of the skip connections.

Usage, in the folder of the notebooks: python written/plateau.py [--seeds N]

The settings are those of a4-unet.ipynb, but for the number of epochs. For each data set,
written/plateau.json gets the lead after the usual and after the doubled number of epochs.
"""

import argparse
import json
from pathlib import Path
from types import ModuleType

import joblib
import nbformat
import pandas as pd
import torch

NOTEBOOK = Path(__file__).resolve().parent.parent / "a4-unet.ipynb"
STORED = Path(__file__).with_name("plateau.json")

WIDTH = 16
LR = 0.001
EPOCHS = {"flowers": 20, "nuclei 0 to 1": 40, "nuclei 1 to 0": 40}  # in the notebook
BATCH_SIZE = {"flowers": 8, "nuclei 0 to 1": 2, "nuclei 1 to 0": 2}


def load_notebook() -> ModuleType:
    """Execute the cells of the notebook that are tagged ``definitions``."""
    # joblib sends the functions of __main__ as code; workers cannot import a notebook.
    module = ModuleType("__main__")
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if "definitions" in cell.metadata.get("tags", []):
            exec(cell.source, module.__dict__)
    return module


def doubled_leads(unet, datasets, seeds, workers, width=WIDTH, epochs=EPOCHS) -> list[dict]:
    """Train with and without skips for twice the epochs; return the records to store."""
    builders = {"with skips": unet.with_skips, "without skips": unet.without_skips}
    runs, settings = [], []
    for name, data in datasets.items():
        for variant, build in builders.items():
            for seed in range(seeds):
                runs.append({"dataset": name, "variant": variant, "seed": seed})
                settings.append(
                    {
                        "build": build,
                        "data": data,
                        "width": width,
                        "seed": seed,
                        "epochs": 2 * epochs[name],
                        "batch_size": BATCH_SIZE[name],
                        "lr": LR,
                    }
                )
    tables = []
    results = unet.run_parallel(unet.train_and_score, settings, workers)
    for run, result in zip(runs, results, strict=True):
        tables.append(pd.DataFrame(result["scores"]).assign(**run))
    keys = ["dataset", "epoch", "variant"]
    means = pd.concat(tables).groupby(keys).test_miou.mean()  # over the seeds
    records = []
    for name in datasets:
        for length in (epochs[name], 2 * epochs[name]):
            lead = means[name, length, "with skips"] - means[name, length, "without skips"]
            record = {"dataset": name, "epochs": length, "seeds": seeds}
            records.append({**record, "lead": round(float(lead), 5)})
    return records


def main() -> None:
    """Train, and write the records."""
    parser = argparse.ArgumentParser(description="Store the leads after twice the epochs.")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each network")
    seeds = parser.parse_args().seeds
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    workers = 1 if device.type == "cuda" else joblib.cpu_count()
    unet = load_notebook()
    datasets = unet.load_datasets(device)
    print(f"{2 * seeds * len(datasets)} trainings with {workers} at a time", flush=True)
    records = doubled_leads(unet, datasets, seeds, workers)
    STORED.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
    for record in records:
        print("{dataset}, {epochs} epochs: lead {lead:.3f} (seeds: {seeds})".format(**record))
    print(f"written to {STORED}")


if __name__ == "__main__":
    main()
