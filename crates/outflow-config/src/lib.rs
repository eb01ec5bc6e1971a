//! Pipeline files of Outflow: YAML to typed configuration, with errors that name file, line and key
