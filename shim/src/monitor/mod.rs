//! One process per running container: owns its stdio, log, end and restarts.
