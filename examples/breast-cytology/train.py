"""Train the breast cytology model and write what its validation study found.

Run with the versions in requirements.in and scikit-learn for the data:  python train.py
Writes model/cytology.ubj, golden.jsonl and the
performance figures of model_card.json. Every expected value in golden.jsonl comes from the fitted classifier
called directly on that one sample.
"""

import json
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from xgboost import XGBClassifier

HERE = Path(__file__).parent
SEED = 20261123


def cohort() -> tuple[pd.DataFrame, pd.Series]:
    """Return the 569 samples, 30 measures of cell nuclei each, and whether each was malignant."""
    data = load_breast_cancer(as_frame=True)
    frame = data.data.rename(columns=lambda name: name.replace(" ", "_"))
    return frame, (data.target == 0).astype("int64")


def probability(model: XGBClassifier, rows: pd.DataFrame) -> list[float]:
    """Ask the classifier itself, one sample at a time."""
    return [float(model.predict_proba(rows.iloc[[index]])[0, 1]) for index in range(len(rows))]


def main() -> None:
    rows, malignant = cohort()
    train, held_out, malignant_train, malignant_held_out = train_test_split(
        rows, malignant, test_size=0.2, stratify=malignant, random_state=SEED
    )
    model = XGBClassifier(n_estimators=200, max_depth=3, learning_rate=0.05, random_state=SEED, n_jobs=1)
    model.fit(train, malignant_train)
    answers = probability(model, held_out)
    (HERE / "model").mkdir(exist_ok=True)
    model.get_booster().save_model(HERE / "model" / "cytology.ubj")
    lines = [
        json.dumps({"id": f"held-out-{index:03d}", "inputs": row, "expected": answer}) + "\n"
        for index, row, answer in zip(held_out.index, held_out.to_dict("records"), answers, strict=True)
    ]
    (HERE / "golden.jsonl").write_text("".join(lines))
    card_path = HERE / "model_card.json"
    card = json.loads(card_path.read_text())
    card["performance"] = {
        "cohort": f"{len(held_out)} held-out samples, {int(malignant_held_out.sum())} malignant",
        "auroc": round(float(roc_auc_score(malignant_held_out, answers)), 4),
        "brier_score": round(float(brier_score_loss(malignant_held_out, answers)), 4),
    }
    card_path.write_text(json.dumps(card, indent=2) + "\n")
    print(f"{len(train)} samples trained on, {len(lines)} golden cases; {card['performance']}")


if __name__ == "__main__":
    main()
