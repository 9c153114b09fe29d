"""The boundary between the services and root: typed entry points, checked on the privileged side."""
