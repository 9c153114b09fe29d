"""FreeBSD's programs as the engine answers them: argument lists in, FreeBSD's words out."""
