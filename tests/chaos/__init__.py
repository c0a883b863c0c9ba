"""Kill processes at random moments while records flow, and look at what arrived."""
