//! The training loop: groups, schedules, precision, metrics, checkpoints, exact resume.
