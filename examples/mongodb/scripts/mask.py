"""Hide who the customers are."""

from typing import Any

from mstream.functions import mask_email, mask_phone


def transform(data: dict[str, Any], attributes: dict[str, str]) -> dict[str, Any]:
    """Called for each new or changed order; cancelled ones have no document, and pass by."""
    data["email"] = mask_email(data.get("email"))
    data["phone"] = mask_phone(data.get("phone"))
    return data
