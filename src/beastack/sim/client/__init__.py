"""Programs on the caller's side, inside the simulated host: stdlib-only scripts, run by `python -ISs`."""
