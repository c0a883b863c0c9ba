"""Functions for scripts: `from mstream.functions import mask_email, hash_sha256`."""

from mstream.functions.hashing import hash_sha256, hmac_sha256
from mstream.functions.masking import FIXED_MASK, mask_email, mask_phone, mask_year_only

__all__ = ["FIXED_MASK", "hash_sha256", "hmac_sha256", "mask_email", "mask_phone", "mask_year_only"]
