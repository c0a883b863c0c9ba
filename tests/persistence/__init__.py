"""What is stored survives: owners that live and die over one store, checked by those who remember nothing."""
