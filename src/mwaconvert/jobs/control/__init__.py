"""The control plane: states, store, engines. It knows no telescope; see docs/jobs.md."""
