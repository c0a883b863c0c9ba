"""Drop test orders; hide who the customers are."""

from typing import Any

from mstream.functions import mask_email, mask_phone


def transform(data: dict[str, Any], attributes: dict[str, str]) -> dict[str, Any] | None:
    """Called for each order: its new form, or None to drop it."""
    if data.get("test"):
        return None
    data["email"] = mask_email(data.get("email"))
    data["phone"] = mask_phone(data.get("phone"))
    return data
