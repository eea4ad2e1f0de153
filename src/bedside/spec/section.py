"""What every section of bedside.toml is."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Strict about types and unknown keys, immutable."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
