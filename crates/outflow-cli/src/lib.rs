//! The outflow binary, and the entry point of custom builds
