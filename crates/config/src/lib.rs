//! TOML run configuration: extends, overrides, nearest-name errors, origins.
