"""Programs that run on the caller's side, inside the simulated host: stdlib-only scripts, started with `python -ISs`."""
